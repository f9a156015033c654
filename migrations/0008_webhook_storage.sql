-- How webhooks lie on disk. Figures in docs/decisions/0030-webhook-storage.md.

-- A body of 20 KiB costs pglz 0.7 ms of processor time and lz4 a tenth of it. A server built without lz4 keeps pglz.
do $$
declare
  part regclass;
begin
  for part in select 'events'::regclass union all select inhrelid from pg_inherits where inhparent = 'events'::regclass loop
    execute format('alter table %s alter column data set compression lz4', part);
  end loop;
  for part in select 'attempts'::regclass union all select inhrelid from pg_inherits where inhparent = 'attempts'::regclass loop
    execute format('alter table %s alter column response_body set compression lz4', part);
  end loop;
exception when feature_not_supported then
  raise notice 'this server has no lz4: bodies are compressed with pglz';
end $$;

-- A delivery is changed once in most cases, soon after it was made. With room on its page the change touches no index.
create or replace function create_day(day date) returns void language plpgsql as $$
declare
  t text;
  part text;
begin
  foreach t in array array['events', 'deliveries', 'attempts'] loop
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
