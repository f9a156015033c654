-- How each entry of the schedule ran last, for operators: one row each, written by whoever ran it.
create table schedule_runs (
  kind         text primary key,
  job_id       uuid not null,
  attempt      smallint not null,
  started_at   timestamptz not null,
  took_ms      bigint not null,
  outcome      text not null,               -- as inkfleet_jobs_total has it: done, cancelled, retry, snooze, dead, recorded
  reason       text,                        -- why it was cancelled, failed or died
  succeeded_at timestamptz                  -- when it last ended well
);
