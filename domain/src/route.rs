//! Routes: what a visitor's request for a code needs to know, loaded once and kept by the processes that answer.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use crate::{
    code::Target,
    id::{LinkId, OrgId},
    link::Link,
    routing::{Compiled, Needs, Routing, Visitor},
    utm::Utm,
};

/// The channel on which changed codes are told: the domain, a blank and the code; and that own domains have changed.
pub const CHANNEL: &str = "inkfleet_routes";
/// What is told on it when own domains have changed.
pub const HOSTS: &str = "hosts";

/// Where a code leads, and what must be so before it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Whose it is.
    pub org_id: OrgId,
    /// What the code belongs to.
    pub target: Target,
    /// Where it leads whom its routing leads nowhere else, UTM fields included.
    pub destination: String,
    /// Where else it leads, and whom.
    pub routing: Compiled,
    /// The owner's switch; off for what was put away.
    pub active: bool,
    /// From when on it leads anywhere.
    pub starts_at: Option<DateTime<Utc>>,
    /// Until when.
    pub expires_at: Option<DateTime<Utc>>,
    /// After how many visits it ends.
    pub max_visits: Option<i64>,
    /// The hash of its password, and which of its passwords that is.
    pub password: Option<(String, i32)>,
}

/// Where a visitor is led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'r> {
    /// What decided: `rule:` or `variant:` and its id; empty for the link's own destination.
    pub branch: &'r str,
    /// The address, UTM fields included.
    pub destination: &'r str,
}

/// Why a code leads nowhere for now or any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its owner switched it off.
    Paused,
    /// It has not begun.
    Early,
    /// Its time is over.
    Expired,
    /// It had all its visits.
    Full,
}

/// What becomes of a visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Goes to the destination.
    Go,
    /// Is told why not.
    Stop(Stop),
    /// Is asked for the password.
    Password,
}

impl Route {
    /// The route of a link.
    pub fn of(link: &Link) -> Self {
        let utm = link.utm.as_deref();
        Self {
            org_id: link.org_id,
            target: Target::Link(link.id),
            destination: utm.map_or_else(|| link.destination.clone(), |utm| utm.apply(&link.destination)),
            routing: link.routing.as_ref().map(|routing| Compiled::new(routing, utm)).unwrap_or_default(),
            active: link.active && link.archived_at.is_none(),
            starts_at: link.starts_at,
            expires_at: link.expires_at,
            max_visits: link.max_visits,
            password: link.password_hash.clone().map(|hash| (hash, link.password_version)),
        }
    }

    /// Whether the code leads anywhere now, for who knows its password.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        !matches!(self.step(self.password.as_ref().map(|(_, version)| *version), now), Step::Stop(_))
    }

    /// What becomes of a visitor who has shown the password of version `shown`. The limit of visits is the caller's to
    /// ask for, with [`count`].
    pub fn step(&self, shown: Option<i32>, now: DateTime<Utc>) -> Step {
        if self.expires_at.is_some_and(|at| at <= now) {
            Step::Stop(Stop::Expired)
        } else if !self.active {
            Step::Stop(Stop::Paused)
        } else if self.starts_at.is_some_and(|at| at > now) {
            Step::Stop(Stop::Early)
        } else if self.password.as_ref().is_some_and(|(_, version)| shown != Some(*version)) {
            Step::Password
        } else {
            Step::Go
        }
    }

    /// What of a visitor must be known before it is chosen where they are led.
    pub fn needs(&self) -> Needs {
        self.routing.needs()
    }

    /// Where a visitor is led: the same one always to the same variant, in every process.
    pub fn choose(&self, visitor: &Visitor<'_>) -> Choice<'_> {
        match self.routing.choose(self.target.row().1, visitor) {
            Some(end) => Choice { branch: &end.branch, destination: &end.destination },
            None => Choice { branch: "", destination: &self.destination },
        }
    }

    /// Where a visit was led that names its branch; the route's own destination where that branch is no more.
    pub fn led(&self, branch: &str) -> &str {
        self.routing.end(branch).map_or(&self.destination, |end| &end.destination)
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.destination.len() + self.routing.size()
    }
}

/// Loads the route of a code.
pub async fn find(conn: &mut PgConnection, domain: &str, code: &str) -> Result<Option<Route>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select l.id as "id: LinkId", l.org_id as "org_id: OrgId",
                  coalesce((select l.fallback_destination from link_health h
                            where h.link_id = l.id and h.state = 'failing'), l.destination) as "destination!",
                  l.utm as "utm: Json<Utm>", l.routing as "routing: Json<Routing>",
                  l.active and l.archived_at is null as "active!", l.starts_at, l.expires_at, l.max_visits,
                  l.password_hash, l.password_version
           from codes c join links l on l.id = c.target_id
           where c.domain = $1 and c.code = $2 and c.kind = 1"#,
        domain,
        code,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Route {
        org_id: row.org_id,
        target: Target::Link(row.id),
        routing: row.routing.map(|Json(routing)| Compiled::new(&routing, row.utm.as_deref())).unwrap_or_default(),
        destination: row.utm.map_or_else(|| row.destination.clone(), |Json(utm)| utm.apply(&row.destination)),
        active: row.active,
        starts_at: row.starts_at,
        expires_at: row.expires_at,
        max_visits: row.max_visits,
        password: row.password_hash.map(|hash| (hash, row.password_version)),
    }))
}

/// Tells every process that a code leads elsewhere now. Part of the transaction that changed it.
pub async fn tell_changed(conn: &mut PgConnection, domain: &str, code: &str) -> Result<(), sqlx::Error> {
    tell_changed_many(conn, &[(domain, code)]).await
}

/// The same of many, each a domain and a code.
pub async fn tell_changed_many(conn: &mut PgConnection, codes: &[(&str, &str)]) -> Result<(), sqlx::Error> {
    if codes.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = codes.iter().map(|(domain, code)| format!("{domain} {code}")).collect();
    sqlx::query!("select pg_notify($1, told) from unnest($2::text[]) as told", CHANNEL, &told).fetch_all(conn).await?;
    Ok(())
}

/// The same for many codes, each with its domain.
pub async fn tell_all_changed(conn: &mut PgConnection, codes: &[(&str, &str)]) -> Result<(), sqlx::Error> {
    let words: Vec<String> = codes.iter().map(|(domain, code)| format!("{domain} {code}")).collect();
    sqlx::query!("select pg_notify($1, word) from unnest($2::text[]) word", CHANNEL, &words).fetch_all(conn).await?;
    Ok(())
}

/// Tells every process that own domains have changed. Part of the transaction that changed them.
pub async fn tell_hosts(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_notify($1, $2)", CHANNEL, HOSTS).fetch_one(conn).await?;
    Ok(())
}

/// Counts a visit, and tells its number; `None` when `most` were had. A deleted target has none.
pub async fn count(
    conn: &mut PgConnection,
    org_id: OrgId,
    target: Target,
    most: Option<i64>,
) -> Result<Option<i64>, sqlx::Error> {
    let (_, id) = target.row();
    sqlx::query_scalar!(
        "insert into code_uses as u (target_id, org_id, uses) values ($1, $2, 1)
         on conflict (target_id) do update set uses = u.uses + 1 where u.uses < coalesce($3, u.uses + 1)
         returning uses",
        id,
        org_id.0,
        most,
    )
    .fetch_optional(conn)
    .await
}

/// How many visits of a target were counted.
pub async fn counted(conn: &mut PgConnection, org_id: OrgId, target: Target) -> Result<i64, sqlx::Error> {
    let (_, id) = target.row();
    let uses = sqlx::query_scalar!("select uses from code_uses where org_id = $1 and target_id = $2", org_id.0, id);
    Ok(uses.fetch_optional(conn).await?.unwrap_or(0))
}
