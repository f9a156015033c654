with noted as (
  select u.*, (u.at at time zone 'utc')::date as day
  from visit_batches b,
       unnest(ids, org_ids, target_ids, ats, visitors, bots, devices, systems, browsers, countries, regions, languages,
              referrers, branches)
         as u(id, org_id, target_id, at, visitor, is_bot, device, system, browser, country, region, language, referrer, branch)
  where u.org_id = $1 and ($2::uuid = '00000000-0000-0000-0000-000000000000' or u.target_id = $2)
    -- Not a batch that was stored a second time after it was counted.
    and not exists (select from visit_batches_counted c where c.id = b.id)
), days as (
  -- Reckoned once, as in count.sql.
  select uuid_floor(date_trunc('day', min(at) at time zone 'utc') at time zone 'utc') as first,
         uuid_floor((date_trunc('day', max(at) at time zone 'utc') + interval '1 day') at time zone 'utc') as behind
  from visit_batches, unnest(ats) at
)
select id as "id!", org_id as "org_id!: OrgId", target_id as "target_id!", at as "at!", is_bot as "is_bot!",
       not is_bot
         and row_number() over (partition by target_id, visitor, day, is_bot order by id) = 1
         and not exists (
           select from visits x
           where x.target_id = n.target_id and x.visitor = n.visitor and not x.is_bot
             and x.id >= d.first and x.id < d.behind) as "is_unique!",
       device as "device!", system as "system!", browser as "browser!", country as "country!", region as "region!",
       language as "language!", referrer as "referrer!", branch as "branch!"
from noted n, days d
