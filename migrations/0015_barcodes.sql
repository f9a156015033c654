-- Barcodes: values that scanners read, and how they are drawn.
create table barcodes (
  id                      uuid primary key,
  org_id                  uuid not null references organizations on delete cascade,
  name                    text not null default '' check (length(name) <= 200),
  kind                    text not null,                 -- EAN_13, CODE_128, … (domain::barcode::Kind)
  value                   text not null check (length(value) between 1 and 2000),  -- with its check digit
  style                   jsonb not null,
  active                  boolean not null default true,
  folder_id               uuid references labels on delete set null,
  tag_ids                 uuid[] not null default '{}',
  integration_provider    text check (length(integration_provider) between 1 and 64),
  integration_external_id text check (length(integration_external_id) between 1 and 255),
  integration_url         text check (length(integration_url) <= 2000),
  integration_at          timestamptz,                   -- when it was bound
  created_by              uuid references users on delete set null,
  created_at              timestamptz not null,
  updated_at              timestamptz not null,
  archived_at             timestamptz,
  check (num_nulls(integration_provider, integration_external_id, integration_at) in (0, 3)),
  check (integration_url is null or integration_provider is not null)
);
create index barcodes_org on barcodes (org_id, id);
create index barcodes_folder on barcodes (folder_id) where folder_id is not null;
create index barcodes_tags on barcodes using gin (tag_ids);
