//! The mirror of Stripe: what is there is read, and taken over. No transaction is open while Stripe is asked.

use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    billing::{
        customer::{self, Customer},
        event::{self, Event, Subject},
        invoice::{self, Invoice},
        stripe::{self, Dispute, List, Reference},
        subscription::{self, Subscription},
        walk,
    },
    id::OrgId,
};
use jobs::{
    billing::{BackfillInvoices, SyncCustomer, SyncSnapshots, TakeEvent, find_org, take_invoices, take_subscription},
    dunning::settle,
    store::Tx,
};

use crate::{
    context::Context,
    registry::{Outcome, Run},
    stripe::{Answer, Stripe, StripeError},
};

/// The walk over all invoices.
const WALK: &str = "invoices";
/// The most pages of one run; what is left has another run at once.
const PAGES: usize = 10;
/// The most customers of one run.
const PORTION: i64 = 100;
/// Who was asked for since then is not asked for again; less than the time from slot to slot.
const LATELY: TimeDelta = TimeDelta::minutes(30);

/// What becomes of scheduled work when Stripe says nothing of use: it goes on where it was when Stripe may say more.
fn put_off(context: &Context, error: &StripeError) -> anyhow::Result<Outcome> {
    match error.wait() {
        Some(wait) => {
            tracing::warn!(%error, wait_s = wait.num_seconds(), "Stripe is asked again later");
            Ok(Outcome::Snooze(context.clock.now() + wait))
        }
        None => {
            if matches!(error, StripeError::Key { .. }) {
                tracing::error!(%error, "billing stands still until the operator mends the key");
            }
            bail!("{error}")
        }
    }
}

/// Walks over all invoices, from the newest to the oldest that can still change.
///
/// Safe twice: a page and the place of the next one commit together, if the walk still stands where the page was asked
/// for; and news that are not newer change nothing.
pub async fn backfill(context: Context, _: BackfillInvoices, _: Run) -> anyhow::Result<Outcome> {
    let Some(stripe) = &context.stripe else { return Ok(Outcome::Done) };
    for _ in 0..PAGES {
        let now = context.clock.now();
        let walk = walk::begin(&mut *context.store.pool().acquire().await?, WALK, now).await?;
        let page = match stripe.invoices(walk.from_at, walk.after_id.as_deref()).await {
            Ok(page) => page,
            Err(StripeError::Unknown { reason }) if walk.after_id.is_some() => {
                tracing::warn!(reason, "the invoice behind which the walk was to go on is gone; it begins anew");
                walk::restart(&mut *context.store.pool().acquire().await?, WALK).await?;
                continue;
            }
            Err(error) => return put_off(&context, &error),
        };
        let Answer { value: List { data, has_more }, at } = page;
        let after_id = data.last().filter(|_| has_more).map(|invoice| invoice.id.clone());
        let mut tx = context.store.begin().await?;
        if !walk::step(&mut tx, WALK, &walk, after_id.as_deref(), now).await? {
            continue;
        }
        take_page(&context, &mut tx, &data, at).await?;
        tx.commit().await?;
        if after_id.is_none() {
            return Ok(Outcome::Done);
        }
    }
    Ok(Outcome::Snooze(context.clock.now()))
}

/// Takes over a page of anybody's invoices.
async fn take_page(
    context: &Context,
    tx: &mut Tx<'_>,
    page: &[stripe::Invoice],
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let now = context.clock.now();
    let mut news: Vec<(OrgId, Invoice)> = vec![];
    for from in page {
        let Some(customer) = &from.customer else { continue };
        let Some(invoice) = Invoice::of(from, None, at) else { continue };
        if let Some(org_id) = find_org(tx, customer.id(), &from.named(), now, &context.chance).await? {
            news.push((org_id, invoice));
        }
    }
    // In the order of the organisations, which is the order in which they are held; of each, oldest first.
    news.reverse();
    news.sort_by_key(|(org_id, _)| *org_id);
    for same in news.chunk_by(|(one, _), (other, _)| one == other) {
        let invoices = same.iter().map(|(_, invoice)| invoice.clone()).collect();
        take_invoices(tx, same[0].0, invoices, now, &context.chance).await?;
    }
    Ok(())
}

/// Asks for the subscriptions of customers, those first that waited longest, one after the other: Stripe limits requests
/// per account.
///
/// Safe twice: who was asked for lately is not asked for again, and the same state changes nothing.
pub async fn sync(context: Context, _: SyncSnapshots, _: Run) -> anyhow::Result<Outcome> {
    let Some(stripe) = &context.stripe else { return Ok(Outcome::Done) };
    let since = context.clock.now() - LATELY;
    let customers = customer::due(&mut *context.store.pool().acquire().await?, since, PORTION).await?;
    for customer in &customers {
        let asked = sync_subscription(&context, stripe, customer).await?;
        if let Err(error) = asked {
            if let StripeError::Unknown { reason } | StripeError::Refused { reason } = &error {
                // Nobody loses a plan because the key is another account's.
                tracing::warn!(org = %customer.org_id, reason, "a customer cannot be asked for; all stays as it is");
                let conn = &mut *context.store.pool().acquire().await?;
                customer::note_asked(conn, customer.org_id, context.clock.now()).await?;
                continue;
            }
            // To the end of the line, so that one customer that Stripe cannot answer for does not stop all others.
            customer::note_asked(&mut *context.store.pool().acquire().await?, customer.org_id, since).await?;
            return put_off(&context, &error);
        }
    }
    Ok(if customers.len() < PORTION as usize { Outcome::Done } else { Outcome::Snooze(context.clock.now()) })
}

/// Asks for a customer's subscriptions, and takes over what Stripe says.
async fn sync_subscription(
    context: &Context,
    stripe: &Stripe,
    customer: &Customer,
) -> anyhow::Result<Result<(), StripeError>> {
    let Answer { value: list, at } = match stripe.subscriptions_of(&customer.customer_id).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    let now = context.clock.now();
    let mut tx = context.store.begin().await?;
    customer::lock(&mut tx, customer.org_id).await?;
    // The operator may have said meanwhile that it is another one.
    if customer::find(&mut tx, customer.org_id).await?.as_ref() == Some(customer) {
        let subscription = Subscription::choose(&list.data, &context.settings.stripe_prices);
        take_subscription(&mut tx, customer.org_id, subscription, at, now, &context.chance).await?;
        customer::note_asked(&mut tx, customer.org_id, now).await?;
    }
    tx.commit().await?;
    Ok(Ok(()))
}

/// Asks for all that there is of one organisation's customer.
///
/// Safe twice: the same state changes nothing.
pub async fn sync_customer(context: Context, job: SyncCustomer, _: Run) -> anyhow::Result<Outcome> {
    let Some(stripe) = &context.stripe else { return Ok(Outcome::Done) };
    let customer = customer::find(&mut *context.store.pool().acquire().await?, job.org_id).await?;
    let Some(customer) = customer else { return Ok(Outcome::Cancel("the organisation has no customer".into())) };
    if let Err(error) = sync_subscription(&context, stripe, &customer).await? {
        return put_off(&context, &error);
    }
    let Answer { value: page, at } = match stripe.invoices_of(&customer.customer_id).await {
        Ok(answer) => answer,
        Err(error) => return put_off(&context, &error),
    };
    let mut tx = context.store.begin().await?;
    customer::lock(&mut tx, job.org_id).await?;
    if customer::find(&mut tx, job.org_id).await?.as_ref() != Some(&customer) {
        return Ok(Outcome::Cancel("the operator has said meanwhile that it is another customer".into()));
    }
    let invoices = page.data.iter().rev().filter_map(|from| Invoice::of(from, None, at)).collect();
    take_invoices(&mut tx, job.org_id, invoices, context.clock.now(), &context.chance).await?;
    tx.commit().await?;
    Ok(Outcome::Done)
}

/// Takes what Stripe sent: the object is asked for as it is now, so that the order in which events come does not matter.
/// Without a key the event's own object counts, if nothing newer is known.
///
/// Safe twice: the same state changes nothing, and older news change nothing.
pub async fn take(context: Context, job: TakeEvent, _: Run) -> anyhow::Result<Outcome> {
    let event = event::find(&mut *context.store.pool().acquire().await?, &job.event_id).await?;
    let Some(event) = event else { return Ok(Outcome::Cancel("the event is forgotten".into())) };
    let subject = match Subject::read(&event.kind, event.object.clone()) {
        Some(subject) => subject?,
        None => return Ok(Outcome::Cancel("the event does not concern us any more".into())),
    };
    let taken = match subject {
        Subject::Subscription(subscription) => take_subscription_event(&context, &event, &subscription).await?,
        Subject::Invoice(invoice) => take_invoice_event(&context, &event, &invoice).await?,
        Subject::Dispute(dispute) => take_dispute(&context, &dispute).await?,
        Subject::Customer(of) => {
            let named = of.metadata.and_then(|metadata| metadata.org_id);
            find(&context, &of.id, &named.iter().map(String::as_str).collect::<Vec<_>>()).await?.map(drop)
        }
        Subject::Checkout(of) => match of.customer {
            None => Ok(()),
            Some(customer) => {
                let named = of.client_reference_id.into_iter().chain(of.metadata.and_then(|metadata| metadata.org_id));
                let named: Vec<String> = named.collect();
                let named: Vec<&str> = named.iter().map(String::as_str).collect();
                find(&context, customer.id(), &named).await?.map(drop)
            }
        },
    };
    match taken {
        Ok(()) => Ok(Outcome::Done),
        Err(StripeError::Unknown { reason }) => Ok(Outcome::Cancel(reason)),
        Err(error) => put_off(&context, &error),
    }
}

/// What asking Stripe came to; the outer error is our own.
type Asked<T> = anyhow::Result<Result<T, StripeError>>;

/// The organisation of a customer: as it is known, as somebody named it, or as the customer itself says.
async fn find(context: &Context, customer_id: &str, named: &[&str]) -> Asked<Option<OrgId>> {
    let now = context.clock.now();
    let mut tx = context.store.begin().await?;
    let found = find_org(&mut tx, customer_id, named, now, &context.chance).await?;
    tx.commit().await?;
    let (None, Some(stripe), true) = (found, &context.stripe, !customer_id.is_empty()) else { return Ok(Ok(found)) };
    let customer = match stripe.customer(customer_id).await {
        Ok(answer) => answer.value,
        Err(error) => return Ok(Err(error)),
    };
    let named = customer.metadata.and_then(|metadata| metadata.org_id);
    let mut tx = context.store.begin().await?;
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let found = find_org(&mut tx, customer_id, &named, now, &context.chance).await?;
    tx.commit().await?;
    if found.is_none() {
        tracing::info!(customer = customer_id, "a customer at Stripe is no organisation's here");
    }
    Ok(Ok(found))
}

async fn take_subscription_event(context: &Context, event: &Event, of: &stripe::Subscription) -> Asked<()> {
    let org_id = match find(context, of.customer.id(), &of.named()).await? {
        Ok(Some(org_id)) => org_id,
        other => return Ok(other.map(drop)),
    };
    if let Some(stripe) = &context.stripe {
        let customer = Customer { org_id, customer_id: of.customer.id().to_owned() };
        return sync_subscription(context, stripe, &customer).await;
    }
    let news = Subscription::of(of, &context.settings.stripe_prices);
    let mut tx = context.store.begin().await?;
    customer::lock(&mut tx, org_id).await?;
    let held = subscription::find(&mut tx, org_id).await?.map(|held| held.subscription);
    // The end of another one is no news of the one that counts.
    let counts = held.is_none_or(|held| held.subscription_id == news.subscription_id || held.weight() < news.weight());
    if counts {
        let now = context.clock.now();
        take_subscription(&mut tx, org_id, Some(news), event.created_at, now, &context.chance).await?;
    }
    tx.commit().await?;
    Ok(Ok(()))
}

async fn take_invoice_event(context: &Context, event: &Event, of: &stripe::Invoice) -> Asked<()> {
    let failed_at = (event.kind == "invoice.payment_failed").then_some(event.created_at);
    let taken = match &context.stripe {
        None => take_invoice(context, of, failed_at, event.created_at).await?,
        Some(stripe) => match stripe.invoice(&of.id).await {
            Ok(Answer { value, at }) => take_invoice(context, &value, failed_at, at).await?,
            Err(error) => return Ok(Err(error)),
        },
    };
    Ok(taken.map(drop))
}

/// Takes over one invoice, whosever it is.
async fn take_invoice(
    context: &Context,
    of: &stripe::Invoice,
    failed_at: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> Asked<Option<OrgId>> {
    let Some(customer) = &of.customer else { return Ok(Ok(None)) };
    let org_id = match find(context, customer.id(), &of.named()).await? {
        Ok(Some(org_id)) => org_id,
        other => return Ok(other),
    };
    let mut tx = context.store.begin().await?;
    let invoices = Invoice::of(of, failed_at, at).into_iter().collect();
    take_invoices(&mut tx, org_id, invoices, context.clock.now(), &context.chance).await?;
    tx.commit().await?;
    Ok(Ok(Some(org_id)))
}

/// Notes that a bank takes a payment back, on the invoice that it had paid.
async fn take_dispute(context: &Context, dispute: &Dispute) -> Asked<()> {
    let Some(stripe) = &context.stripe else {
        tracing::warn!("STRIPE_SECRET_KEY is not set: which invoice a disputed payment had paid cannot be asked for");
        return Ok(Ok(()));
    };
    let invoice = match disputed(stripe, dispute).await {
        Ok(Some(invoice)) => invoice,
        other => return Ok(other.map(drop)),
    };
    let org_id = match take_invoice(context, &invoice.value, None, invoice.at).await? {
        Ok(Some(org_id)) => org_id,
        other => return Ok(other.map(drop)),
    };
    let began_at = DateTime::from_timestamp(dispute.created, 0).filter(|_| !dispute.is_settled());
    let mut tx = context.store.begin().await?;
    customer::lock(&mut tx, org_id).await?;
    invoice::dispute(&mut tx, org_id, &invoice.value.id, began_at).await?;
    settle(&mut tx, org_id, context.clock.now(), &context.chance).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// The invoice that a disputed payment had paid.
async fn disputed(stripe: &Stripe, dispute: &Dispute) -> Result<Option<Answer<stripe::Invoice>>, StripeError> {
    let mut invoice_id = None;
    if let Some(payment) = &dispute.payment_intent {
        let paid = stripe.paid_by(payment.id()).await?.value.data;
        invoice_id = paid.into_iter().next().map(|paid| paid.invoice);
    }
    if let (None, Some(charge)) = (&invoice_id, &dispute.charge) {
        invoice_id = stripe.charge(charge.id()).await?.value.invoice;
    }
    match invoice_id.as_ref().map(Reference::id) {
        Some(id) => stripe.invoice(id).await.map(Some),
        None => Ok(None),
    }
}
