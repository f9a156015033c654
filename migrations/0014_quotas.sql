-- Plans' limits: which thresholds of a month's use were told, and counting what is in use.

-- A threshold is told once per month.
create table quota_notices (
  org_id     uuid not null references organizations on delete cascade,
  quota      text not null,
  month      date not null,                -- its first day
  percent    smallint not null,
  created_at timestamptz not null,
  primary key (org_id, quota, month, percent)
);

-- Links count towards the plan while they are not put away.
create index links_in_use on links (org_id) where archived_at is null;
