//! One attempt of a delivery: load, sign, send, record.
//!
//! Loading and recording are shared by all attempts that run at the same time, so that a delivery costs a fraction of a
//! round trip to Postgres. The customer's schedule is rows of ours: an attempt that fails puts its job off to the next
//! slot in the transaction that records it.

mod gate;
mod reason;
pub(crate) mod record;
mod recorder;

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use domain::{
    attempt::Attempt,
    chance::Chance,
    clock::Clock,
    delivery::{
        Change, State,
        plan::{Plan, load_many},
    },
    dialect::{Dialect, Health, Observation, body, next_attempt, sign},
    endpoint::secret_context,
    http_url::{HttpUrl, Rules},
    id::{DeliveryId, OrgId},
};
use jobs::{
    batch::{BatchError, Batcher},
    delivery::AttemptDelivery,
    line::Line,
    store::Store,
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use tokio::sync::Mutex;

use crate::{
    context::{Context, Settings},
    http::{Answer, Request},
    registry::{Outcome, Run},
};
use gate::Gates;
use record::{Record, Requests};
use recorder::Recorder;

/// The most attempts that are loaded or recorded together.
const BATCH: usize = 256;
/// How long they wait for more under load: it costs each delivery less than it saves all of them.
const LINGER: Duration = Duration::from_millis(1);

/// What all attempts of a process share: the loader, the recorder and the gates of the endpoints.
#[derive(Debug, Clone)]
pub struct Deliveries {
    loader: Batcher<(OrgId, DeliveryId), Option<Arc<Plan>>>,
    recorder: Batcher<Record, Result<(), BatchError>>,
    gates: Gates,
}

impl Deliveries {
    /// Starts the loader and the recorder over `store`, with connections of `pinned`: their plans must stay on the
    /// indexes, whatever the size of the day's partition was when they were made.
    pub fn start(store: Store, pinned: PgPool, clock: Clock, chance: Chance, settings: &Settings) -> Self {
        // Batches come one at a time, so nobody waits for the lock.
        let loading = Arc::new(Mutex::new(Line::new(pinned.clone())));
        let loader = Batcher::start(BATCH, LINGER, move |ids: Vec<(OrgId, DeliveryId)>| {
            let loading = loading.clone();
            async move {
                let loaded = loading.lock().await.ask(async |conn| load_many(conn, &ids).await).await?;
                let plans: HashMap<DeliveryId, Arc<Plan>> =
                    loaded.into_iter().map(|plan| (plan.id, Arc::new(plan))).collect();
                Ok::<_, sqlx::Error>(ids.iter().map(|(_, id)| plans.get(id).cloned()).collect())
            }
        });
        let line = Arc::new(Mutex::new(Line::new(pinned)));
        let (public_url, held_days) = (settings.public_url.as_str().into(), settings.retention_days);
        let recorder = Recorder { store, line, clock, chance, public_url, held_days };
        let recorder = Batcher::start(BATCH, LINGER, move |records: Vec<Record>| {
            let recorder = recorder.clone();
            async move { Ok::<_, std::convert::Infallible>(recorder.record(records).await) }
        });
        Self { loader, recorder, gates: Gates::new(settings.endpoint_concurrency) }
    }
}

/// Makes one attempt of a delivery.
///
/// Safe twice: the attempt, the delivery's change and the end of the job commit together and name this run, so a second
/// run of the same job either finds nothing to do or repeats a request whose outcome nobody recorded.
pub async fn attempt(context: Context, job: AttemptDelivery, run: Run) -> anyhow::Result<Outcome> {
    let Some(plan) = context.deliveries.loader.call((run.org_id, job.delivery_id)).await? else {
        return Ok(Outcome::Cancel("the delivery is gone: retention dropped its day".into()));
    };
    if plan.state != State::Pending {
        return Ok(Outcome::Cancel(format!("the delivery is {}", plan.state.name())));
    }
    let now = context.clock.now();
    if let Some(due) = plan.next_attempt_at
        && due > now
    {
        return Ok(Outcome::Snooze(due));
    }
    if let Some(record) = no_request(&plan, &run) {
        context.deliveries.recorder.call(record).await??;
        return Ok(Outcome::Recorded);
    }
    let (degraded, again) = (plan.health == Health::Degraded, Some(run.key.run_at) > plan.next_attempt_at);
    let place = match context.deliveries.gates.enter(plan.endpoint_id, degraded, again, now).await {
        Ok(place) => place,
        Err(later) => return Ok(Outcome::Snooze(later)),
    };
    let dialect = Dialect::by_name(plan.dialect);
    let started_at = context.clock.now();
    let answer = send(&context, dialect, &plan, started_at).await?;
    place.took(answer.duration);
    drop(place);
    tracing::debug!(
        webhook.delivery_id = %plan.id, webhook.endpoint_id = %plan.endpoint_id, dialect = %plan.dialect,
        status = answer.status, error = answer.error, took_ms = answer.duration.as_millis() as u64,
        request_id = run.request_id, "attempt"
    );
    let record = outcome(dialect, &plan, &run, started_at, answer);
    context.deliveries.recorder.call(record).await??;
    Ok(Outcome::Recorded)
}

/// What is recorded where no request is to be made at all.
fn no_request(plan: &Plan, run: &Run) -> Option<Record> {
    let (state, reason) = if plan.deleted {
        (State::Cancelled, "Cancelled: the endpoint was deleted.".to_owned())
    } else if !plan.is_test && (!plan.enabled || plan.health == Health::Disabled) {
        (State::Held, domain::delivery::REASON_HELD.to_owned())
    } else {
        return None;
    };
    let change = Change { id: plan.id, org_id: plan.org_id, state, made: 0, next_attempt_at: None, reason };
    Some(Record {
        job: run.key,
        endpoint_id: plan.endpoint_id,
        dialect: plan.dialect,
        requests: Requests::None,
        change,
        event_id: plan.event.id,
        event_type: plan.event.event_type.clone(),
    })
}

async fn send(
    context: &Context,
    dialect: &'static Dialect,
    plan: &Plan,
    at: chrono::DateTime<chrono::Utc>,
) -> anyhow::Result<Answer> {
    let facts = plan.facts();
    let body = body(dialect, &facts);
    let secret_of = |sealed: &[u8]| -> anyhow::Result<SecretString> {
        Ok(context.sealing.open_text(sealed, &secret_context(plan.endpoint_id))?)
    };
    let mut secrets = vec![secret_of(&plan.secret)?];
    if let Some(previous) = &plan.previous_secret
        && plan.previous_secret_until.is_some_and(|until| until > at)
    {
        secrets.push(secret_of(previous)?);
    }
    let secrets: Vec<&str> = secrets.iter().map(|secret| secret.expose_secret()).collect();
    let endpoint_id = dialect.endpoint_id(plan.endpoint_id);
    let headers = sign(dialect, &secrets, &endpoint_id, &facts, plan.attempts + 1, at, &body)?;
    // Parsed again and not trusted: the rules may have been tightened since the endpoint was registered.
    let rules = Rules {
        allow_http: context.settings.allow_http_targets || !dialect.limits.https_only,
        max_chars: dialect.limits.max_url,
    };
    let url = HttpUrl::parse(&plan.url, rules);
    Ok(match url {
        Ok(url) => {
            context
                .http
                .post(Request { url: &url, headers: &headers, body: body.into_bytes(), timeout: dialect.timeout }, at)
                .await
        }
        Err(error) => Answer::refused(format!("url {error}")),
    })
}

fn outcome(
    dialect: &'static Dialect,
    plan: &Plan,
    run: &Run,
    started_at: chrono::DateTime<chrono::Utc>,
    answer: Answer,
) -> Record {
    let ended_at = started_at + TimeDelta::from_std(answer.duration).unwrap_or_default();
    let attempt = Attempt {
        delivery_id: plan.id,
        number: plan.attempts + 1,
        org_id: plan.org_id,
        endpoint_id: plan.endpoint_id,
        started_at,
        duration_ms: i32::try_from(answer.duration.as_millis()).unwrap_or(i32::MAX),
        status: answer.status.map(i32::from),
        response_body: answer.body,
        error: answer.error,
        remote_addr: answer.remote_addr,
    };
    let retry_after = answer.retry_after.filter(|_| matches!(answer.status, Some(429 | 503)));
    let by_schedule = |retry_after| {
        let over = attempt.succeeded() || plan.is_test;
        (!over).then(|| next_attempt(dialect, plan.scheduled_from, plan.tries + 1, ended_at, retry_after)).flatten()
    };
    let next = by_schedule(retry_after);
    let put_off = next > by_schedule(None);
    let state = match (attempt.succeeded(), next) {
        (true, _) => State::Delivered,
        (false, Some(_)) => State::Pending,
        (false, None) => State::Failed,
    };
    let observation = match attempt.status {
        _ if attempt.succeeded() => Observation::Success,
        Some(410) => Observation::Gone,
        _ => Observation::Failure,
    };
    let reason = reason::after_attempt(dialect, plan, &attempt, next, put_off);
    metrics::counter!("inkfleet_attempts_total", "dialect" => dialect.name.as_str(), "outcome" => state.name())
        .increment(1);
    metrics::histogram!("inkfleet_attempt_seconds", "dialect" => dialect.name.as_str())
        .record(answer.duration.as_secs_f64());
    if plan.attempts == 0 {
        metrics::histogram!("inkfleet_delivery_wait_seconds", "dialect" => dialect.name.as_str())
            .record((started_at - plan.scheduled_from).as_seconds_f64().max(0.0));
    }
    let change = Change { id: plan.id, org_id: plan.org_id, state, made: 1, next_attempt_at: next, reason };
    let requests = Requests::One { attempt, observation: (!plan.is_test).then_some((observation, ended_at)) };
    Record {
        job: run.key,
        endpoint_id: plan.endpoint_id,
        dialect: plan.dialect,
        requests,
        change,
        event_id: plan.event.id,
        event_type: plan.event.event_type.clone(),
    }
}
