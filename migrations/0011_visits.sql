-- Visits of codes: noted in batches by whoever redirects, counted by a worker, kept for as long as deliveries are.

-- What a web process noted in some milliseconds; one element per visit in each array. A worker counts a batch and removes
-- it in one transaction, so that each visit counts once whatever dies.
create table visit_batches (
  id         uuid primary key,
  size       int not null,
  ids        uuid[] not null,
  org_ids    uuid[] not null,
  target_ids uuid[] not null,
  ats        timestamptz[] not null,
  visitors   bigint[] not null,
  bots       boolean[] not null,
  devices    text[] not null,
  systems    text[] not null,
  browsers   text[] not null,
  countries  text[] not null,
  regions    text[] not null,
  languages  text[] not null,
  referrers  text[] not null,
  branches   text[] not null
);

do $$
declare
  c text;
begin
  for c in select attname from pg_attribute where attrelid = 'visit_batches'::regclass and attnum > 2 loop
    execute format('alter table visit_batches alter column %I set compression lz4', c);
  end loop;
exception when feature_not_supported then
  raise notice 'this server has no lz4: batches of visits are compressed with pglz';
end $$;

-- Which batches were counted. One whose storing was repeated, because only the answer to its commit was lost, may come
-- again when it is long counted.
create table visit_batches_counted (
  id uuid primary key
);

create table visits (
  id        uuid not null,
  org_id    uuid not null,
  target_id uuid not null,
  at        timestamptz not null,
  visitor   bigint not null,           -- salted anew every day, so that nobody can be followed from day to day
  is_bot    boolean not null,
  is_unique boolean not null,          -- the visitor's first of the day (UTC) and target
  device    text not null,
  system    text not null,
  browser   text not null,
  country   text not null,
  region    text not null,
  language  text not null,
  referrer  text not null,
  branch    text not null              -- which rule or variant led on; empty for the destination itself
) partition by range (id);
create index visits_target on visits (target_id, visitor);

-- The salt of a day, and no other day's.
create table visit_salts (
  day  date primary key,
  salt bytea not null check (length(salt) = 32)
);

-- Sums by day (UTC). The row of the nil target is the organisation's own: all its visits.
create table visit_days (
  org_id    uuid not null,
  target_id uuid not null,
  day       date not null,
  visits    bigint not null,
  uniques   bigint not null,
  bots      bigint not null,
  facets    jsonb not null,            -- {"device": {"mobile": [visits, uniques]}, "hour": {"13": …}, …}
  primary key (target_id, day, org_id)
) with (fillfactor = 70);
create index visit_days_org on visit_days (org_id, day) where target_id = '00000000-0000-0000-0000-000000000000';

-- The same sums by hour, for those who look at hours.
create view visit_hours as
  select org_id, target_id, (day::timestamp + make_interval(hours => h.key::int)) at time zone 'utc' as hour,
         (h.value ->> 0)::bigint as visits, (h.value ->> 1)::bigint as uniques
  from visit_days, jsonb_each(facets -> 'hour') h;

create table visit_totals (
  org_id    uuid not null,
  target_id uuid not null,
  visits    bigint not null,
  uniques   bigint not null,
  bots      bigint not null,
  last_at   timestamptz,
  primary key (target_id, org_id)
) with (fillfactor = 50);

create or replace function create_day(day date) returns void language plpgsql as $$
declare
  t text;
  part text;
begin
  foreach t in array array['events', 'deliveries', 'attempts', 'visits'] loop
    part := t || '_' || to_char(day, 'YYYYMMDD');
    continue when to_regclass(part) is not null;
    -- Of two processes that make the same day, the second finds it made.
    execute format('lock table %I in share update exclusive mode', t);
    continue when to_regclass(part) is not null;
    execute format('create table %I (like %I including all) with (fillfactor = %s)', part, t,
      case t when 'deliveries' then 50 else 100 end);
    execute format('alter table %I attach partition %I for values from (%L) to (%L)', t, part,
      uuid_floor(day::timestamp at time zone 'utc'), uuid_floor((day + 1)::timestamp at time zone 'utc'));
  end loop;
end $$;

-- The days that the other tables have already.
select create_day(to_date(right(c.relname, 8), 'YYYYMMDD'))
from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'events'::regclass;
