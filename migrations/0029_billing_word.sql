-- When the first owner was told of a rung: begun is not told, and the last warning counts from when it was posted. Null until
-- then. What was begun before this was known counts as told at once.
alter table dunning_steps add column told_at timestamptz;
update dunning_steps set told_at = created_at;
