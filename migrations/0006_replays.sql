-- Replays of several endpoints, a count that need not be done at once, and how far behind the queue is.
alter table replays
  alter column endpoint_id drop not null,
  add column endpoint_ids uuid[],              -- where there are several; then endpoint_id is null
  add column counted_id uuid,                  -- how far `total` is counted; null: to the end
  add column waiting_from timestamptz,         -- no job of it that waits in the queue was due before
  add check (num_nonnulls(endpoint_id, endpoint_ids) = 1);
create index replays_org on replays (org_id, id);
