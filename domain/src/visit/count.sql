with taken as (
  delete from visit_batches where id in (
    -- As many of the oldest as hold $1 visits, and one at least.
    select id from (select id, sum(size) over (order by id) - size as before
                    from visit_batches where id <= $2 order by id limit 2000) b
    where before < $1)
  returning *
), fresh as (
  insert into visit_batches_counted (id) select id from taken on conflict do nothing returning id
), noted as (
  select u.*, (u.at at time zone 'utc')::date as day
  from taken join fresh on fresh.id = taken.id,
       unnest(ids, org_ids, target_ids, ats, visitors, bots, devices, systems, browsers, countries, regions, languages,
              referrers, branches)
         as u(id, org_id, target_id, at, visitor, is_bot, device, system, browser, country, region, language, referrer, branch)
)
insert into visits (id, org_id, target_id, at, visitor, is_bot, is_unique, device, system, browser, country, region, language,
                    referrer, branch)
select id, org_id, target_id, at, visitor, is_bot,
       not is_bot
         and row_number() over (partition by target_id, visitor, day, is_bot order by id) = 1
         and not exists (
           select from visits x
           where x.target_id = n.target_id and x.visitor = n.visitor and not x.is_bot
             and x.id >= uuid_floor(n.day::timestamp at time zone 'utc')
             and x.id < uuid_floor((n.day + 1)::timestamp at time zone 'utc')),
       device, system, browser, country, region, language, referrer, branch
from noted n
returning id, org_id as "org_id: OrgId", target_id, at, is_bot, is_unique, device, system, browser, country, region, language,
          referrer, branch
