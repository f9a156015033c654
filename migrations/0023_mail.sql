-- What mails on a schedule need: where people are, a way out, and a picture.

-- IANA's name of the time zone that a person lives by.
alter table users add column time_zone text not null default 'UTC';

-- Since when an organisation's features are locked because its invoice stays unpaid. Its links and codes lead on.
alter table organizations add column suspended_at timestamptz;

-- Where one click, by a program, ends mails of this kind (RFC 8058); none for what a person must be told.
alter table mails add column unsubscribe text;

-- The picture that a mail's page shows as cid:image, carried with it; a PNG.
alter table mails add column image bytea;
