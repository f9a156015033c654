-- One index for the whole life of a job, and no column in it that a claim changes: a claim then writes one new version
-- of the row into the same page and touches no index (a heap-only tuple), and an ending finds the row by the same index.
-- Figures in docs/decisions/0025-one-index.md.
--
-- Lanes of all queues share one number space (jobs::lane): queue * 192 + priority * 64 + hash % 32, and 32 more for an
-- organisation that floods. Dead jobs are filed at -1 - lane, out of every claim's way.
update jobs set lane = (case queue when 'deliveries' then 0 when 'mail' then 192 else 384 end) + lane;
update jobs set lane = -1 - lane where state = 3;

drop index jobs_ready;
drop index jobs_held;
drop index jobs_dead;
alter table jobs drop constraint jobs_pkey;
alter table jobs add primary key (lane, run_at, id, org_id);
-- Room on each page for the versions that claims write, all of its rows at once if need be: with 70, a third found none.
alter table jobs set (fillfactor = 50);
