//! The database's side: events, deliveries, attempts, endpoints, and what is left of the queue.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use domain::dialect::HealthState;
use sqlx::{FromRow, PgConnection, query_as};
use uuid::Uuid;

/// A delivery as it is stored.
#[derive(Debug, Clone, FromRow)]
pub struct Delivery {
    /// Its id.
    pub id: Uuid,
    /// Its event.
    pub event_id: Uuid,
    /// Its endpoint.
    pub endpoint_id: Uuid,
    /// Where it stands.
    pub state: String,
    /// Requests recorded.
    pub attempts: i32,
    /// Where its schedule starts.
    pub scheduled_from: DateTime<Utc>,
    /// Why it stands there.
    pub reason: String,
}

/// An attempt as it is stored, and when that was committed.
#[derive(Debug, Clone, FromRow)]
pub struct Attempt {
    /// Whose.
    pub delivery_id: Uuid,
    /// Which, from 1.
    pub number: i32,
    /// Where to.
    pub endpoint_id: Uuid,
    /// When the request began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i32,
    /// What it was answered with.
    pub status: Option<i32>,
    /// What went wrong.
    pub error: String,
    /// Commits that share an endpoint come one after the other, because each holds its row.
    pub committed_at: DateTime<Utc>,
}

impl Attempt {
    /// When the request was over, to the millisecond below.
    pub fn ended_at(&self) -> DateTime<Utc> {
        self.started_at + TimeDelta::milliseconds(self.duration_ms.into())
    }
}

/// A job that is left.
#[derive(Debug, Clone, FromRow)]
pub struct Job {
    /// Its kind.
    pub kind: String,
    /// 0 waiting, 1 running, 3 dead.
    pub state: i16,
    /// Which start.
    pub attempt: i16,
    /// Which session holds it.
    pub worker: Option<i32>,
    /// When it is due.
    pub run_at: DateTime<Utc>,
    /// What it carries.
    pub payload: serde_json::Value,
    /// What went wrong last.
    pub last_error: Option<String>,
}

impl Job {
    /// All of it, in words.
    pub fn tell(&self) -> String {
        let Self { kind, state, attempt, worker, run_at, payload, last_error } = self;
        format!(
            "{kind} {payload}, state {state}, start {attempt}, held by {worker:?}, due {run_at}, error {last_error:?}"
        )
    }
}

/// All rows that a round made.
#[derive(Debug, Default)]
pub struct Books {
    /// Organisation and type by id.
    pub events: HashMap<Uuid, (Uuid, String)>,
    /// All deliveries.
    pub deliveries: Vec<Delivery>,
    /// All attempts, in order of their deliveries and numbers.
    pub attempts: Vec<Attempt>,
    /// The health of each endpoint.
    pub health: HashMap<Uuid, HealthState>,
    /// All jobs.
    pub jobs: Vec<Job>,
    /// All sessions.
    pub workers: Vec<String>,
}

impl Books {
    /// Reads them.
    pub async fn read(conn: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let events: Vec<(Uuid, Uuid, String)> =
            query_as("select id, org_id, type from events").fetch_all(&mut *conn).await?;
        let deliveries = query_as(
            "select id, event_id, endpoint_id, state, attempts, scheduled_from, reason from deliveries order by id",
        )
        .fetch_all(&mut *conn)
        .await?;
        let attempts = query_as(
            "select delivery_id, number, endpoint_id, started_at, duration_ms, status, error,
                    pg_xact_commit_timestamp(xmin) as committed_at
             from attempts order by delivery_id, number",
        )
        .fetch_all(&mut *conn)
        .await?;
        let health: Vec<Row> = query_as(
            "select id, health, failures_in_row, first_failure_at, last_success_at, health_changed_at from endpoints",
        )
        .fetch_all(&mut *conn)
        .await?;
        let jobs =
            query_as("select kind, state, attempt, worker, run_at, payload, last_error from jobs order by run_at")
                .fetch_all(&mut *conn)
                .await?;
        let workers: Vec<(String,)> =
            query_as("select name || ', lease until ' || lease_until from job_workers").fetch_all(conn).await?;
        Ok(Self {
            events: events.into_iter().map(|(id, org, event_type)| (id, (org, event_type))).collect(),
            deliveries,
            attempts,
            health: health.into_iter().map(|row| (row.0, state_of(row))).collect(),
            jobs,
            workers: workers.into_iter().map(|(name,)| name).collect(),
        })
    }

    /// How many deliveries are in which state, in words.
    pub fn states(&self) -> String {
        let mut counts = BTreeMap::new();
        for delivery in &self.deliveries {
            *counts.entry(delivery.state.as_str()).or_insert(0_usize) += 1;
        }
        counts.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
    }
}

/// An endpoint's id and its health, failures in a row, first failure, last success and last change.
type Row = (Uuid, String, i32, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

fn state_of(row: Row) -> HealthState {
    let (_, health, failures_in_row, first_failure_at, last_success_at, changed_at) = row;
    HealthState {
        health: serde_json::from_value(health.into()).expect("the column's check allows the three words only"),
        failures_in_row,
        first_failure_at,
        last_success_at,
        changed_at,
    }
}
