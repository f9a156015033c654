//! Trials: their owners are reminded before they end, and told when they have.
//!
//! A reminder belongs to one end of one trial: where that is moved, or the trial is paid for, what was begun is dropped.
//! That a trial has ended is said when Stripe has said what became of it, and not because its time is over.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::{
    billing::{
        RECENT,
        subscription::{Held, Subscription},
    },
    id::OrgId,
};

/// A reminder.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in rows.
    pub name: &'static str,
    /// How long before the trial's end it is due; negative for after it.
    pub before: TimeDelta,
}

/// The reminders in their order. The last leaves Stripe an hour to say what became of the trial.
pub const STEPS: [Step; 4] = [
    Step { name: "7_days", before: TimeDelta::days(7) },
    Step { name: "3_days", before: TimeDelta::days(3) },
    Step { name: "1_day", before: TimeDelta::days(1) },
    Step { name: "end", before: TimeDelta::hours(-1) },
];

/// Nobody is told of an end that is longer ago.
const PAST: TimeDelta = TimeDelta::days(3);

/// The reminder that is right at `now`: the last one that is due.
pub fn step(trial_end: DateTime<Utc>, now: DateTime<Utc>) -> Option<&'static Step> {
    STEPS.iter().rev().find(|step| trial_end - step.before <= now).filter(|_| now < trial_end + PAST)
}

/// Whether a subscription's owners still are to be reminded so.
pub fn is_wanted(of: &Subscription, step: &Step) -> bool {
    let (Some(start), Some(end)) = (of.trial_start, of.trial_end) else { return false };
    if step.before >= TimeDelta::zero() {
        // A trial that is shorter than that began with the knowledge of its end.
        return of.status == "trialing" && start < end - step.before;
    }
    match of.status.as_str() {
        "trialing" | "paused" => true,
        // Who ended it before knows.
        "canceled" => of.ended_at.is_some_and(|ended_at| ended_at >= end),
        // Paid for, or about to be: then the invoice has reminders of its own.
        _ => false,
    }
}

/// A trial that has come to a reminder.
#[derive(Debug, Clone)]
pub struct Due {
    /// Whose.
    pub org_id: OrgId,
    /// When it ends.
    pub trial_end: DateTime<Utc>,
    /// The reminder's name.
    pub step: String,
    /// When Stripe last spoke of it.
    pub stated_at: DateTime<Utc>,
}

impl Due {
    /// Whether what Stripe said at `stated_at` is enough to decide on the reminder: an end has to be behind it.
    pub fn is_told(&self, stated_at: DateTime<Utc>) -> bool {
        let is_of_end = STEPS.iter().any(|step| step.name == self.step && step.before < TimeDelta::zero());
        !is_of_end || stated_at >= self.trial_end
    }

    /// The same, where Stripe can be asked for a newer word.
    pub fn is_well_told(&self, stated_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.is_told(stated_at) && stated_at >= now - RECENT
    }
}

/// Trials whose present reminder was not decided on, those first that end first, behind `after`.
pub async fn due(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    after: Option<&Due>,
    limit: i64,
) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as!(
        Due,
        r#"select s.org_id as "org_id: OrgId", s.trial_end as "trial_end!", t.name as "step!", s.stated_at
           from subscriptions s
           cross join lateral (select name from unnest($2::text[], $3::bigint[]) as u(name, before)
                               where s.trial_end - make_interval(secs => before) <= $1 order by before limit 1) t
           where s.trial_end > $4
             and not exists (select from trial_reminders r
                             where r.org_id = s.org_id and r.trial_end = s.trial_end and r.step = t.name)
             and ($6::timestamptz is null or (s.trial_end, s.org_id) > ($6, $7))
           order by s.trial_end, s.org_id limit $5"#,
        now,
        &STEPS.map(|step| step.name.to_owned()),
        &STEPS.map(|step| step.before.num_seconds()),
        now - PAST,
        limit,
        after.map(|due| due.trial_end),
        after.map(|due| due.org_id.0),
    )
    .fetch_all(conn)
    .await
}

/// Decides on a reminder; `false` when that was done before.
pub async fn begin(conn: &mut PgConnection, due: &Due, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into trial_reminders (org_id, trial_end, step, created_at) values ($1, $2, $3, $4) on conflict do nothing",
        due.org_id.0,
        due.trial_end,
        due.step,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether a reminder that was begun is still the right one for what is known of the subscription.
pub fn still_holds(held: Option<&Held>, due: &Due, now: DateTime<Utc>) -> bool {
    let Some(Held { subscription, stated_at }) = held else { return false };
    let right = step(due.trial_end, now).filter(|step| step.name == due.step && due.is_told(*stated_at));
    subscription.trial_end == Some(due.trial_end) && right.is_some_and(|step| is_wanted(subscription, step))
}
