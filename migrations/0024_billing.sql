-- Billing: a mirror of what Stripe says, and what was told of it. Stripe decides; nothing here is ever sent there.
create table billing_customers (
  org_id      uuid primary key references organizations on delete cascade,
  customer_id text not null unique check (length(customer_id) between 1 and 255),
  asked_at    timestamptz not null,            -- when its subscriptions were last asked for
  created_at  timestamptz not null
);
create index billing_customers_asked on billing_customers (asked_at, org_id);

-- The subscription that counts, one per organisation: of several, the one that pays for most.
create table subscriptions (
  org_id               uuid primary key references organizations on delete cascade,
  subscription_id      text not null,
  price_id             text,
  plan                 text check (plan in ('free', 'starter', 'pro', 'business', 'enterprise')),  -- null: no setting says which the price is
  status               text not null,          -- Stripe's word
  seats                int not null,
  billing_interval     text,
  period_start         timestamptz,
  period_end           timestamptz,
  trial_start          timestamptz,
  trial_end            timestamptz,
  cancel_at_period_end boolean not null,
  created_at           timestamptz not null,   -- Stripe's
  ended_at             timestamptz,
  stated_at            timestamptz not null,   -- when Stripe said so, by Stripe's clock: older news changes nothing
  updated_at           timestamptz not null
);
create index subscriptions_trial on subscriptions (trial_end) where trial_end is not null;

create table invoices (
  org_id               uuid not null references organizations on delete cascade,
  invoice_id           text not null,
  subscription_id      text,
  number               text,
  status               text not null check (status in ('open', 'paid', 'uncollectible', 'void')),
  collects             boolean not null,       -- Stripe charges by itself; otherwise the customer pays by a date
  currency             text not null,
  amount_due           bigint not null,        -- in the currency's smallest unit, as are all amounts
  amount_paid          bigint not null,
  amount_remaining     bigint not null,
  attempt_count        int not null,
  next_payment_attempt timestamptz,
  hosted_invoice_url   text,
  created_at           timestamptz not null,   -- Stripe's
  due_at               timestamptz,
  paid_at              timestamptz,
  voided_at            timestamptz,
  failed_at            timestamptz,            -- the first failed payment
  disputed_at          timestamptz,
  stated_at            timestamptz not null,   -- as above
  updated_at           timestamptz not null,
  -- Since when it is owed, which reminders are counted from; null while nothing is.
  owed_since           timestamptz generated always as (
    case when status = 'open' and amount_remaining > 0 and disputed_at is null
         then case when collects then failed_at else due_at end end) stored,
  primary key (org_id, invoice_id)
);
create index invoices_newest on invoices (org_id, created_at desc, invoice_id desc);
create index invoices_owed on invoices (owed_since, org_id, invoice_id) where owed_since is not null;

-- What Stripe sent, once each. The object is what we read of it, and nothing else that was in it.
create table billing_events (
  event_id    text primary key check (length(event_id) between 1 and 255),
  kind        text not null,
  object      jsonb not null,
  created_at  timestamptz not null,            -- Stripe's
  received_at timestamptz not null
);
create index billing_events_age on billing_events (received_at);

-- How far the walk over all invoices is: from the newest, behind `after_id`, to `from_at`.
create table billing_walks (
  name        text primary key,
  from_at     timestamptz,
  after_id    text,
  under_way   boolean not null,
  begun_at    timestamptz not null,
  finished_at timestamptz
);

-- Which reminder was begun: of a trial (another end is another trial), and of an invoice.
create table trial_reminders (
  org_id     uuid not null references organizations on delete cascade,
  trial_end  timestamptz not null,
  step       text not null,
  created_at timestamptz not null,
  primary key (org_id, trial_end, step)
);

create table dunning_steps (
  org_id     uuid not null references organizations on delete cascade,
  invoice_id text not null,
  step       text not null,
  created_at timestamptz not null,
  primary key (org_id, invoice_id, step),
  foreign key (org_id, invoice_id) references invoices on delete cascade
);
