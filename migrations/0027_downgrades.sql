-- Organisations that use more than their plan includes: since when, and from when on what is beyond it cannot be changed.
create table downgrades (
  org_id    uuid primary key references organizations on delete cascade,
  plan      text not null,                  -- the plan that was found to be exceeded; another one begins anew
  found_at  timestamptz not null,
  locks_at  timestamptz not null,
  locked_at timestamptz
);
