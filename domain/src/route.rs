//! Routes: what a visitor's request for a code needs to know, loaded once and kept by the processes that answer.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, types::Json};

use crate::{
    code::Target,
    id::{LinkId, OrgId, QrId},
    link::Link,
    link_health::State,
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
    /// The link that a QR code leads through, and after how many visits that ends.
    pub through: Option<(LinkId, Option<i64>)>,
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
        let is_failing = link.health.as_ref().is_some_and(|health| health.state == State::Failing);
        let fallback = link.fallback_destination.as_ref().filter(|_| is_failing);
        let destination = fallback.unwrap_or(&link.destination);
        Self {
            org_id: link.org_id,
            target: Target::Link(link.id),
            through: None,
            destination: utm.map_or_else(|| destination.clone(), |utm| utm.apply(destination)),
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

    /// Whose routing it is: the code's own, or that of the link that it leads through.
    pub fn led_by(&self) -> Target {
        self.through.map_or(self.target, |(link, _)| Target::Link(link))
    }

    /// Whether visits are counted against a limit.
    pub fn has_limit(&self) -> bool {
        self.max_visits.is_some() || self.through.is_some_and(|(_, most)| most.is_some())
    }

    /// What of a visitor must be known before it is chosen where they are led.
    pub fn needs(&self) -> Needs {
        self.routing.needs()
    }

    /// Where a visitor is led: the same one always to the same variant, in every process.
    pub fn choose(&self, visitor: &Visitor<'_>) -> Choice<'_> {
        match self.routing.choose(self.led_by().row().1, visitor) {
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

/// Loads the route of a code. A QR code that leads through a link leads where the link leads, while both do.
pub async fn find(conn: &mut PgConnection, domain: &str, code: &str) -> Result<Option<Route>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select c.org_id as "org_id: OrgId", q.id as "qr_id?: QrId", l.id as "link_id?: LinkId",
                  coalesce((select l.fallback_destination from link_health h
                            where h.link_id = l.id and h.state = 'failing'), l.destination, q.content ->> 'url')
                    as destination,
                  l.utm as "utm?: Json<Utm>", l.routing as "routing?: Json<Routing>",
                  coalesce(l.active and l.archived_at is null, true)
                    and coalesce(q.active and q.archived_at is null, true) as "active!",
                  greatest(l.starts_at, q.starts_at) as starts_at, least(l.expires_at, q.expires_at) as expires_at,
                  l.max_visits as "max_visits?", q.max_scans as "max_scans?",
                  coalesce(q.password_hash, l.password_hash) as password_hash,
                  -- The link's passwords, asked for at the QR code, are none of the code's own.
                  case when q.id is null then l.password_version when q.password_hash is null then -1 - l.password_version
                       else q.password_version end as password_version
           from codes c
             left join qr_codes q on c.kind = 2 and q.id = c.target_id
             left join links l on l.id = case c.kind when 1 then c.target_id else q.link_id end
           where c.domain = $1 and c.code = $2"#,
        domain,
        code,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(|row| {
        let destination = row.destination?;
        let (target, max_visits, through) = match (row.qr_id, row.link_id) {
            (Some(qr), link) => (Target::Qr(qr), row.max_scans, link.map(|link| (link, row.max_visits))),
            (None, link) => (Target::Link(link?), row.max_visits, None),
        };
        Some(Route {
            org_id: row.org_id,
            target,
            through,
            routing: row.routing.map(|Json(routing)| Compiled::new(&routing, row.utm.as_deref())).unwrap_or_default(),
            destination: row.utm.map_or_else(|| destination.clone(), |Json(utm)| utm.apply(&destination)),
            active: row.active,
            starts_at: row.starts_at,
            expires_at: row.expires_at,
            max_visits,
            password: row.password_hash.zip(row.password_version),
        })
    }))
}

/// Codes that were told of, each behind its domain.
pub type Told = Vec<(String, String)>;

/// Tells every process that codes lead elsewhere now, each given as its domain and itself, and where one is a link's, that
/// the QR codes do that lead through it. Part of the transaction that changed them; before a code is given back, and after
/// it is taken.
pub async fn tell_changed(conn: &mut PgConnection, codes: &[(&str, &str)]) -> Result<Told, sqlx::Error> {
    if codes.is_empty() {
        return Ok(vec![]);
    }
    let (domains, codes): (Vec<String>, Vec<String>) =
        codes.iter().map(|&(domain, code)| (domain.to_owned(), code.to_owned())).unzip();
    let told = sqlx::query!(
        r#"with given as (select * from unnest($2::text[], $3::text[]) as given (domain, code))
           select domain as "domain!", code as "code!", pg_notify($1, domain || ' ' || code)::text as told
           from (select domain, code from given
                 union
                 select q.domain, q.short_code from given
                   join codes c on (c.domain, c.code) = (given.domain, given.code) and c.kind = 1
                   join qr_codes q on q.link_id = c.target_id) changed"#,
        CHANNEL,
        &domains,
        &codes,
    )
    .fetch_all(conn)
    .await?;
    Ok(told.into_iter().map(|row| (row.domain, row.code)).collect())
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

/// Counts a visit of a route, and tells its number; `None` when all were had. Through a link it counts for both, or neither.
pub async fn count_visit(conn: &mut PgConnection, route: &Route) -> Result<Option<i64>, sqlx::Error> {
    let Some((link, most)) = route.through else {
        return count(conn, route.org_id, route.target, route.max_visits).await;
    };
    let mut tx = conn.begin().await?;
    if route.max_visits.is_some() && count(&mut tx, route.org_id, route.target, route.max_visits).await?.is_none() {
        return Ok(None);
    }
    let number = count(&mut tx, route.org_id, Target::Link(link), most).await?;
    if number.is_some() {
        tx.commit().await?;
    }
    Ok(number)
}

/// How many visits of a target were counted.
pub async fn counted(conn: &mut PgConnection, org_id: OrgId, target: Target) -> Result<i64, sqlx::Error> {
    let (_, id) = target.row();
    let uses = sqlx::query_scalar!("select uses from code_uses where org_id = $1 and target_id = $2", org_id.0, id);
    Ok(uses.fetch_optional(conn).await?.unwrap_or(0))
}
