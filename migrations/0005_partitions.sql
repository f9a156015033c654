-- Days are made beside their parents and then attached, which waits for no reader and no writer, and lets none wait.
-- (`create table … partition of` needs its parent for itself, and whoever comes after such a wait queues behind it.)
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
    execute format('create table %I (like %I including all)', part, t);
    execute format('alter table %I attach partition %I for values from (%L) to (%L)', t, part,
      uuid_floor(day::timestamp at time zone 'utc'), uuid_floor((day + 1)::timestamp at time zone 'utc'));
  end loop;
end $$;
