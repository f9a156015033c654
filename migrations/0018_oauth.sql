-- OAuth 2.0 (RFC 6749): other programs that members let into their workspace. Secrets, codes and tokens are random texts
-- of which only the SHA-256 is kept.

-- The programs, which the operator registers.
create table oauth_clients (
  id            uuid primary key,
  name          text not null check (length(name) between 1 and 100),
  secret_hash   bytea not null check (length(secret_hash) = 32),
  redirect_uris text[] not null check (cardinality(redirect_uris) between 1 and 10),
  created_at    timestamptz not null,
  revoked_at    timestamptz
);

-- What a member allowed a program. It ends with the membership, and all that hangs on it.
create table oauth_grants (
  id         uuid primary key,
  client_id  uuid not null references oauth_clients on delete cascade,
  org_id     uuid not null,
  user_id    uuid not null,
  scopes     text[] not null,
  created_at timestamptz not null,
  revoked_at timestamptz,
  foreign key (org_id, user_id) references members on delete cascade
);
create index oauth_grants_member on oauth_grants (org_id, user_id);
create index oauth_grants_client on oauth_grants (client_id);

-- What a program shows once, to get its first tokens.
create table oauth_codes (
  hash         bytea primary key check (length(hash) = 32),
  client_id    uuid not null references oauth_clients on delete cascade,
  org_id       uuid not null,
  user_id      uuid not null,
  redirect_uri text,                            -- as the request had it, if it had one
  scopes       text[] not null,
  challenge    text not null,                   -- RFC 7636, S256
  expires_at   timestamptz not null,
  grant_id     uuid references oauth_grants on delete cascade,  -- what came of it
  foreign key (org_id, user_id) references members on delete cascade
);
create index oauth_codes_member on oauth_codes (org_id, user_id);
create index oauth_codes_age on oauth_codes (expires_at);

create table oauth_tokens (
  hash       bytea primary key check (length(hash) = 32),
  org_id     uuid not null,
  grant_id   uuid not null references oauth_grants on delete cascade,
  kind       smallint not null check (kind in (1, 2)),  -- 1 access, 2 refresh
  parent     bytea,                             -- the refresh token that it was given for
  expires_at timestamptz not null,
  used_at    timestamptz                        -- when a refresh token was first exchanged
);
create index oauth_tokens_grant on oauth_tokens (grant_id);
create index oauth_tokens_parent on oauth_tokens (parent) where parent is not null;
create index oauth_tokens_age on oauth_tokens (expires_at);
