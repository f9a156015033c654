-- Which of these visitors of targets had come before, on the day of the visit.
select u.n as "n!"
from unnest($1::uuid[], $2::bigint[], $3::date[]) with ordinality as u(target_id, visitor, day, n)
where exists (
  select from visits x
  where x.target_id = u.target_id and x.visitor = u.visitor and not x.is_bot
    and x.id >= uuid_floor(u.day::timestamp at time zone 'utc')
    and x.id < uuid_floor((u.day + 1)::timestamp at time zone 'utc'))
