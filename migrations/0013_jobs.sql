-- Scheduled work that can be asked for from outside, the end of expired links, and the health of links' destinations.

-- The job that an occasion made, so that whoever announces it again can be told. Unknown for older occasions.
alter table job_occasions add column job_id uuid;

-- What the sweep of expired links looks for.
create index links_ending on links (expires_at) where active and expires_at is not null;

-- Where a link leads while its destination does not answer.
alter table links add column fallback_destination text check (length(fallback_destination) between 1 and 8000);

-- The health of a monitored link; a link without a row is not monitored. A check is a chain of requests, to the
-- destination and to whatever it redirects to; the row says which request is the next one, so that the chain goes on
-- wherever it was left.
create table link_health (
  link_id        uuid primary key references links on delete cascade,
  org_id         uuid not null references organizations on delete cascade,
  state          text not null default 'unknown' check (state in ('unknown', 'healthy', 'failing')),
  failures       int not null default 0,     -- in a row
  successes      int not null default 0,     -- in a row
  interval_s     int not null,               -- from the present check to the next
  checked_at     timestamptz,                -- the last check that came to an end
  changed_at     timestamptz,                -- when the state became what it is
  status         int,                        -- of the last check's last answer; null where none came
  reason         text not null default '',   -- what the last check says, in a sentence; empty if all was well
  tls_expires_at timestamptz,                -- of the certificate that the last check saw
  host           text not null,              -- whom the next request goes to
  url            text not null check (length(url) <= 8000),
  method         text not null default 'HEAD' check (method in ('HEAD', 'GET')),
  hops           smallint not null default 0,
  step           int not null default 0,     -- grows with every change; a request that was overtaken records nothing
  next_at        timestamptz not null        -- when the next request is due
);
create index link_health_due on link_health (next_at);
create index link_health_host on link_health (host, next_at);
create index link_health_org on link_health (org_id, state);

-- One request per host at a time, over the whole fleet: whoever moves `free_at` on may send one.
create table link_hosts (
  host    text primary key,
  free_at timestamptz not null,
  holder  uuid                               -- the job that works on this host
);
create index link_hosts_age on link_hosts (free_at);
