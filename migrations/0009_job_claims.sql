-- Where the rows lie that a claim took, until they have all ended: what a process held is found by this when it dies or
-- stops. Without it all that was due had to be read; with five million jobs due that took 12 s.
create table job_claims (
  worker int not null,          -- the job_workers row
  rows   tid[] not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- At most 512 places of 6 bytes: in the row itself, and not looked at for what could be compressed.
alter table job_claims alter column rows set storage plain;
