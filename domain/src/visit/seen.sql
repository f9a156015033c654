-- Which of these visitors of targets had come before, on a day between two ids: nobody is the same visitor on another day.
select u.n as "n!"
from unnest($1::uuid[], $2::bigint[]) with ordinality as u(target_id, visitor, n)
-- Limited, so that Postgres looks each up; it would make a table of the whole day instead.
cross join lateral (
  select from visits x
  where x.target_id = u.target_id and x.visitor = u.visitor and not x.is_bot and x.id >= $3 and x.id < $4
  limit 1) seen
