-- Notifications: what happened in an organisation, whom it concerns, and when and how they want to be told by mail.

-- Where a member has no row, the defaults of domain::notification::Preferences count.
create table notification_preferences (
  org_id        uuid not null,
  user_id       uuid not null,
  mode          text not null check (mode in ('immediate', 'daily', 'weekly', 'off')),
  quiet_from    time,                          -- by the clock on the member's wall; no mail until quiet_to
  quiet_to      time,                          -- before quiet_from, it is on the next day
  weekly_digest boolean not null,
  updated_at    timestamptz not null,
  primary key (org_id, user_id),
  foreign key (org_id, user_id) references members on delete cascade,
  check ((quiet_from is null) = (quiet_to is null)),
  check (quiet_from <> quiet_to)
);

create table notifications (
  id         uuid primary key,
  org_id     uuid not null references organizations on delete cascade,
  kind       text not null,                    -- a name of domain::notification::KINDS
  title      text not null check (length(title) between 1 and 200),
  body       text not null check (length(body) <= 1000),
  path       text not null check (path like '/%'),  -- where the workspace shows more
  created_at timestamptz not null
);
create index notifications_org on notifications (org_id, id);

-- One row for each member whom a notification concerns, written with it. Whoever joins later has none. Each row says by
-- itself whether it is still to be told by mail, so that nothing is lost between those who add and the one who tells.
create table notification_recipients (
  org_id          uuid not null,
  user_id         uuid not null,
  notification_id uuid not null references notifications on delete cascade,
  read_at         timestamptz,
  due_at          timestamptz,                 -- when a mail is to tell it; null where none is to, or one has
  primary key (org_id, user_id, notification_id),
  foreign key (org_id, user_id) references members on delete cascade
) with (fillfactor = 80);
create index notification_recipients_notification on notification_recipients (notification_id);
create index notification_recipients_unread on notification_recipients (org_id, user_id, notification_id) where read_at is null;
create index notification_recipients_due on notification_recipients (due_at) where due_at is not null;

-- The weekly digests: one row for each member and Monday, whatever becomes of it.
create table digests (
  org_id     uuid not null,
  user_id    uuid not null,
  monday     date not null,                    -- the recipient's own
  first_day  date not null,                    -- of the seven days (UTC) that it tells of
  created_at timestamptz not null,
  not_before timestamptz,                      -- the end of the recipient's quiet hours, where they are in them
  settled_at timestamptz,                      -- when its mail was stored, or it was found that none is wanted
  primary key (org_id, user_id, monday),
  foreign key (org_id, user_id) references members on delete cascade
);
create index digests_open on digests (org_id) where settled_at is null;
