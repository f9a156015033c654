-- Mail: a row first, then the job that sends it. (org_id, kind, slot) makes a mail that must not go twice unique.
create table mails (
  id         uuid primary key,
  org_id     uuid not null references organizations on delete cascade,
  kind       text not null,
  slot       text not null,
  recipient  text not null,
  subject    text not null,
  text_body  text not null,
  html_body  text not null,
  state      text not null default 'waiting' check (state in ('waiting', 'sent', 'failed')),
  transport  text,                             -- what carried it: smtp, resend, mailbox
  error      text,
  created_at timestamptz not null,
  sent_at    timestamptz,
  unique (org_id, kind, slot, recipient)
);
