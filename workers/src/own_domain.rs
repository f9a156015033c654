//! Whether own domains are their organisations'.

use domain::own_domain::{self, State};
use jobs::own_domain::{VerifyDomain, look_again};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// What a domain's owner is told who comes second.
const TAKEN: &str = "Another workspace has proven this domain.";

/// Looks up the record that proves a domain, and says what it found; if it is not there yet, a later job looks again.
///
/// Safe twice: a look is taken when it is due, and each makes the next one due later.
pub async fn verify(context: Context, job: VerifyDomain, run: Run) -> anyhow::Result<Outcome> {
    let mut conn = context.store.pool().acquire().await?;
    let Some(domain) = own_domain::find(&mut conn, run.org_id, job.domain_id).await? else {
        return Ok(Outcome::Cancel("the domain is gone".into()));
    };
    drop(conn);
    let found = context.dns.texts(&domain.record_name()).await.map_err(|error| error.to_string());
    let (now, mut tx) = (context.clock.now(), context.store.begin().await?);
    let locked = own_domain::lock(&mut tx, run.org_id, job.domain_id).await?;
    let due = |domain: &own_domain::OwnDomain| {
        domain.state == State::Pending && domain.next_check_at.is_some_and(|at| at <= now)
    };
    let Some(mut domain) = locked.filter(due) else { return Ok(Outcome::Done) };
    domain.see(&found, now);
    if !own_domain::store(&mut tx, run.org_id, &domain).await? {
        (domain.state, domain.problem, domain.verified_at) = (State::Failed, Some(TAKEN.into()), None);
        own_domain::store(&mut tx, run.org_id, &domain).await?;
    }
    look_again(&mut tx, run.org_id, &domain, now, &context.chance).await?;
    tx.commit().await?;
    Ok(Outcome::Done)
}
