-- What happens to many things at once is told once, and a share of a limit is told again only after it was left.

-- A notification that many things share: all links to a host that is gone are one, and not one each. `about` says what they
-- have in common, and `last_at` when the last of them joined; both are null where nothing can join.
alter table notifications
  add column about   text,
  add column things  integer not null default 1,
  add column last_at timestamptz;
create index notifications_about on notifications (org_id, kind, about, id) where about is not null;

create table notification_things (
  notification_id uuid not null references notifications on delete cascade,
  thing_id        uuid not null,
  place           integer not null,           -- in the order in which they joined, from 1
  name            text not null,
  primary key (notification_id, thing_id)
);

-- When use was seen to be below a share again that had been told; null while it is not.
alter table quota_notices add column left_at timestamptz;
