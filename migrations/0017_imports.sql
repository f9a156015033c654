-- Imports of links, and their lines: what waits to be made, and what became of it.
create table imports (
  id              uuid primary key,
  org_id          uuid not null references organizations on delete cascade,
  format          text not null check (format in ('csv', 'bitly', 'yourls', 'shlink')),
  update_existing boolean not null,
  total           int not null,
  cursor          int not null default 0,    -- the place of the last line that ended
  created         int not null default 0,
  updated         int not null default 0,
  skipped         int not null default 0,
  created_by      uuid references users on delete set null,
  created_at      timestamptz not null,
  finished_at     timestamptz
);
create index imports_org on imports (org_id, id);
create index imports_finished on imports (finished_at) where finished_at is not null;

create table import_lines (
  import_id uuid not null references imports on delete cascade,
  org_id    uuid not null,
  place     int not null,                    -- among the lines of the import, from 1
  line      bigint not null,                 -- where it begins in the file
  record    jsonb,                           -- the link that it describes; gone once it has ended
  outcome   text check (outcome in ('created', 'updated', 'skipped')),
  reason    text,
  link_id   uuid,
  primary key (import_id, place)
);
