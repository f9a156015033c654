-- Own domains: hosts of an organisation's that its codes stand on.
create table domains (
  id            uuid primary key,
  org_id        uuid not null references organizations on delete cascade,
  name          text not null check (length(name) between 3 and 253),
  token         text not null,                  -- what its DNS must say
  state         text not null check (state in ('pending', 'verified', 'failed')),
  problem       text,                           -- what the last look found wrong
  checks        int not null default 0,         -- looks since it was last asked for
  created_at    timestamptz not null,
  checked_at    timestamptz,
  next_check_at timestamptz,
  verified_at   timestamptz,
  unique (org_id, name)
);
-- Anybody may ask for a name; who proves it first has it.
create unique index domains_verified on domains (name) where state = 'verified';

-- Link pages: small public pages of links, under /p/{slug} of the installation.
create table link_pages (
  id          uuid primary key,
  org_id      uuid not null references organizations on delete cascade,
  slug        text not null unique check (length(slug) between 1 and 64),
  title       text not null check (length(title) between 1 and 100),
  description text not null default '' check (length(description) <= 500),
  language    text not null,
  theme       jsonb,                            -- domain::link_page::Theme; grows by addition only
  active      boolean not null default true,
  created_by  uuid references users on delete set null,
  created_at  timestamptz not null,
  updated_at  timestamptz not null
);
create index link_pages_org on link_pages (org_id, id);

-- What a page leads to: links of the organisation's, or any address.
create table link_page_entries (
  page_id  uuid not null references link_pages on delete cascade,
  position int not null,
  org_id   uuid not null,
  title    text not null check (length(title) between 1 and 100),
  link_id  uuid references links on delete cascade,
  url      text check (length(url) between 1 and 8000),
  primary key (page_id, position),
  check ((link_id is null) <> (url is null))
);
create index link_page_entries_link on link_page_entries (link_id) where link_id is not null;
