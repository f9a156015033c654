-- Alerts: what an owner wants to be told of the visits of a link or a QR code.
create table alerts (
  id         uuid primary key,
  org_id     uuid not null references organizations on delete cascade,
  target_id  uuid not null,                    -- as in codes; without one there the sweep removes the alert
  kind       text not null check (kind in ('spike', 'silence', 'threshold')),
  visits     bigint check (visits > 0),        -- threshold: how many in all; spike: how many in an hour at least
  factor     int check (factor between 2 and 1000),  -- spike: how many times the usual
  hours      int check (hours between 1 and 8760),   -- silence: how long
  active     boolean not null default true,
  raised_at  timestamptz,                      -- since when it holds; told once, and again only after it did not hold
  checked_at timestamptz not null,
  created_by uuid references users on delete set null,  -- who is told by e-mail
  created_at timestamptz not null,
  updated_at timestamptz not null,
  check (case kind when 'spike' then visits is not null and factor is not null and hours is null
                   when 'silence' then hours is not null and visits is null and factor is null
                   else visits is not null and factor is null and hours is null end)
) with (fillfactor = 70);
create index alerts_org on alerts (org_id, id);
create index alerts_target on alerts (target_id);
create index alerts_due on alerts (checked_at) where active;
