-- QR codes. What a static one says is in its picture; a dynamic one has a code in `codes`, which leads on.
create table qr_codes (
  id               uuid primary key,
  org_id           uuid not null references organizations on delete cascade,
  name             text not null default '' check (length(name) <= 200),
  kind             text not null check (kind in ('URL', 'TEXT', 'VCARD', 'WIFI', 'EMAIL', 'SMS', 'PHONE', 'GEO', 'EVENT')),
  content          jsonb,                       -- domain::qr::content::Content; null where a link says where it leads
  payload          text,                        -- the text in the picture of a static one, as it was first written
  domain           text,                        -- of a dynamic one
  short_code       text,
  link_id          uuid references links on delete set null,
  style            jsonb not null,              -- domain::qr::style::Style
  logo             bytea,                       -- PNG
  password_hash    text,                        -- argon2id, as PHC string
  password_version int not null default 0,
  active           boolean not null default true,
  starts_at        timestamptz,
  expires_at       timestamptz,
  max_scans        bigint check (max_scans > 0),
  folder_id        uuid references labels on delete set null,
  tag_ids          uuid[] not null default '{}',
  created_by       uuid references users on delete set null,
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  archived_at      timestamptz,
  check ((payload is null) = (short_code is not null)),
  check ((domain is null) = (short_code is null)),
  check (short_code is not null or content is not null)
);
create index qr_codes_org on qr_codes (org_id, id);
create index qr_codes_updated on qr_codes (org_id, updated_at, id);
create index qr_codes_name on qr_codes (org_id, lower(name), id);
create index qr_codes_link on qr_codes (link_id) where link_id is not null;
create index qr_codes_folder on qr_codes (folder_id) where folder_id is not null;
create index qr_codes_tags on qr_codes using gin (tag_ids);
create index qr_codes_ending on qr_codes (expires_at) where active and expires_at is not null;
create index qr_codes_dynamic on qr_codes (org_id) where short_code is not null and archived_at is null;
