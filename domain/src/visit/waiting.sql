select id, visits, ids, org_ids, target_ids, ats, visitors, bots, devices, systems, browsers, countries, regions, languages,
       referrers, branches
from visit_batches b
-- Not a batch that was stored a second time after it was counted.
where not exists (select from visit_batches_counted c where c.id = b.id)
