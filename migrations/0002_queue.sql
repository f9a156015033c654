-- The queue. Only jobs::queue names these tables.

-- A process that may hold jobs. It also holds a session advisory lock on (1229867852, id) for as long as it lives;
-- `lease_until` is the second net, for a process that hangs or a connection that is half open.
create table job_workers (
  id          int generated always as identity primary key,
  name        text not null,
  started_at  timestamptz not null,
  lease_until timestamptz not null
);

create table jobs (
  id           uuid not null,
  org_id       uuid not null,                 -- the nil uuid for the installation's own work
  queue        text collate "C" not null,
  lane         smallint not null,             -- priority * 64 + hash of the organisation; see jobs::queue::lane
  kind         text collate "C" not null,
  payload      jsonb not null,
  state        smallint not null default 0,   -- 0 waiting for run_at, 1 running, 3 dead
  attempt      smallint not null default 0,
  max_attempts smallint not null,
  run_at       timestamptz not null,
  worker       int,                           -- the job_workers row that runs it
  last_error   text,
  request_id   text,                          -- the HTTP request that caused it, for the logs
  created_at   timestamptz not null,
  primary key (id, org_id),
  check ((state = 1) = (worker is not null))
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create index jobs_ready on jobs (queue, lane, run_at, id) where state = 0;
create index jobs_held on jobs (worker) where state = 1;
create index jobs_dead on jobs (queue, id) where state = 3;

-- Occasions that make one job only, however often they are announced: cron slots, sweeps, reminder steps.
create table job_occasions (
  org_id     uuid not null,
  kind       text collate "C" not null,
  key        text collate "C" not null,
  created_at timestamptz not null,
  primary key (org_id, kind, key)
);
create index job_occasions_age on job_occasions (created_at);

-- What finished, for operators: a few days, by hand-picked kinds (a webhook attempt has its own log).
create table job_history (
  id          uuid not null,
  org_id      uuid not null,
  queue       text not null,
  kind        text not null,
  outcome     text not null,                  -- done, cancelled
  reason      text,
  attempt     smallint not null,
  finished_at timestamptz not null,
  primary key (id, org_id)
);
create index job_history_age on job_history (finished_at);
