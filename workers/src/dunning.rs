//! Reminders of unpaid invoices, in their owners' daytime, and the suspension at their end.

use domain::{
    billing::{customer, invoice},
    dunning::{self, Due, LADDER},
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
    context::Context,
    registry::{Outcome, Run},
};

/// The most invoices of one transaction.
const PORTION: i64 = 100;
/// The most transactions of one run; what is left has another run at once.
const PORTIONS: usize = 50;

/// Finds invoices that have come to a rung of the ladder: suspends the plan where that is the rung, and has the owners told
/// when it is day where they live.
///
/// Safe twice: a rung is begun by a row of its own, together with what follows from it.
pub async fn sweep(context: Context, _: SweepInvoices, _: Run) -> anyhow::Result<Outcome> {
    for _ in 0..PORTIONS {
        let now = context.clock.now();
        let mut tx = context.store.begin().await?;
        let mut all = dunning::due(&mut tx, now, PORTION).await?;
        let found = all.len();
        // In the order in which whoever changes several organisations' billing holds them.
        all.sort_by_key(|due| due.org_id);
        for due in &all {
            customer::lock(&mut tx, due.org_id).await?;
            if !dunning::begin(&mut tx, due, now).await? {
                continue;
            }
            let suspends = LADDER.iter().any(|step| step.suspends && step.name == due.step);
            if suspends && !dunning::is_of_plan(&mut tx, due.org_id, &due.invoice_id).await? {
                // What is owed for something else, or for a subscription that is over, takes no plan.
                continue;
            }
            if suspends && org::suspend(&mut tx, due.org_id, now).await? {
                tracing::info!(org = %due.org_id, invoice = due.invoice_id, "an invoice stayed unpaid: the plan is suspended");
            }
            let owners = user::owners(&mut tx, due.org_id).await?;
            if owners.is_empty() {
                tracing::warn!(org = %due.org_id, "nobody to remind: the organisation has no owner");
            }
            let jobs: Vec<NewJob> = owners
                .iter()
                .map(|owner| {
                    let Due { org_id, invoice_id, step } = due.clone();
                    let job = RemindInvoice { org_id, invoice_id, step, user_id: owner.user_id };
                    NewJob::new(org_id, &job, now, &context.chance).at(local_time::daytime(now, owner.time_zone))
                })
                .collect();
            queue::enqueue_many(&mut tx, &jobs).await?;
        }
        tx.commit().await?;
        if found < PORTION as usize {
            return Ok(Outcome::Done);
        }
    }
    Ok(Outcome::Snooze(context.clock.now()))
}

/// Reminds one owner, if the invoice is still on that rung.
///
/// Safe twice: a rung has one mail per owner.
pub async fn remind(context: Context, job: RemindInvoice, _: Run) -> anyhow::Result<Outcome> {
    let RemindInvoice { org_id, invoice_id, step, user_id } = job;
    let now = context.clock.now();
    let mut tx = context.store.begin().await?;
    let place = dunning::find(&mut tx, org_id, &invoice_id).await?;
    let Some((owed_since, warned_at)) = place.and_then(|place| Some((place.owed_since?, place.warned_at))) else {
        return Ok(Outcome::Cancel("the invoice is not owed any more".into()));
    };
    let Some(right) = dunning::step(owed_since, warned_at, now).filter(|right| right.name == step) else {
        return Ok(Outcome::Cancel("another reminder is due".into()));
    };
    let owner = user::owners(&mut tx, org_id).await?.into_iter().find(|owner| owner.user_id == user_id);
    let (Some(owner), Some(org), Some(invoice)) =
        (owner, org::find(&mut tx, org_id).await?, invoice::find(&mut tx, org_id, &invoice_id).await?)
    else {
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
    let suspended_at = dunning::suspended_at(owed_since, warned_at, now);
    let letter = InvoiceUnpaid { org_name: &org.name, invoice: &invoice, urgency, suspended_at }.letter();
    let slot = format!("{invoice_id}/{step}");
    post(&mut tx, &NewMail::new(org_id, letter, slot, owner.email), now, &context.chance).await?;
    tx.commit().await?;
    Ok(Outcome::Done)
}
