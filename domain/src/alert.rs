//! Alerts: an owner wants to know when a link or a QR code is visited unusually often, not at all, or so often in all.
//!
//! What is known of visits are their sums; an alert that holds is told once, and again only after it did not hold.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    code::Target,
    id::{AlertId, OrgId, UserId},
    visit,
};

/// The most alerts of one link or QR code.
pub const ALERTS_MAX: i64 = 20;
/// How often the usual makes a spike, where nobody says.
pub const FACTOR: i32 = 3;
/// The most that can be said.
pub const FACTOR_MAX: i32 = 1000;
/// Fewer visits in an hour are no spike, where nobody says.
pub const SPIKE_VISITS: i64 = 20;
/// How long a silence is told, in hours, where nobody says.
pub const HOURS: i32 = 24;
/// The longest silence, in hours.
pub const HOURS_MAX: i32 = 8760;
/// Over how many hours the usual is taken.
const USUAL_HOURS: i64 = 168;
/// How long after its end an hour's visits are all counted.
const COUNTED: TimeDelta = TimeDelta::minutes(2);

/// What an alert watches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// In the last whole hour at least so many visits, and so many times the usual: the mean of the week before.
    Spike {
        /// Visits in an hour.
        visits: i64,
        /// Times the usual.
        factor: i32,
    },
    /// No visit for so many hours; those before the alert was made or changed do not count.
    Silence {
        /// Hours.
        hours: i32,
    },
    /// So many visits in all.
    Threshold {
        /// Visits.
        visits: i64,
    },
}

impl Watch {
    /// The word in rows.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Spike { .. } => "spike",
            Self::Silence { .. } => "silence",
            Self::Threshold { .. } => "threshold",
        }
    }

    fn numbers(self) -> (Option<i64>, Option<i32>, Option<i32>) {
        match self {
            Self::Spike { visits, factor } => (Some(visits), Some(factor), None),
            Self::Silence { hours } => (None, None, Some(hours)),
            Self::Threshold { visits } => (Some(visits), None, None),
        }
    }

    fn of_row(kind: &str, visits: Option<i64>, factor: Option<i32>, hours: Option<i32>) -> Self {
        match kind {
            "spike" => Self::Spike { visits: visits.unwrap_or(SPIKE_VISITS), factor: factor.unwrap_or(FACTOR) },
            "silence" => Self::Silence { hours: hours.unwrap_or(HOURS) },
            _ => Self::Threshold { visits: visits.unwrap_or(i64::MAX) },
        }
    }
}

/// An alert.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Whose it is.
    pub org_id: OrgId,
    /// The link or QR code that it is about.
    pub target: Target,
    /// What it watches for.
    pub watch: Watch,
    /// The owner's switch.
    pub active: bool,
    /// Since when it holds.
    pub raised_at: Option<DateTime<Utc>>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What is known of the visits of an alert's target.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// All visits.
    pub total: i64,
    /// The last one.
    pub last_at: Option<DateTime<Utc>>,
    /// Visits in the last whole hour.
    pub hour: i64,
    /// Visits in the week before that hour.
    pub week: i64,
}

/// Whether what is watched for is so.
pub fn holds(watch: Watch, since: DateTime<Utc>, figures: Figures, now: DateTime<Utc>) -> bool {
    match watch {
        // Against the usual's product, so that nothing is divided.
        Watch::Spike { visits, factor } => {
            figures.hour >= visits
                && i128::from(figures.hour) * i128::from(USUAL_HOURS) >= i128::from(figures.week) * i128::from(factor)
        }
        Watch::Silence { hours } => {
            let from = figures.last_at.map_or(since, |last| last.max(since));
            from + TimeDelta::hours(hours.into()) <= now
        }
        Watch::Threshold { visits } => figures.total >= visits,
    }
}

/// The beginning of the last whole hour whose visits are all counted at `now`.
pub fn last_hour(now: DateTime<Utc>) -> DateTime<Utc> {
    let end = (now - COUNTED).duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    end - TimeDelta::hours(1)
}

struct Row {
    id: AlertId,
    org_id: OrgId,
    target_id: Uuid,
    target_kind: i16,
    kind: String,
    visits: Option<i64>,
    factor: Option<i32>,
    hours: Option<i32>,
    active: bool,
    raised_at: Option<DateTime<Utc>>,
    created_by: Option<UserId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Alert {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            org_id: row.org_id,
            target: Target::of_row(row.target_kind, row.target_id),
            watch: Watch::of_row(&row.kind, row.visits, row.factor, row.hours),
            active: row.active,
            raised_at: row.raised_at,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select a.id as "id: AlertId", a.org_id as "org_id: OrgId", a.target_id, c.kind as target_kind, a.kind, a.visits,
                      a.factor, a.hours, a.active, a.raised_at, a.created_by as "created_by: UserId", a.created_at,
                      a.updated_at
               from alerts a join codes c on c.target_id = a.target_id "# + $tail,
            $($arg),*
        )
    };
}

/// One alert of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: AlertId) -> Result<Option<Alert>, sqlx::Error> {
    let row = select!("where a.org_id = $1 and a.id = $2", org_id.0, id.0).fetch_optional(conn).await?;
    Ok(row.map(Into::into))
}

/// The same, held against other changes until the transaction ends.
pub async fn lock(conn: &mut PgConnection, org_id: OrgId, id: AlertId) -> Result<Option<Alert>, sqlx::Error> {
    let row = select!("where a.org_id = $1 and a.id = $2 for no key update of a", org_id.0, id.0);
    Ok(row.fetch_optional(conn).await?.map(Into::into))
}

/// An organisation's alerts, newest first, from before `before`; of one target if given.
pub async fn list(
    conn: &mut PgConnection,
    org_id: OrgId,
    target: Option<Target>,
    before: Option<AlertId>,
    limit: i64,
) -> Result<Vec<Alert>, sqlx::Error> {
    let rows = select!(
        "where a.org_id = $1 and ($2::uuid is null or a.target_id = $2) and a.id < $3 order by a.id desc limit $4",
        org_id.0,
        target.map(|target| target.row().1),
        before.map_or(Uuid::max(), |id| id.0),
        limit,
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(Into::into).collect())
}

/// Whether an organisation has this link or dynamic QR code; held against its removal, and against others who ask the same,
/// until the transaction ends.
pub async fn lock_target(conn: &mut PgConnection, org_id: OrgId, target: Target) -> Result<bool, sqlx::Error> {
    let (kind, id) = target.row();
    let found = sqlx::query!(
        "select from codes where org_id = $1 and target_id = $2 and kind = $3 for no key update",
        org_id.0,
        id,
        kind,
    );
    Ok(found.fetch_optional(conn).await?.is_some())
}

/// How many alerts a link or QR code has; to be counted behind [`lock_target`].
pub async fn count(conn: &mut PgConnection, org_id: OrgId, target: Target) -> Result<i64, sqlx::Error> {
    let (_, id) = target.row();
    sqlx::query_scalar!(r#"select count(*) as "count!" from alerts where org_id = $1 and target_id = $2"#, org_id.0, id)
        .fetch_one(conn)
        .await
}

/// Stores a new alert.
pub async fn insert(conn: &mut PgConnection, alert: &Alert) -> Result<(), sqlx::Error> {
    let (visits, factor, hours) = alert.watch.numbers();
    sqlx::query!(
        "insert into alerts (id, org_id, target_id, kind, visits, factor, hours, active, checked_at, created_by, created_at,
                             updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9, $9)",
        alert.id.0,
        alert.org_id.0,
        alert.target.row().1,
        alert.watch.kind(),
        visits,
        factor,
        hours,
        alert.active,
        alert.created_at,
        alert.created_by.map(|id| id.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores what can change in an alert, which came from [`lock`]; it is watched for anew.
pub async fn update(conn: &mut PgConnection, alert: &Alert) -> Result<(), sqlx::Error> {
    let (visits, factor, hours) = alert.watch.numbers();
    sqlx::query!(
        "update alerts set visits = $3, factor = $4, hours = $5, active = $6, raised_at = $7, updated_at = $8
         where org_id = $1 and id = $2",
        alert.org_id.0,
        alert.id.0,
        visits,
        factor,
        hours,
        alert.active,
        alert.raised_at,
        alert.updated_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes an alert; `false` when there is none.
pub async fn delete(conn: &mut PgConnection, org_id: OrgId, id: AlertId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("delete from alerts where org_id = $1 and id = $2", org_id.0, id.0).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}

/// Removes alerts whose target is gone.
pub async fn forget(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from alerts a where not exists (select from codes c where c.target_id = a.target_id)")
        .execute(conn)
        .await?;
    Ok(())
}

/// Alerts of any organisation that were not looked at since `before`, held until the transaction ends; what somebody else
/// holds is left out. They are noted as looked at.
pub async fn lock_due(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Alert>, sqlx::Error> {
    let rows = select!(
        "where a.active and a.checked_at <= $1 order by a.checked_at limit $2 for no key update of a skip locked",
        before,
        limit,
    );
    let rows = rows.fetch_all(&mut *conn).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id.0).collect();
    sqlx::query!("update alerts set checked_at = $2 where id = any($1)", &ids, now).execute(conn).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// What is known of the visits of alerts' targets, in the order of `alerts`.
pub async fn figures(
    conn: &mut PgConnection,
    alerts: &[Alert],
    now: DateTime<Utc>,
) -> Result<Vec<Figures>, sqlx::Error> {
    let hour = last_hour(now);
    let week = hour - TimeDelta::hours(USUAL_HOURS);
    let targets: Vec<(OrgId, Uuid)> = alerts.iter().map(|alert| (alert.org_id, alert.target.row().1)).collect();
    let hours = visit::hours(&mut *conn, &targets, week.date_naive()).await?;
    let totals = sqlx::query!(
        r#"select coalesce(t.visits, 0) as "total!", t.last_at
           from unnest($1::uuid[], $2::uuid[]) with ordinality as a(org_id, target_id, n)
           left join visit_totals t on t.target_id = a.target_id and t.org_id = a.org_id
           order by a.n"#,
        &targets.iter().map(|(org, _)| org.0).collect::<Vec<_>>(),
        &targets.iter().map(|(_, target)| *target).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    let figures = targets.iter().zip(totals).map(|(target, row)| {
        let visits = |from, before| -> i64 {
            hours.get(target).map_or(0, |hours| hours.range(from..before).map(|(_, visits)| visits).sum())
        };
        let (last, usual) = (visits(hour, hour + TimeDelta::hours(1)), visits(week, hour));
        Figures { total: row.total, last_at: row.last_at, hour: last, week: usual }
    });
    Ok(figures.collect())
}

/// Notes since when an alert holds, or that it does not.
pub async fn raise(conn: &mut PgConnection, id: AlertId, raised_at: Option<DateTime<Utc>>) -> Result<(), sqlx::Error> {
    sqlx::query!("update alerts set raised_at = $2 where id = $1", id.0, raised_at).execute(conn).await?;
    Ok(())
}
