with noted as (
  select u.*, (u.at at time zone 'utc')::date as day
  from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::bigint[], $6::boolean[], $7::text[], $8::text[],
              $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
         as u(id, org_id, target_id, at, visitor, is_bot, device, system, browser, country, region, language, referrer, branch)
), days as (
  -- Nobody is the same visitor on another day, so all the days may be looked at: to leave partitions out for each visit anew
  -- would take longer than to look. Joined, because of a subquery of its own Postgres would make a table of the whole day.
  select uuid_floor(date_trunc('day', min(at) at time zone 'utc') at time zone 'utc') as first,
         uuid_floor((date_trunc('day', max(at) at time zone 'utc') + interval '1 day') at time zone 'utc') as behind
  from unnest($4::timestamptz[]) at
), stored as (
  insert into visits (id, org_id, target_id, at, visitor, is_bot, is_unique, device, system, browser, country, region,
                      language, referrer, branch)
  select id, org_id, target_id, at, visitor, is_bot,
         not is_bot
           and row_number() over (partition by target_id, visitor, day, is_bot order by id) = 1
           and not exists (
             select from visits x
             where x.target_id = n.target_id and x.visitor = n.visitor and not x.is_bot
               and x.id >= d.first and x.id < d.behind),
         device, system, browser, country, region, language, referrer, branch
  from noted n, days d
  returning id, is_unique
)
select id as "id!" from stored where is_unique
