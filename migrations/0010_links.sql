-- Short links and what leads to them: codes, folders and tags.

-- Folders and tags.
create table labels (
  id          uuid primary key,
  org_id      uuid not null references organizations on delete cascade,
  kind        text not null check (kind in ('folder', 'tag')),
  name        text not null check (length(name) between 1 and 100),
  created_at  timestamptz not null,
  updated_at  timestamptz not null,
  archived_at timestamptz
);
create unique index labels_name on labels (org_id, kind, lower(name)) where archived_at is null;

-- Where a code of a domain leads; the installation's own short domain is the empty text. Links and dynamic QR codes
-- share one space of codes per domain.
create table codes (
  domain    text not null,
  code      text not null check (length(code) between 1 and 64),
  org_id    uuid not null references organizations on delete cascade,
  kind      smallint not null check (kind in (1, 2)),  -- 1 a link, 2 a QR code
  target_id uuid not null,
  primary key (domain, code)
);
create unique index codes_target on codes (target_id);

create table links (
  id               uuid primary key,
  org_id           uuid not null references organizations on delete cascade,
  domain           text not null,
  slug             text not null,
  destination      text not null check (length(destination) between 1 and 8000),
  title            text not null default '' check (length(title) <= 200),
  utm              jsonb,
  password_hash    text,                        -- argon2id, as PHC string
  password_version int not null default 0,      -- an access cookie counts for the version that it was given for
  active           boolean not null default true,
  starts_at        timestamptz,
  expires_at       timestamptz,
  max_visits       bigint check (max_visits > 0),
  folder_id        uuid references labels on delete set null,
  tag_ids          uuid[] not null default '{}',
  created_by       uuid references users on delete set null,
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  archived_at      timestamptz
);
create index links_org on links (org_id, id);
create index links_folder on links (folder_id) where folder_id is not null;
create index links_tags on links using gin (tag_ids);

-- How often a link with a limit of visits was followed. Others have no row: counting at every visit costs a write.
create table code_uses (
  target_id uuid primary key,
  org_id    uuid not null references organizations on delete cascade,
  uses      bigint not null
) with (fillfactor = 50);
