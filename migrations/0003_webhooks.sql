-- Webhooks: endpoints, and events → deliveries → attempts. The last three are partitioned by the day in their
-- time-ordered ids (UUIDv7, RFC 9562), so that a look-up by id touches one partition and retention drops whole ones.

create table endpoints (
  id                    uuid primary key,
  number                bigint generated always as identity unique,  -- the id that QR Code Agency's surface shows
  org_id                uuid not null references organizations on delete cascade,
  dialect               text not null,
  url                   text not null check (length(url) <= 2000),
  name                  text not null default '',
  event_types           text[],                -- null: every type of the dialect's catalogue
  enabled               boolean not null default true,  -- the owner's switch
  health                text not null default 'active' check (health in ('active', 'degraded', 'disabled')),
  secret                bytea not null,        -- sealed
  previous_secret       bytea,                 -- sealed; signs beside the present one until the time below
  previous_secret_until timestamptz,
  failures_in_row       int not null default 0,
  first_failure_at      timestamptz,           -- of the present row of failures
  last_success_at       timestamptz,
  last_delivery_at      timestamptz,
  last_response_status  int,
  health_changed_at     timestamptz,
  health_reason         text,
  created_by            uuid references users on delete set null,  -- who is told by e-mail
  created_at            timestamptz not null,
  updated_at            timestamptz not null,
  deleted_at            timestamptz
) with (fillfactor = 70);
create index endpoints_org on endpoints (org_id, id) where deleted_at is null;

create table events (
  id         uuid not null,
  org_id     uuid not null,
  type       text not null,
  data       text not null,                    -- as JSON.stringify prints it; every body is built around these bytes
  client_id  text,
  created_at timestamptz not null,
  primary key (id, org_id)
) partition by range (id);

create index events_org on events (org_id, id);

-- A client's own event id, for 30 days: the same id twice is one event.
create table event_client_ids (
  org_id     uuid not null,
  client_id  text not null check (length(client_id) between 1 and 255),
  event_id   uuid not null,
  type       text not null,
  deliveries int not null,
  created_at timestamptz not null,
  primary key (org_id, client_id)
);
create index event_client_ids_age on event_client_ids (created_at);

create table deliveries (
  id              uuid not null,
  org_id          uuid not null,
  event_id        uuid not null,
  endpoint_id     uuid not null,
  state           text not null check (state in ('pending', 'delivered', 'failed', 'held', 'cancelled')),
  is_test         boolean not null default false,
  attempts        int not null default 0,      -- requests made in all
  tries           int not null default 0,      -- requests made since scheduled_from
  scheduled_from  timestamptz not null,        -- where the dialect's schedule starts: creation, or the last replay
  next_attempt_at timestamptz,
  reason          text not null,               -- the rule that decided the present state, in a sentence
  created_at      timestamptz not null,
  finished_at     timestamptz,
  primary key (id, org_id),
  check ((state = 'pending') = (next_attempt_at is not null))
) partition by range (id);
create index deliveries_endpoint on deliveries (org_id, endpoint_id, id);

create table attempts (
  delivery_id   uuid not null,
  number        int not null,                  -- from 1
  org_id        uuid not null,
  endpoint_id   uuid not null,
  started_at    timestamptz not null,
  duration_ms   int not null,
  status        int,                           -- null where no response came
  response_body text not null default '',      -- at most 16 KiB, invalid UTF-8 replaced
  error         text not null default '',
  remote_addr   text,
  primary key (delivery_id, number, org_id)
) partition by range (delivery_id);

-- The smallest UUIDv7 of a moment.
create function uuid_floor(at timestamptz) returns uuid language sql immutable as $$
  select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the day's partitions of events, deliveries and attempts; harmless where they exist.
create function create_day(day date) returns void language plpgsql as $$
declare
  t text;
  part text;
begin
  foreach t in array array['events', 'deliveries', 'attempts'] loop
    part := t || '_' || to_char(day, 'YYYYMMDD');
    if to_regclass(part) is null then
      execute format('create table %I partition of %I for values from (%L) to (%L)', part, t,
        uuid_floor(day::timestamp at time zone 'utc'), uuid_floor((day + 1)::timestamp at time zone 'utc'));
    end if;
  end loop;
end $$;

-- A replay: past deliveries sent once more, as a durable job with progress.
create table replays (
  id              uuid primary key,
  org_id          uuid not null references organizations on delete cascade,
  endpoint_id     uuid not null references endpoints on delete cascade,
  state           text not null check (state in ('running', 'paused', 'cancelled', 'done')),
  delivery_states text[] not null,
  event_types     text[],
  from_id         uuid not null,               -- deliveries from here (inclusive)
  to_id           uuid not null,               -- to here (exclusive)
  cursor_id       uuid not null,               -- the last delivery looked at
  run             int not null default 1,      -- grows with every resume; a job of an earlier run ends itself
  per_second      int not null check (per_second between 1 and 10000),
  total           bigint not null,
  replayed        bigint not null default 0,
  created_by      uuid references users on delete set null,
  created_at      timestamptz not null,
  updated_at      timestamptz not null,
  finished_at     timestamptz
);
create index replays_endpoint on replays (endpoint_id, id);
