//! Replays: past deliveries of an endpoint sent once more, as a durable job with progress, pause and a rate.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    delivery::{ReplayRange, State as DeliveryState},
    id::{DeliveryId, EndpointId, OrgId, ReplayId, UserId, floor_uuid},
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
    /// To which endpoint.
    pub endpoint_id: EndpointId,
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
    /// How many deliveries were in the range when it began.
    pub total: i64,
    /// How many were sent again.
    pub replayed: i64,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A replay that is about to begin.
#[derive(Debug)]
pub struct NewReplay<'a> {
    /// Its id.
    pub id: ReplayId,
    /// Whose.
    pub org_id: OrgId,
    /// To which endpoint.
    pub endpoint_id: EndpointId,
    /// Which deliveries.
    pub range: &'a ReplayRange,
    /// Deliveries per second, 1 to 10,000.
    pub per_second: i32,
    /// How many the range holds now.
    pub total: i64,
    /// Who asked.
    pub created_by: UserId,
}

/// Stores a replay, running.
pub async fn insert(conn: &mut PgConnection, new: &NewReplay<'_>, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let from = floor_uuid(new.range.from);
    // The cursor stands just before the range: the job reads what comes after it.
    let before = Uuid::from_u128(from.as_u128().saturating_sub(1));
    sqlx::query!(
        "insert into replays (id, org_id, endpoint_id, state, delivery_states, event_types, from_id, to_id, cursor_id,
                              per_second, total, created_by, created_at, updated_at)
         values ($1, $2, $3, 'running', $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)",
        new.id.0,
        new.org_id.0,
        new.endpoint_id.0,
        &new.range.states.iter().map(|s| s.name()).collect::<Vec<_>>() as &[&str],
        new.range.event_types.as_deref(),
        from,
        floor_uuid(new.range.to),
        before,
        new.per_second,
        new.total,
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
            r#"select id as "id: ReplayId", org_id as "org_id: OrgId", endpoint_id as "endpoint_id: EndpointId",
                      state as "state: State", delivery_states, event_types, cursor_id, to_id, run, per_second, total,
                      replayed, created_at, finished_at
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

/// An endpoint's replays, newest first.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    endpoint_id: EndpointId,
    before: Option<ReplayId>,
    limit: i64,
) -> Result<Vec<Replay>, sqlx::Error> {
    select!(
        "where org_id = $1 and endpoint_id = $2 and id < $3 order by id desc limit $4",
        org_id.0,
        endpoint_id.0,
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

/// Moves the cursor and the count on.
pub async fn advance(
    conn: &mut PgConnection,
    id: ReplayId,
    cursor: Uuid,
    replayed: i64,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update replays set cursor_id = $2, replayed = replayed + $3, updated_at = $4 where id = $1",
        id.0,
        cursor,
        replayed,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The next deliveries of a replay, in the order of their making.
pub async fn next_deliveries(
    conn: &mut PgConnection,
    replay: &Replay,
    limit: i64,
) -> Result<Vec<DeliveryId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "select d.id from deliveries d
         where d.org_id = $1 and d.endpoint_id = $2 and d.id > $3 and d.id < $4 and d.state = any($5) and not d.is_test
           and ($6::text[] is null or exists (select 1 from events e
                where e.id = d.event_id and e.org_id = d.org_id and e.type = any($6)))
         order by d.id limit $7",
        replay.org_id.0,
        replay.endpoint_id.0,
        replay.cursor_id,
        replay.to_id,
        &replay.delivery_states,
        replay.event_types.as_deref(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(DeliveryId).collect())
}

/// The states a replay may take: everything that is not under way.
pub const REPLAYABLE: [DeliveryState; 3] = [DeliveryState::Held, DeliveryState::Failed, DeliveryState::Delivered];
