-- A batch of visits as one value: storing fourteen arrays, each in pieces of its own beside the row, was most of what a batch
-- cost. The arrays stay for programs of before, whose batches are counted like any other.
alter table visit_batches add column visits bytea;
comment on column visit_batches.visits is 'as domain::visit::batch writes it (postcard); null where the arrays say it';

do $$
declare
  c text;
begin
  for c in select attname from pg_attribute where attrelid = 'visit_batches'::regclass and attnum > 2 and attname <> 'visits'
  loop
    execute format('alter table visit_batches alter column %I drop not null', c);
  end loop;
end $$;

do $$
begin
  alter table visit_batches alter column visits set compression lz4;
exception when feature_not_supported then
  raise notice 'this server has no lz4: batches of visits are compressed with pglz';
end $$;

alter table visit_batches add check (visits is not null or ids is not null);
