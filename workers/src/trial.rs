//! Reminders of trials, in their owners' daytime.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use domain::{
    billing::subscription,
    local_time,
    mail::{
        NewMail,
        billing::{TrialEnded, TrialEnding},
    },
    org,
    trial::{self, Due},
    user,
};
use jobs::{
    job::NewJob,
    mail::post,
    queue,
    trial::{RemindTrial, SweepTrials},
};

use crate::{
    billing::{AGAIN, confirm_subscription, make_sure},
    context::Context,
    registry::{Outcome, Run},
    stripe::StripeError,
};

/// The most trials of one transaction.
const PORTION: i64 = 200;
/// The most transactions of one run; what is left has another run at once.
const PORTIONS: usize = 50;

/// Finds trials that have come to a reminder, and has their owners reminded when it is day where they live. Where Stripe can
/// be asked and has said nothing of a trial lately, it is asked first, and what it cannot tell of waits for the next slot.
///
/// Safe twice: a reminder is begun by a row of its own, together with its jobs.
pub async fn sweep(context: Context, _: SweepTrials, _: Run) -> anyhow::Result<Outcome> {
    let (mut after, mut waiting, mut stopped) = (None, 0, None);
    for _ in 0..PORTIONS {
        let now = context.clock.now();
        let all = trial::due(&mut *context.store.pool().acquire().await?, now, after.as_ref(), PORTION).await?;
        let found = all.len();
        after = all.last().cloned();
        let sure = confirm(&context, all, &mut stopped).await?;
        waiting += found - sure.len();
        waiting += begin(&context, &sure).await?;
        if found < PORTION as usize {
            if let Some(error) = stopped {
                tracing::warn!(%error, waiting, "reminders of trials wait until Stripe says how they stand");
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
    let ask = |due: Due| async move { confirm_subscription(context, stripe, due.org_id).await };
    make_sure(all, |due: &Due| due.is_well_told(due.stated_at, now), ask, stopped).await
}

/// Begins the reminders; how many wait, because Stripe has not said what became of a trial whose time is over.
async fn begin(context: &Context, all: &[Due]) -> anyhow::Result<usize> {
    if all.is_empty() {
        return Ok(0);
    }
    let (now, mut waiting) = (context.clock.now(), 0);
    let mut tx = context.store.begin().await?;
    for due in all {
        let held = subscription::find(&mut tx, due.org_id).await?;
        if held.as_ref().is_some_and(|held| !due.is_told(held.stated_at)) {
            waiting += 1;
            continue;
        }
        // What nobody wants is noted too: it is not looked at again.
        if !trial::begin(&mut tx, due, now).await? || !trial::still_holds(held.as_ref(), due, now) {
            continue;
        }
        let owners = user::owners(&mut tx, due.org_id).await?;
        let jobs: Vec<NewJob> = owners
            .iter()
            .map(|owner| {
                let Due { org_id, trial_end, step, .. } = due.clone();
                let job = RemindTrial { org_id, trial_end, step, user_id: owner.user_id };
                NewJob::new(org_id, &job, now, &context.chance).at(local_time::daytime(now, owner.time_zone))
            })
            .collect();
        queue::enqueue_many(&mut tx, &jobs).await?;
    }
    tx.commit().await?;
    Ok(waiting)
}

/// Reminds one owner, if the reminder is still right.
///
/// Safe twice: a reminder has one mail per owner.
pub async fn remind(context: Context, job: RemindTrial, _: Run) -> anyhow::Result<Outcome> {
    let RemindTrial { org_id, trial_end, step, user_id } = job;
    let now = context.clock.now();
    let held = subscription::find(&mut *context.store.pool().acquire().await?, org_id).await?;
    let Some(stated_at) = held.map(|held| held.stated_at) else {
        return Ok(Outcome::Cancel("the trial is forgotten".into()));
    };
    let due = Due { org_id, trial_end, step, stated_at };
    if let (Some(stripe), false) = (&context.stripe, due.is_well_told(stated_at, now))
        && let Err(error) = confirm_subscription(&context, stripe, org_id).await?
    {
        tracing::info!(org = %org_id, %error, "a reminder waits until Stripe says how the trial stands");
        return Ok(Outcome::Snooze(now + AGAIN));
    }
    let mut tx = context.store.begin().await?;
    let held = subscription::find(&mut tx, org_id).await?;
    let (Some(held), true) = (&held, trial::still_holds(held.as_ref(), &due, now)) else {
        return Ok(Outcome::Cancel("the trial was moved, paid for or ended, or another reminder is due".into()));
    };
    let owner = user::owners(&mut tx, org_id).await?.into_iter().find(|owner| owner.user_id == user_id);
    let (Some(owner), Some(org)) = (owner, org::find(&mut tx, org_id).await?) else {
        return Ok(Outcome::Cancel("the person is no owner any more".into()));
    };
    let day = local_time::daytime(now, owner.time_zone);
    if day > now {
        return Ok(Outcome::Snooze(day));
    }
    let (org_name, of) = (org.name.as_str(), &held.subscription);
    let letter = if now < trial_end {
        let plan = of.plan.unwrap_or(org.plan);
        let days = days_left(trial_end, now);
        TrialEnding { org_name, plan, trial_end, days, cancelled: of.cancel_at_period_end }.letter()
    } else {
        TrialEnded { org_name, plan: org.plan, trial_end }.letter()
    };
    let slot = format!("{}/{}", trial_end.to_rfc3339_opts(SecondsFormat::Secs, true), due.step);
    post(&mut tx, &NewMail::new(org_id, letter, slot, owner.email), now, &context.chance).await?;
    tx.commit().await?;
    Ok(Outcome::Done)
}

/// Days until then, rounded up.
fn days_left(then: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    (then - now + TimeDelta::days(1) - TimeDelta::seconds(1)).num_days()
}
