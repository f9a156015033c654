//! Deliveries: one event on its way to one endpoint, and what became of it.
//!
//! A delivery is pending (an attempt is scheduled), delivered, failed (given up), held (its endpoint was disabled when it
//! came due) or cancelled (its endpoint is gone). `reason` says which rule decided, in a sentence.

pub mod plan;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::id::{DeliveryId, EndpointId, EventId, OrgId};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// An attempt is scheduled or under way.
    Pending,
    /// The endpoint answered 2xx.
    Delivered,
    /// Every attempt of the schedule failed.
    Failed,
    /// Came due while its endpoint was disabled; can be replayed.
    Held,
    /// Its endpoint was deleted.
    Cancelled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Delivered, Self::Failed, Self::Held, Self::Cancelled];

    /// The name in rows and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id; the day of its partition is in it.
    pub id: DeliveryId,
    /// Whose it is.
    pub org_id: OrgId,
    /// What it carries.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// Where it stands.
    pub state: State,
    /// Sent by hand to try an endpoint; made once, never retried.
    pub is_test: bool,
    /// Requests made in all.
    pub attempts: i32,
    /// Requests made since `scheduled_from`.
    pub tries: i32,
    /// Where the dialect's schedule starts: the creation, or the last replay.
    pub scheduled_from: DateTime<Utc>,
    /// When the next attempt is due, while pending.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The rule that decided the present state.
    pub reason: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it reached a final state.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A delivery that is about to be stored: pending and due at once, or held.
#[derive(Debug, Clone, Copy)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Whose it is.
    pub org_id: OrgId,
    /// What it carries.
    pub event_id: EventId,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// Whether its endpoint takes deliveries now; otherwise it is held.
    pub live: bool,
    /// Sent by hand to try the endpoint.
    pub is_test: bool,
}

/// Why a delivery that has just been made stands as it does.
const REASON_NEW: &str = "Due at once: the first attempt follows the event.";
/// Why a delivery is held.
pub const REASON_HELD: &str =
    "Held: the endpoint was disabled when the delivery came due. Replay it once the endpoint is enabled again.";

/// Stores deliveries.
pub async fn insert_many(
    conn: &mut PgConnection,
    deliveries: &[NewDelivery],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if deliveries.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into deliveries (id, org_id, event_id, endpoint_id, state, is_test, scheduled_from, next_attempt_at, reason, created_at)
         select id, org_id, event_id, endpoint_id, case when live then 'pending' else 'held' end, is_test, $7,
                case when live then $7::timestamptz end, case when live then $8 else $9 end, $7
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[], $6::bool[])
              as f(id, org_id, event_id, endpoint_id, live, is_test)",
        &deliveries.iter().map(|d| d.id.0).collect::<Vec<_>>(),
        &deliveries.iter().map(|d| d.org_id.0).collect::<Vec<_>>(),
        &deliveries.iter().map(|d| d.event_id.0).collect::<Vec<_>>(),
        &deliveries.iter().map(|d| d.endpoint_id.0).collect::<Vec<_>>(),
        &deliveries.iter().map(|d| d.live).collect::<Vec<_>>(),
        &deliveries.iter().map(|d| d.is_test).collect::<Vec<_>>(),
        now,
        REASON_NEW,
        REASON_HELD,
    )
    .execute(conn)
    .await?;
    Ok(())
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Delivery,
            r#"select d.id as "id: DeliveryId", d.org_id as "org_id: OrgId", d.event_id as "event_id: EventId",
                      e.type as event_type, d.endpoint_id as "endpoint_id: EndpointId", d.state as "state: State",
                      d.is_test, d.attempts, d.tries, d.scheduled_from, d.next_attempt_at, d.reason, d.created_at,
                      d.finished_at
               from deliveries d join events e on e.id = d.event_id and e.org_id = d.org_id "# + $tail,
            $($arg),*
        )
    };
}

/// One delivery of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: DeliveryId) -> Result<Option<Delivery>, sqlx::Error> {
    select!("where d.org_id = $1 and d.id = $2", org_id.0, id.0).fetch_optional(conn).await
}

/// Which deliveries of an endpoint are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this state.
    pub state: Option<State>,
    /// Only this event type.
    pub event_type: Option<String>,
    /// Only from before this delivery (the cursor; newest come first).
    pub before: Option<DeliveryId>,
}

/// An endpoint's deliveries, newest first.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    endpoint_id: EndpointId,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Delivery>, sqlx::Error> {
    select!(
        "where d.org_id = $1 and d.endpoint_id = $2 and d.id < $3 and ($4::text is null or d.state = $4)
           and ($5::text is null or e.type = $5)
         order by d.id desc limit $6",
        org_id.0,
        endpoint_id.0,
        filter.before.map_or(Uuid::max(), |id| id.0),
        filter.state.map(State::name),
        filter.event_type.as_deref(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// How one delivery changes when an attempt, or the decision not to make one, is recorded.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which delivery.
    pub id: DeliveryId,
    /// Whose.
    pub org_id: OrgId,
    /// Where it stands now.
    pub state: State,
    /// How many requests were made: 0 or 1.
    pub made: i32,
    /// When the next attempt is due, if pending.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Which rule decided.
    pub reason: String,
}

/// Records changes of pending deliveries; one that is no longer pending (cancelled meanwhile) keeps its state.
pub async fn change_many(conn: &mut PgConnection, changes: &[&Change], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update deliveries d set
           state = case when d.state = 'pending' then f.state else d.state end,
           attempts = d.attempts + f.made, tries = d.tries + f.made,
           next_attempt_at = case when d.state = 'pending' then f.next_attempt_at end,
           reason = case when d.state = 'pending' then f.reason else d.reason end,
           finished_at = case when d.state <> 'pending' then d.finished_at
                              when f.state not in ('pending', 'held') then $7 end
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::timestamptz[], $6::text[])
              as f(id, org_id, state, made, next_attempt_at, reason)
         where d.id = f.id and d.org_id = f.org_id",
        &changes.iter().map(|c| c.id.0).collect::<Vec<_>>(),
        &changes.iter().map(|c| c.org_id.0).collect::<Vec<_>>(),
        &changes.iter().map(|c| c.state.name()).collect::<Vec<_>>() as &[&str],
        &changes.iter().map(|c| c.made).collect::<Vec<_>>(),
        &changes.iter().map(|c| c.next_attempt_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &changes.iter().map(|c| c.reason.as_str()).collect::<Vec<_>>() as &[&str],
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes finished or held deliveries pending again, their schedule starting anew at `now`. Returns those that changed; one
/// that is pending already is left as it is. A test stays a test: it is made once more.
pub async fn reopen(
    conn: &mut PgConnection,
    org_id: OrgId,
    ids: &[DeliveryId],
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Vec<DeliveryId>, sqlx::Error> {
    let mut ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    // In one order, so that two who reopen the same ones do not wait for each other.
    ids.sort_unstable();
    let (Some(first), Some(last)) = (ids.first().copied(), ids.last().copied()) else { return Ok(vec![]) };
    // The bounds tell the plan which days' partitions to look into.
    let ids = sqlx::query_scalar!(
        "update deliveries d set state = 'pending', tries = 0, scheduled_from = $3, next_attempt_at = $3, reason = $4,
                finished_at = null
         from unnest($2::uuid[]) as f(id)
         where d.id = f.id and d.org_id = $1 and d.id between $5 and $6 and d.state <> 'pending' returning d.id",
        org_id.0,
        &ids,
        now,
        reason,
        first,
        last,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(DeliveryId).collect())
}

/// Cancels what is still under way to an endpoint that is deleted; returns how many deliveries that were.
pub async fn cancel_for_endpoint(
    conn: &mut PgConnection,
    org_id: OrgId,
    endpoint_id: EndpointId,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update deliveries set state = 'cancelled', next_attempt_at = null, finished_at = $3,
                reason = 'Cancelled: the endpoint was deleted.'
         where org_id = $1 and endpoint_id = $2 and state in ('pending', 'held')",
        org_id.0,
        endpoint_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
