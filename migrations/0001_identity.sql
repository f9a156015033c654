-- Who may do what: organisations, people, their roles, API keys, and the keys that sign sessions.
create table organizations (
  id          uuid primary key,
  slug        text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name        text not null check (length(name) between 1 and 200),
  plan        text not null default 'free' check (plan in ('free', 'starter', 'pro', 'business', 'enterprise')),
  external_id text unique,                    -- the organisation's id at the session issuer (Clerk `org_…`)
  created_at  timestamptz not null
);

create table users (
  id          uuid primary key,
  email       text not null check (position('@' in email) > 1),
  name        text not null default '',
  external_id text unique,                    -- the `sub` of the session issuer (Clerk `user_…`)
  created_at  timestamptz not null
);
create unique index users_email on users (lower(email));

create table members (
  org_id     uuid not null references organizations on delete cascade,
  user_id    uuid not null references users on delete cascade,
  role       text not null check (role in ('owner', 'admin', 'member')),
  created_at timestamptz not null,
  primary key (org_id, user_id)
);
create index members_user on members (user_id);

create table api_keys (
  id         uuid primary key,
  org_id     uuid not null references organizations on delete cascade,
  user_id    uuid not null references users on delete cascade,
  name       text not null,
  prefix     text not null check (prefix in ('ink_', 'ilqr_', 'secret_live_', 'inkr_', 'smk_')),  -- the surface's prefix with its underscore
  hash       bytea not null unique check (length(hash) = 32),
  start      text not null,                   -- the first twelve characters, for people to tell keys apart
  scopes     text[] not null,
  created_at timestamptz not null,
  revoked_at timestamptz
);
create index api_keys_org on api_keys (org_id, created_at);

-- The public keys of the session issuer, fetched by the workers and read by the API.
create table session_keys (
  kid        text primary key,
  jwk        jsonb not null,
  fetched_at timestamptz not null
);

-- The answer to a request that carried an Idempotency-Key, kept for a day. Sealed, because it may hold a secret.
create table idempotency_keys (
  org_id       uuid not null references organizations on delete cascade,
  key          text not null check (length(key) between 1 and 255),
  operation    text not null,
  request_hash bytea not null,
  status       smallint not null,
  content_type text not null,
  answer       bytea not null,
  created_at   timestamptz not null,
  primary key (org_id, operation, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);
