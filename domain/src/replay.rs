//! Replays: past deliveries of one or more endpoints sent once more, as a durable job with progress, pause and a rate.
//!
//! A replay takes deliveries as they stood when it began: one that has finished since, because somebody else sent it
//! again, is left alone. Its cursor goes forward only, so each delivery is taken once at most. [`look`] is the one way
//! to find what it takes; the count reads ahead of the cursor by the same look, and the cursor never overtakes it.

mod look;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub use look::{Look, count, look};

use crate::{
    delivery::State as DeliveryState,
    id::{EndpointId, OrgId, ReplayId, UserId, floor_uuid},
};

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    /// Its job sends.
    Running,
    /// Waits until it is resumed.
    Paused,
    /// Stopped for good.
    Cancelled,
    /// Everything in its range was sent.
    Done,
}

impl State {
    /// The name in rows and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }
}

/// A replay.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Whose.
    pub org_id: OrgId,
    /// To which endpoints.
    pub endpoint_ids: Vec<EndpointId>,
    /// Where it stands.
    pub state: State,
    /// Deliveries in these states are taken.
    pub delivery_states: Vec<String>,
    /// Of these types, or of any.
    pub event_types: Option<Vec<String>>,
    /// The last delivery that was looked at.
    pub cursor_id: Uuid,
    /// The end of the range, not included.
    pub to_id: Uuid,
    /// Grows with every resume: a job of an earlier run ends itself.
    pub run: i32,
    /// Deliveries per second.
    pub per_second: i32,
    /// How far `total` is counted; `None` when it is whole.
    pub counted_id: Option<Uuid>,
    /// How many deliveries the range holds, as far as it is counted.
    pub total: i64,
    /// How many were sent again.
    pub replayed: i64,
    /// No job of it that waits in the queue is due before.
    pub waiting_from: Option<DateTime<Utc>>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Replay {
    /// How many deliveries it takes, once they are counted.
    pub fn total(&self) -> Option<i64> {
        self.counted_id.is_none().then_some(self.total)
    }
}

/// Which past deliveries a replay takes. Tests are never among them: their data is made up.
#[derive(Debug, Clone)]
pub struct Range {
    /// To one of these endpoints.
    pub endpoint_ids: Vec<EndpointId>,
    /// In one of these states.
    pub states: Vec<DeliveryState>,
    /// Of one of these types, or of any.
    pub event_types: Option<Vec<String>>,
    /// Made at or after.
    pub from: DateTime<Utc>,
    /// Made before.
    pub to: DateTime<Utc>,
}

/// A replay that is about to begin.
#[derive(Debug)]
pub struct NewReplay<'a> {
    /// Its id.
    pub id: ReplayId,
    /// Whose.
    pub org_id: OrgId,
    /// Which deliveries.
    pub range: &'a Range,
    /// Deliveries per second, 1 to 10,000.
    pub per_second: i32,
    /// Who asked.
    pub created_by: UserId,
}

/// Stores a replay, running and not counted yet.
pub async fn insert(conn: &mut PgConnection, new: &NewReplay<'_>, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let (range, from) = (new.range, floor_uuid(new.range.from));
    // The cursor stands just before the range: the job reads what comes after it.
    let before = Uuid::from_u128(from.as_u128().saturating_sub(1));
    let ids: Vec<Uuid> = range.endpoint_ids.iter().map(|id| id.0).collect();
    let (one, several) = if let [one] = ids[..] { (Some(one), None) } else { (None, Some(&ids[..])) };
    sqlx::query!(
        "insert into replays (id, org_id, endpoint_id, endpoint_ids, state, delivery_states, event_types, from_id, to_id,
                              cursor_id, counted_id, per_second, total, created_by, created_at, updated_at)
         values ($1, $2, $3, $4, 'running', $5, $6, $7, $8, $9, $9, $10, 0, $11, $12, $12)",
        new.id.0,
        new.org_id.0,
        one,
        several,
        &range.states.iter().map(|s| s.name()).collect::<Vec<_>>() as &[&str],
        range.event_types.as_deref(),
        from,
        floor_uuid(range.to),
        before,
        new.per_second,
        new.created_by.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Replay,
            r#"select id as "id: ReplayId", org_id as "org_id: OrgId",
                      coalesce(endpoint_ids, array[endpoint_id]) as "endpoint_ids!: Vec<EndpointId>",
                      state as "state: State", delivery_states, event_types, cursor_id, to_id, run, per_second,
                      counted_id, total, replayed, waiting_from, created_at, finished_at
               from replays "# + $tail,
            $($arg),*
        )
    };
}

/// One replay of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: ReplayId) -> Result<Option<Replay>, sqlx::Error> {
    select!("where org_id = $1 and id = $2", org_id.0, id.0).fetch_optional(conn).await
}

/// The same, locked: its job and its owner's wishes do not overtake each other.
pub async fn lock(conn: &mut PgConnection, org_id: OrgId, id: ReplayId) -> Result<Option<Replay>, sqlx::Error> {
    select!("where org_id = $1 and id = $2 for update", org_id.0, id.0).fetch_optional(conn).await
}

/// An organisation's replays, or those that take an endpoint's deliveries, newest first.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    endpoint_id: Option<EndpointId>,
    before: Option<ReplayId>,
    limit: i64,
) -> Result<Vec<Replay>, sqlx::Error> {
    select!(
        "where org_id = $1 and ($2::uuid is null or endpoint_id = $2 or $2 = any(endpoint_ids)) and id < $3
         order by id desc limit $4",
        org_id.0,
        endpoint_id.map(|id| id.0),
        before.map_or(Uuid::max(), |id| id.0),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Sets where a replay stands; returns its run, a new one when it runs again.
pub async fn set_state(
    conn: &mut PgConnection,
    id: ReplayId,
    state: State,
    now: DateTime<Utc>,
) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        "update replays set state = $2, updated_at = $3::timestamptz, run = run + case when $2 = 'running' then 1 else 0 end,
                finished_at = case when $2 in ('done', 'cancelled') then $3::timestamptz end
         where id = $1 returning run",
        id.0,
        state.name(),
        now,
    )
    .fetch_one(conn)
    .await
}

/// Sets how fast a replay goes on.
pub async fn set_rate(
    conn: &mut PgConnection,
    id: ReplayId,
    per_second: i32,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!("update replays set per_second = $2, updated_at = $3 where id = $1", id.0, per_second, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves a replay on by `sent` deliveries to `cursor`; its jobs wait from `waiting_from` on.
pub async fn advance(
    conn: &mut PgConnection,
    id: ReplayId,
    cursor: Uuid,
    sent: i64,
    waiting_from: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    // What an endpoint that went off and on again meanwhile left held is taken as well, though nobody counted it.
    sqlx::query!(
        "update replays set cursor_id = $2, replayed = replayed + $3, total = greatest(total, replayed + $3),
                waiting_from = $4, updated_at = $5
         where id = $1",
        id.0,
        cursor,
        sent,
        waiting_from,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes replays that ended before `before`.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    // The id tells when it began, which was earlier, and has an index.
    let done = sqlx::query!("delete from replays where id < $1 and finished_at < $2", floor_uuid(before), before)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// The states a replay may take: everything that is not under way.
pub const REPLAYABLE: [DeliveryState; 3] = [DeliveryState::Held, DeliveryState::Failed, DeliveryState::Delivered];
