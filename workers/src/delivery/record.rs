//! Recording attempts: one transaction for all that ended together.
//!
//! It locks the endpoints, before anything else and in one order, because whoever deletes one locks it before its
//! deliveries. It ends or puts off the jobs, and what follows counts only for jobs that were still this process's: the
//! attempts, the deliveries, the health of their endpoints, and the mails and jobs that a change of health asks for.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use domain::{
    attempt::{self, Attempt},
    delivery::{self, Change, State},
    dialect::{Dialect, DialectName, DisableRule, Observation, Transition, health_step},
    endpoint::{self, Endpoint},
    id::{EndpointId, EventId, JobId, OrgId},
};
use jobs::{
    endpoint::CheckEndpoint,
    job::NewJob,
    queue::{self, JobKey},
    store::{Store, Tx},
};
use sqlx::PgConnection;

use crate::endpoint::{Writer, tell_failed, tell_owner};

/// What one run of a delivery's job came to.
#[derive(Debug)]
pub struct Record {
    /// The run.
    pub job: JobKey,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Its dialect.
    pub dialect: DialectName,
    /// The request, if one was made.
    pub requests: Requests,
    /// What becomes of the delivery.
    pub change: Change,
    /// The event, for mails.
    pub event_id: EventId,
    /// Its type, for mails.
    pub event_type: String,
}

/// Whether a request was made.
#[derive(Debug)]
pub enum Requests {
    /// None: the delivery is held or cancelled.
    None,
    /// One, and what it says of the endpoint and when; tests say nothing.
    One {
        /// The request.
        attempt: Attempt,
        /// For the health ladder.
        observation: Option<(Observation, DateTime<Utc>)>,
    },
}

/// Records `records` in one transaction on `conn`.
pub async fn record(
    store: &Store,
    conn: &mut PgConnection,
    records: &[Record],
    writer: Writer<'_>,
) -> Result<(), sqlx::Error> {
    let now = writer.now;
    let mut tx = store.begin_on(conn).await?;
    let ids: Vec<EndpointId> = records.iter().map(|r| r.endpoint_id).collect();
    let mut endpoints: BTreeMap<EndpointId, Endpoint> =
        endpoint::lock_many(&mut tx, &ids).await?.into_iter().map(|e| (e.id, e)).collect();
    let held = end_jobs(&mut tx, records, now).await?;
    let mine: Vec<&Record> = records.iter().filter(|r| held.contains(&r.job.id)).collect();
    if mine.len() < records.len() {
        tracing::warn!(
            lost = records.len() - mine.len(),
            "attempts not recorded: recorded before, or another process took their jobs over"
        );
    }
    let attempts: Vec<&Attempt> = mine
        .iter()
        .filter_map(|r| if let Requests::One { attempt, .. } = &r.requests { Some(attempt) } else { None })
        .collect();
    attempt::insert_many(&mut tx, &attempts).await?;
    delivery::change_many(&mut tx, &mine.iter().map(|r| &r.change).collect::<Vec<_>>(), now).await?;
    update_health(&mut tx, &mine, &mut endpoints, writer).await?;
    mail_failures(&mut tx, &mine, &endpoints, writer).await?;
    tx.commit().await
}

/// Ends the jobs of deliveries that are decided and puts off the others; returns those that were still held.
async fn end_jobs(tx: &mut Tx<'_>, records: &[Record], now: DateTime<Utc>) -> Result<HashSet<JobId>, sqlx::Error> {
    let (later, over): (Vec<_>, Vec<_>) =
        records.iter().map(|r| (r.job, r.change.next_attempt_at)).partition(|(_, next)| next.is_some());
    let mut held = HashSet::new();
    if !over.is_empty() {
        let keys: Vec<JobKey> = over.into_iter().map(|(key, _)| key).collect();
        held.extend(queue::delete_running(tx, &keys).await?);
    }
    if !later.is_empty() {
        let keys: Vec<(JobKey, DateTime<Utc>)> =
            later.into_iter().filter_map(|(key, next)| next.map(|at| (key, at))).collect();
        held.extend(queue::reschedule_running(tx, &keys, now).await?);
    }
    Ok(held)
}

/// What a request said of its endpoint, and when it ended.
type Seen<'a> = (DateTime<Utc>, Observation, &'a Attempt);

/// Lets every endpoint's health take its steps, in the order in which the requests ended. One that was deleted meanwhile
/// has none.
async fn update_health(
    tx: &mut Tx<'_>,
    records: &[&Record],
    endpoints: &mut BTreeMap<EndpointId, Endpoint>,
    writer: Writer<'_>,
) -> Result<(), sqlx::Error> {
    let mut seen: BTreeMap<EndpointId, Vec<Seen<'_>>> = BTreeMap::new();
    for record in records {
        if let Requests::One { attempt, observation: Some((observation, at)) } = &record.requests {
            seen.entry(record.endpoint_id).or_default().push((*at, *observation, attempt));
        }
    }
    let mut changed = vec![];
    for (id, endpoint) in endpoints.iter_mut() {
        let Some(observations) = seen.get_mut(id) else { continue };
        observations.sort_by_key(|(at, ..)| *at);
        let ladder = &endpoint.row().ladder;
        for (at, observation, attempt) in observations.iter() {
            let (state, transition) = health_step(ladder, &endpoint.health_state(), *observation, *at);
            endpoint.set_health(state);
            endpoint.last_delivery_at = Some(*at);
            endpoint.last_response_status = attempt.status;
            if let Some(transition) = transition {
                on_transition(tx, endpoint, &transition, writer).await?;
            }
        }
        changed.push(&*endpoint);
    }
    if changed.is_empty() {
        return Ok(());
    }
    endpoint::store_health(tx, &changed).await
}

/// Notes why an endpoint's health changed, tells its owner, and plans the look that a dialect without traffic needs.
pub async fn on_transition(
    tx: &mut Tx<'_>,
    endpoint: &mut Endpoint,
    transition: &Transition,
    writer: Writer<'_>,
) -> Result<(), sqlx::Error> {
    tracing::info!(
        webhook.endpoint_id = %endpoint.public_id(), dialect = %endpoint.dialect, ?transition, "endpoint health changed"
    );
    endpoint.health_reason = match transition {
        Transition::Degraded { .. } => Some(format!("{} failures in a row", endpoint.failures_in_row)),
        Transition::Disabled { reason } => Some(reason.to_string()),
        Transition::Recovered => None,
    };
    if let Transition::Degraded { disable_at } = transition
        && matches!(endpoint.row().ladder.disable, DisableRule::NoSuccessFor(_))
    {
        let look = CheckEndpoint { endpoint_id: endpoint.id };
        let job = NewJob::new(endpoint.org_id, &look, writer.now, writer.chance);
        queue::enqueue(tx, job.at(*disable_at)).await?;
    }
    tell_owner(tx, endpoint, transition, writer).await
}

/// Mails about deliveries that were given up, for dialects that promise them; one per endpoint and hour.
async fn mail_failures(
    tx: &mut Tx<'_>,
    records: &[&Record],
    endpoints: &BTreeMap<EndpointId, Endpoint>,
    writer: Writer<'_>,
) -> Result<(), sqlx::Error> {
    let mut told: HashSet<(OrgId, EndpointId)> = HashSet::new();
    for record in records {
        let Requests::One { attempt, observation: Some(_) } = &record.requests else { continue };
        if record.change.state != State::Failed || !Dialect::by_name(record.dialect).mail_on_failed_delivery {
            continue;
        }
        let Some(endpoint) = endpoints.get(&record.endpoint_id) else { continue };
        if told.insert((endpoint.org_id, endpoint.id)) {
            tell_failed(tx, endpoint, record, attempt, writer).await?;
        }
    }
    Ok(())
}
