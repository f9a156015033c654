with taken as (
  delete from visit_batches where id in (
    -- As many of the oldest as hold $1 visits, and one at least.
    select id from (select id, sum(size) over (order by id) - size as before
                    from visit_batches where id <= $2 order by id limit 2000) b
    where before < $1)
  returning *
), fresh as (
  insert into visit_batches_counted (id) select id from taken on conflict do nothing returning id
)
select taken.id as "id!", visits, ids, org_ids, target_ids, ats, visitors, bots, devices, systems, browsers, countries, regions, languages,
       referrers, branches
from taken join fresh on fresh.id = taken.id
