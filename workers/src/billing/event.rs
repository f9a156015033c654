//! What Stripe tells by itself, taken: each event says what to ask for.

use chrono::{DateTime, Utc};
use domain::{
    billing::{
        customer::{self, Customer},
        event::{self, Event, Subject},
        invoice::{self, Invoice},
        stated::Stated,
        stripe::{self, Dispute, Reference},
        subscription::{self, Subscription},
    },
    id::OrgId,
};
use jobs::{
    billing::{TakeEvent, find_org, take_invoices, take_subscription},
    dunning::settle,
};

use super::{Asked, put_off, sync_subscription};
use crate::{
    context::Context,
    registry::{Outcome, Run},
    stripe::{Answer, Stripe, StripeError},
};

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
        let stated = Stated::by_event(event.created_at);
        take_subscription(&mut tx, org_id, Some(news), stated, now, &context.chance).await?;
    }
    tx.commit().await?;
    Ok(Ok(()))
}

async fn take_invoice_event(context: &Context, event: &Event, of: &stripe::Invoice) -> Asked<()> {
    let failed_at = (event.kind == "invoice.payment_failed").then_some(event.created_at);
    let taken = match &context.stripe {
        None => take_invoice(context, of, failed_at, Stated::by_event(event.created_at)).await?,
        Some(stripe) => match stripe.invoice(&of.id).await {
            Ok(Answer { value, stated }) => take_invoice(context, &value, failed_at, stated).await?,
            Err(error) => return Ok(Err(error)),
        },
    };
    Ok(taken.map(drop))
}

/// Takes over one invoice, whosever it is.
pub(super) async fn take_invoice(
    context: &Context,
    of: &stripe::Invoice,
    failed_at: Option<DateTime<Utc>>,
    stated: Stated,
) -> Asked<Option<OrgId>> {
    let Some(customer) = &of.customer else { return Ok(Ok(None)) };
    let org_id = match find(context, customer.id(), &of.named()).await? {
        Ok(Some(org_id)) => org_id,
        other => return Ok(other),
    };
    let mut tx = context.store.begin().await?;
    let invoices = Invoice::of(of, failed_at, stated.at).into_iter().collect();
    take_invoices(&mut tx, org_id, invoices, stated, context.clock.now(), &context.chance).await?;
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
    let org_id = match take_invoice(context, &invoice.value, None, invoice.stated).await? {
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
