//! Reminders of unpaid invoices, in their owners' daytime, and the suspension at their end.

use domain::{
    billing::{customer, invoice},
    dunning::{self, Due},
    local_time,
    mail::{
        NewMail,
        billing::{InvoiceUnpaid, Urgency},
    },
    org, user,
};
use jobs::{
    dunning::{RemindInvoice, SweepInvoices},
    job::NewJob,
    mail::post,
    queue,
};

use crate::{
    billing::{AGAIN, confirm_invoice, make_sure},
    context::Context,
    registry::{Outcome, Run},
    stripe::StripeError,
};

/// The most invoices of one transaction.
const PORTION: i64 = 100;
/// The most transactions of one run; what is left has another run at once.
const PORTIONS: usize = 50;

/// Finds invoices that have come to a rung of the ladder: suspends the plan where that is the rung, and has the owners told
/// when it is day where they live. Where Stripe can be asked and has said nothing of an invoice lately, it is asked first,
/// and what it cannot tell of waits for the next slot.
///
/// Safe twice: a rung is begun by a row of its own, together with what follows from it.
pub async fn sweep(context: Context, _: SweepInvoices, _: Run) -> anyhow::Result<Outcome> {
    let (mut after, mut waiting, mut stopped) = (None, 0, None);
    for _ in 0..PORTIONS {
        let now = context.clock.now();
        let all = dunning::due(&mut *context.store.pool().acquire().await?, now, after.as_ref(), PORTION).await?;
        let found = all.len();
        after = all.last().cloned();
        let sure = confirm(&context, all, &mut stopped).await?;
        waiting += found - sure.len();
        begin(&context, sure).await?;
        if found < PORTION as usize {
            if let Some(error) = stopped {
                tracing::warn!(%error, waiting, "reminders and suspensions wait until Stripe says how invoices stand");
            }
            return Ok(Outcome::Done);
        }
    }
    // Whoever waits for Stripe would be found again at once.
    Ok(if waiting == 0 { Outcome::Snooze(context.clock.now()) } else { Outcome::Done })
}

/// Those of which Stripe has spoken lately, or does now. Without a key its last word counts.
async fn confirm(context: &Context, all: Vec<Due>, stopped: &mut Option<StripeError>) -> anyhow::Result<Vec<Due>> {
    let Some(stripe) = &context.stripe else { return Ok(all) };
    let now = context.clock.now();
    let ask = |due: Due| async move { confirm_invoice(context, stripe, due.org_id, &due.invoice_id).await };
    make_sure(all, |due: &Due| dunning::is_well_told(due.stated_at, now), ask, stopped).await
}

/// Begins the rungs that invoices are on by what is known now.
async fn begin(context: &Context, mut all: Vec<Due>) -> anyhow::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let now = context.clock.now();
    let mut tx = context.store.begin().await?;
    // In the order in which whoever changes several organisations' billing holds them.
    all.sort_by_key(|due| due.org_id);
    for Due { org_id, invoice_id, .. } in all {
        customer::lock(&mut tx, org_id).await?;
        let place = dunning::find(&mut tx, org_id, &invoice_id).await?;
        let Some(step) = place.and_then(|place| place.step(now)) else { continue };
        if !dunning::begin(&mut tx, org_id, &invoice_id, step.name, now).await? {
            continue;
        }
        if step.suspends && !dunning::is_of_plan(&mut tx, org_id, &invoice_id).await? {
            // What is owed for something else, or for a subscription that is over, takes no plan.
            continue;
        }
        if step.suspends && org::suspend(&mut tx, org_id, now).await? {
            tracing::info!(org = %org_id, invoice = invoice_id, "an invoice stayed unpaid: the plan is suspended");
        }
        let owners = user::owners(&mut tx, org_id).await?;
        if owners.is_empty() {
            // Nobody can be warned, and nobody goes without paying for that.
            tracing::warn!(org = %org_id, "nobody to remind: the organisation has no owner");
            dunning::note_told(&mut tx, org_id, &invoice_id, step.name, now).await?;
        }
        let jobs: Vec<NewJob> = owners
            .iter()
            .map(|owner| {
                let (invoice_id, step) = (invoice_id.clone(), step.name.to_owned());
                let job = RemindInvoice { org_id, invoice_id, step, user_id: owner.user_id };
                NewJob::new(org_id, &job, now, &context.chance).at(local_time::daytime(now, owner.time_zone))
            })
            .collect();
        queue::enqueue_many(&mut tx, &jobs).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Reminds one owner, if the invoice is still on that rung.
///
/// Safe twice: a rung has one mail per owner.
pub async fn remind(context: Context, job: RemindInvoice, _: Run) -> anyhow::Result<Outcome> {
    let RemindInvoice { org_id, invoice_id, step, user_id } = job;
    let now = context.clock.now();
    let place = dunning::find(&mut *context.store.pool().acquire().await?, org_id, &invoice_id).await?;
    let is_old = place.is_some_and(|place| place.owed_since.is_some() && !dunning::is_well_told(place.stated_at, now));
    if let (Some(stripe), true) = (&context.stripe, is_old)
        && let Err(error) = confirm_invoice(&context, stripe, org_id, &invoice_id).await?
    {
        tracing::info!(org = %org_id, invoice = invoice_id, %error, "a reminder waits until Stripe says how the invoice stands");
        return Ok(Outcome::Snooze(now + AGAIN));
    }
    let mut tx = context.store.begin().await?;
    let place = dunning::find(&mut tx, org_id, &invoice_id).await?;
    let Some((place, owed_since)) = place.and_then(|place| Some((place, place.owed_since?))) else {
        return Ok(Outcome::Cancel("the invoice is not owed any more".into()));
    };
    let Some(right) = place.step(now).filter(|right| right.name == step) else {
        return Ok(Outcome::Cancel("another reminder is due".into()));
    };
    let owner = user::owners(&mut tx, org_id).await?.into_iter().find(|owner| owner.user_id == user_id);
    let (Some(owner), Some(org), Some(invoice)) =
        (owner, org::find(&mut tx, org_id).await?, invoice::find(&mut tx, org_id, &invoice_id).await?)
    else {
        // Where it was nobody else who was told, whoever are owners now are.
        dunning::forget_untold(&mut tx, org_id, &invoice_id, &step).await?;
        tx.commit().await?;
        return Ok(Outcome::Cancel("the person is no owner any more".into()));
    };
    let day = local_time::daytime(now, owner.time_zone);
    if day > now {
        return Ok(Outcome::Snooze(day));
    }
    let urgency = match (right.suspends, right.day) {
        (true, _) => Urgency::Suspended,
        (_, 0) => Urgency::First,
        _ if right.name == dunning::FINAL => Urgency::Last,
        _ => Urgency::Again,
    };
    let suspended_at = dunning::suspended_at(owed_since, place.warned_at, now);
    let letter = InvoiceUnpaid { org_name: &org.name, invoice: &invoice, urgency, suspended_at }.letter();
    let slot = format!("{invoice_id}/{step}");
    post(&mut tx, &NewMail::new(org_id, letter, slot, owner.email), now, &context.chance).await?;
    dunning::note_told(&mut tx, org_id, &invoice_id, &step, now).await?;
    tx.commit().await?;
    Ok(Outcome::Done)
}
