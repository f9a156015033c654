//! The audit of plans: whoever uses much of one is told, and whoever uses more than one includes has two weeks.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    downgrade::{self, Downgrade, GRACE, Step, Use},
    id::OrgId,
    mail::{Letter, NewMail, plan::PlanExceeded},
    notification::{Kind, News},
    org::{self, Org},
    plan::Quota,
    quota::{self, month},
    user, visit,
};
use jobs::{
    job::NewJob,
    mail::post,
    notification::notify,
    plan::{AuditPlan, AuditPlans},
    queue,
    store::Tx,
};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// How many organisations have their jobs made in one transaction.
const PORTION: i64 = 1000;

/// Makes a job for every organisation that a plan limits, or did.
///
/// Safe twice: an organisation that has two jobs is audited twice.
pub async fn audit_all(context: Context, _: AuditPlans, run: Run) -> anyhow::Result<Outcome> {
    let mut after = OrgId::SYSTEM;
    loop {
        let now = context.clock.now();
        let mut tx = context.store.begin().await?;
        let orgs = org::limited(&mut tx, after, PORTION).await?;
        let make =
            |org_id: &OrgId| NewJob::new(*org_id, &AuditPlan {}, now, &context.chance).request(run.request_id.clone());
        queue::enqueue_many(&mut tx, &orgs.iter().map(make).collect::<Vec<_>>()).await?;
        tx.commit().await?;
        match orgs.last() {
            Some(last) if orgs.len() == PORTION as usize => after = *last,
            _ => return Ok(Outcome::Done),
        }
    }
}

/// Audits one organisation.
///
/// Safe twice: a downgrade is one row, which says how far things are; a share of a quota is noted with its
/// notification, once in a month.
pub async fn audit(context: Context, _: AuditPlan, run: Run) -> anyhow::Result<Outcome> {
    let mut tx = context.store.begin().await?;
    let now = context.clock.now();
    let Some(org) = org::lock(&mut tx, run.org_id).await? else {
        return Ok(Outcome::Cancel("the organisation is gone".into()));
    };
    let uses = downgrade::uses(&mut tx, org.id, org.plan).await?;
    hold(&context, &mut tx, &org, &uses, now).await?;
    warn(&context, &mut tx, &org, &uses, now).await?;
    tx.commit().await?;
    Ok(Outcome::Done)
}

/// Takes the next step about an organisation that uses more than its plan includes, or did.
async fn hold(
    context: &Context,
    tx: &mut Tx<'_>,
    org: &Org,
    uses: &[Use],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let known = downgrade::find(tx, org.id).await?;
    let is_over = uses.iter().any(Use::is_over);
    let exceeded =
        |locks_at, is_locked| PlanExceeded { org_name: &org.name, plan: org.plan, uses, locks_at, is_locked };
    match (downgrade::step(known, org.plan, is_over, now), known) {
        (Step::Warn, _) => {
            downgrade::begin(tx, org.id, org.plan, now).await?;
            let letter = exceeded(now + GRACE, false).letter();
            tell(context, tx, org, &letter, slot(now), Kind::PlanExceeded, now).await
        }
        (Step::Lock, Some(Downgrade { locks_at, found_at, .. })) => {
            downgrade::lock(tx, org.id, now).await?;
            let letter = exceeded(locks_at, true).letter();
            tell(context, tx, org, &letter, slot(found_at), Kind::PlanLocked, now).await
        }
        (Step::End, _) => downgrade::end(tx, org.id).await,
        _ => Ok(()),
    }
}

/// Tells of the shares of quotas that use has reached.
async fn warn(
    context: &Context,
    tx: &mut Tx<'_>,
    org: &Org,
    uses: &[Use],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let scans = visit::since(tx, &[org.id], month(now)).await?.first().map_or(0, |(_, visits)| *visits);
    let scans = Use { quota: Quota::MonthlyScans, most: org.plan.includes(Quota::MonthlyScans), used: scans };
    let mut news = vec![];
    // Of what is too much already a letter tells.
    for of in uses.iter().filter(|of| !of.is_over()).chain([&scans]) {
        // Who has passed both shares at once is told of the greater.
        if quota::note_written(tx, org.id, *of, month(now), now).await?.is_some() {
            news.push(limit_near(org, of));
        }
    }
    notify(tx, &news, now, &context.chance).await
}

/// What is told of a quota of which so much is used.
fn limit_near(org: &Org, of: &Use) -> News {
    let (title, most) = (of.quota.title(), of.most.unwrap_or_default());
    let is_full = of.used >= most;
    let heading = if is_full { format!("All {title} of your plan are used") } else { format!("Your {title} run low") };
    let follows = match (of.quota, is_full) {
        (Quota::MonthlyScans, true) => "Nothing stops: every link and code leads on, and every visit is counted.",
        (Quota::MonthlyScans, false) => "Nothing stops when they are used: every link and code leads on.",
        (_, true) => {
            "What there is goes on working. New ones can be made after some are put away, or on a larger plan."
        }
        (_, false) => "Nothing changes yet. A larger plan, or putting away what is not needed, makes room.",
    };
    let text = format!("{} of {most} {title} of the plan {} are in use. {follows}", of.used, org.plan.name());
    News {
        org_id: org.id,
        kind: Kind::PlanLimitNear,
        title: heading,
        text,
        path: "/billing".into(),
        maker: None,
        told: None,
    }
}

fn slot(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Writes to those who manage the organisation, and notifies them.
async fn tell(
    context: &Context,
    tx: &mut Tx<'_>,
    org: &Org,
    letter: &Letter,
    slot: String,
    kind: Kind,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let (title, path) = (letter.subject.clone(), "/billing".to_owned());
    let news = News { org_id: org.id, kind, title, text: String::new(), path, maker: None, told: None };
    notify(tx, &[news], now, &context.chance).await?;
    let managers = user::managers(tx, org.id).await?;
    if managers.is_empty() {
        tracing::warn!(org = %org.id, kind = letter.kind, "nobody to tell: the organisation has no owner or admin");
    }
    for manager in managers {
        post(tx, &NewMail::new(org.id, letter.clone(), &slot, manager.email), now, &context.chance).await?;
    }
    Ok(())
}
