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
), days as (
  -- Nobody is the same visitor on another day, so all the days may be looked at: to leave partitions out for each visit anew
  -- would take longer than to look. Joined, because of a subquery of its own Postgres would make a table of the whole day.
  select uuid_floor(date_trunc('day', min(at) at time zone 'utc') at time zone 'utc') as first,
         uuid_floor((date_trunc('day', max(at) at time zone 'utc') + interval '1 day') at time zone 'utc') as behind
  from taken, unnest(ats) at
)
insert into visits (id, org_id, target_id, at, visitor, is_bot, is_unique, device, system, browser, country, region, language,
                    referrer, branch)
select id, org_id, target_id, at, visitor, is_bot,
       not is_bot
         and row_number() over (partition by target_id, visitor, day, is_bot order by id) = 1
         and not exists (
           select from visits x
           where x.target_id = n.target_id and x.visitor = n.visitor and not x.is_bot
             and x.id >= d.first and x.id < d.behind),
       device, system, browser, country, region, language, referrer, branch
from noted n, days d
returning id, org_id as "org_id: OrgId", target_id, at, is_bot, is_unique, device, system, browser, country, region, language,
          referrer, branch
