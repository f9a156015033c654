//! The audit of plans: whoever uses much of one is told, and whoever uses more than one includes has two weeks.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    downgrade::{self, Downgrade, GRACE, Step, Use},
    id::OrgId,
    mail::{
        Letter, NewMail,
        plan::{LimitNear, PlanExceeded},
    },
    org::{self, Org},
    plan::Quota,
    quota, user, visit,
};
use jobs::{
    job::NewJob,
    mail::post,
    plan::{AuditPlan, AuditPlans},
    queue,
    quota::month,
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
/// Safe twice: a downgrade is one row, which says how far things are; a share of a quota is noted with its mail, once in a
/// month.
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
            tell(context, tx, org, &exceeded(now + GRACE, false).letter(), slot(now), now).await
        }
        (Step::Lock, Some(Downgrade { locks_at, found_at, .. })) => {
            downgrade::lock(tx, org.id, now).await?;
            tell(context, tx, org, &exceeded(locks_at, true).letter(), slot(found_at), now).await
        }
        (Step::End, _) => downgrade::end(tx, org.id).await,
        _ => Ok(()),
    }
}

/// Tells what a month's shares of quotas have reached for the first time.
async fn warn(
    context: &Context,
    tx: &mut Tx<'_>,
    org: &Org,
    uses: &[Use],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let scans = visit::since(tx, &[org.id], month(now)).await?.first().map_or(0, |(_, visits)| *visits);
    let scans = Use { quota: Quota::MonthlyScans, most: org.plan.includes(Quota::MonthlyScans), used: scans };
    // Of what is too much already another letter tells.
    for of in uses.iter().filter(|of| !of.is_over()).chain([&scans]) {
        let Some(most) = of.most else { continue };
        let told = quota::note_mail(tx, org.id, *of, month(now), now).await?;
        // Who has passed both shares at once is told of the greater.
        let Some(percent) = told else { continue };
        let near = LimitNear { org_name: &org.name, plan: org.plan, quota: of.quota, most, used: of.used };
        let slot = format!("{}/{}/{percent}", of.quota.name(), month(now));
        tell(context, tx, org, &near.letter(), slot, now).await?;
    }
    Ok(())
}

fn slot(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Writes to those who manage the organisation.
async fn tell(
    context: &Context,
    tx: &mut Tx<'_>,
    org: &Org,
    letter: &Letter,
    slot: String,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let managers = user::managers(tx, org.id).await?;
    if managers.is_empty() {
        tracing::warn!(org = %org.id, kind = letter.kind, "nobody to tell: the organisation has no owner or admin");
    }
    for manager in managers {
        post(tx, &NewMail::new(org.id, letter.clone(), &slot, manager.email), now, &context.chance).await?;
    }
    Ok(())
}
