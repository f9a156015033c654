-- Conversions: what visitors of links and QR codes did at their destination, as its pages tell.

-- Kept for as long as statistics can be asked for. Ids begin with the time of their making: the key finds the old ones.
create table conversions (
  id         uuid primary key,
  org_id     uuid not null references organizations on delete cascade,
  target_id  uuid not null,            -- a link or a QR code; whoever deletes that deletes these
  at         timestamptz not null,
  step       text not null check (length(step) between 1 and 100),
  visitor_id uuid not null,            -- made of their cookie and the organisation: nobody is followed to another one
  branch     text not null,            -- which rule or variant leads them on; empty for the destination itself
  value      numeric(18, 4) check (value between 0 and 1e12),
  currency   text check (currency ~ '^[A-Z]{3}$'),
  dedupe_key text check (length(dedupe_key) between 1 and 255),
  check (value is not null or currency is null)
);
create index conversions_target on conversions (target_id, at);
create unique index conversions_dedupe on conversions (target_id, step, dedupe_key, org_id)
  where dedupe_key is not null;

-- From which pages conversions are taken, beside those that an organisation's links lead to: origins such as
-- https://shop.example.
create table conversion_origins (
  org_id     uuid primary key references organizations on delete cascade,
  origins    text[] not null check (cardinality(origins) <= 50),
  updated_at timestamptz not null
);
