//! Own domains: hosts of an organisation's that its codes stand on. Whoever can write the domain's DNS proves that it is
//! theirs; until then anybody may ask for a name, and nobody has it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::{
    chance::Chance,
    id::{OrgId, OwnDomainId},
    route,
};

/// The longest name, in characters: with what stands before it in DNS, as long as a name may be.
pub const NAME_MAX: usize = 253 - RECORD_PREFIX.len();
/// The most domains of one organisation.
pub const DOMAINS_MAX: i64 = 50;
/// What stands before the domain in the name of the record that proves it.
const RECORD_PREFIX: &str = "_inkfleet.";
/// What stands before the token in that record.
const VALUE_PREFIX: &str = "inkfleet-verify=";
/// How long a token is, in letters and digits.
const TOKEN_LENGTH: usize = 32;
/// The waits between looks, in minutes: three days in all. DNS that was changed is seen late.
const WAITS: [i64; 12] = [1, 2, 5, 10, 30, 60, 180, 360, 720, 720, 1080, 1152];

/// How far a domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    /// It is looked for.
    Pending,
    /// It is proven, and codes stand on it.
    Verified,
    /// It was not proven in time.
    Failed,
}

/// An own domain.
#[derive(Debug, Clone)]
pub struct OwnDomain {
    /// Its id.
    pub id: OwnDomainId,
    /// Its name, in lower case and ASCII.
    pub name: String,
    /// What its DNS must say.
    pub token: String,
    /// How far it is.
    pub state: State,
    /// What the last look found wrong.
    pub problem: Option<String>,
    /// Looks since it was last asked for.
    pub checks: i32,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// The last look.
    pub checked_at: Option<DateTime<Utc>>,
    /// The next one.
    pub next_check_at: Option<DateTime<Utc>>,
    /// When it was proven.
    pub verified_at: Option<DateTime<Utc>>,
}

/// Reads a domain's name in ASCII (international ones as `xn--…`), as hosts of requests are spelled; `None` if it is none.
pub fn read_name(text: &str) -> Option<String> {
    let label = |label: &str| {
        let within = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(within) && !label.starts_with('-') && !label.ends_with('-')
    };
    let (_, last) = text.rsplit_once('.')?;
    // An address is no name.
    let named = last.starts_with(|c: char| c.is_ascii_alphabetic());
    let fits = named && text.len() <= NAME_MAX && text.split('.').all(label);
    fits.then(|| text.to_ascii_lowercase())
}

impl OwnDomain {
    /// The name of the TXT record that proves it.
    pub fn record_name(&self) -> String {
        format!("{RECORD_PREFIX}{}", self.name)
    }

    /// What that record says.
    pub fn record_value(&self) -> String {
        format!("{VALUE_PREFIX}{}", self.token)
    }

    /// Asks for another look now.
    pub fn ask(&mut self, now: DateTime<Utc>) {
        (self.state, self.checks, self.next_check_at) = (State::Pending, 0, Some(now));
    }

    /// Takes in what a look at `now` found: the record's texts, or why they could not be read.
    pub fn see(&mut self, found: &Result<Vec<String>, String>, now: DateTime<Utc>) {
        let problem = match found {
            Ok(texts) if texts.iter().any(|text| text.trim() == self.record_value()) => None,
            Ok(texts) if texts.is_empty() => Some(format!("{} has no TXT record.", self.record_name())),
            Ok(_) => Some(format!("{} has another TXT record than the one that is asked for.", self.record_name())),
            Err(error) => Some(format!("{} could not be looked up: {error}.", self.record_name())),
        };
        self.checked_at = Some(now);
        self.checks += 1;
        let proven = problem.is_none();
        self.problem = problem;
        if proven {
            (self.state, self.verified_at, self.next_check_at) = (State::Verified, Some(now), None);
        } else {
            let wait = usize::try_from(self.checks - 1).ok().and_then(|n| WAITS.get(n));
            self.next_check_at = wait.map(|minutes| now + TimeDelta::minutes(*minutes));
            self.state = if wait.is_some() { State::Pending } else { State::Failed };
        }
    }
}

macro_rules! select {
    ($tail:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            OwnDomain,
            r#"select id as "id: OwnDomainId", name, token, state as "state: State", problem, checks, created_at, checked_at,
                      next_check_at, verified_at
               from domains "# + $tail,
            $($arg),*
        )
    };
}

/// One domain of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId, id: OwnDomainId) -> Result<Option<OwnDomain>, sqlx::Error> {
    select!("where org_id = $1 and id = $2", org_id.0, id.0).fetch_optional(conn).await
}

/// The same, held against other changes, and against codes that are about to stand on it, until the transaction ends.
pub async fn lock(conn: &mut PgConnection, org_id: OrgId, id: OwnDomainId) -> Result<Option<OwnDomain>, sqlx::Error> {
    select!("where org_id = $1 and id = $2 for update", org_id.0, id.0).fetch_optional(conn).await
}

/// An organisation's domains by name.
pub async fn list(conn: &mut PgConnection, org_id: OrgId) -> Result<Vec<OwnDomain>, sqlx::Error> {
    select!("where org_id = $1 order by name", org_id.0).fetch_all(conn).await
}

/// Whether a name is an organisation's proven domain; if so, it stays that until the transaction ends.
pub async fn hold(conn: &mut PgConnection, org_id: OrgId, name: &str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "select 1 from domains where org_id = $1 and name = $2 and state = 'verified' for key share",
        org_id.0,
        name,
    );
    Ok(found.fetch_optional(conn).await?.is_some())
}

/// Why a domain was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The organisation has it already, or another one has proven it.
    Taken,
    /// The organisation has as many as it may.
    TooMany,
}

/// Stores a new domain, to be looked for at once.
pub async fn create(
    conn: &mut PgConnection,
    org_id: OrgId,
    name: &str,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<Result<OwnDomain, Refused>, sqlx::Error> {
    let (count, taken) = sqlx::query!(
        r#"select count(*) filter (where org_id = $1) as "count!",
                  coalesce(bool_or(name = $2 and (org_id = $1 or state = 'verified')), false) as "taken!"
           from domains where org_id = $1 or name = $2"#,
        org_id.0,
        name,
    )
    .fetch_one(&mut *conn)
    .await
    .map(|row| (row.count, row.taken))?;
    if taken {
        return Ok(Err(Refused::Taken));
    }
    if count >= DOMAINS_MAX {
        return Ok(Err(Refused::TooMany));
    }
    let id = OwnDomainId::new(now, chance);
    let done = sqlx::query!(
        "insert into domains (id, org_id, name, token, state, created_at, next_check_at)
         values ($1, $2, $3, $4, 'pending', $5, $5) on conflict do nothing",
        id.0,
        org_id.0,
        name,
        chance.alphanumeric(TOKEN_LENGTH).to_ascii_lowercase(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(Err(Refused::Taken));
    }
    find(conn, org_id, id).await?.map(Ok).ok_or(sqlx::Error::RowNotFound)
}

/// Stores what a look or a question changed; `false` where it would be proven and another organisation was first.
pub async fn store(conn: &mut PgConnection, org_id: OrgId, domain: &OwnDomain) -> Result<bool, sqlx::Error> {
    // One at a time: of two that are proven together, the second sees the first.
    if domain.state == State::Verified {
        sqlx::query!("select pg_advisory_xact_lock(hashtextextended('domains ' || $1, 0))", domain.name)
            .fetch_one(&mut *conn)
            .await?;
    }
    let done = sqlx::query!(
        "update domains set state = $3, problem = $4, checks = $5, checked_at = $6, next_check_at = $7, verified_at = $8
         where org_id = $1 and id = $2 and ($3 <> 'verified' or not exists (
           select 1 from domains other where other.name = domains.name and other.state = 'verified' and other.id <> $2))",
        org_id.0,
        domain.id.0,
        domain.state as State,
        domain.problem,
        domain.checks,
        domain.checked_at,
        domain.next_check_at,
        domain.verified_at,
    )
    .execute(&mut *conn)
    .await?;
    if domain.state == State::Verified {
        route::tell_hosts(conn).await?;
    }
    Ok(done.rows_affected() == 1)
}

/// Removes a domain that came from [`lock`]; `false` while codes stand on it.
pub async fn delete(conn: &mut PgConnection, org_id: OrgId, domain: &OwnDomain) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "delete from domains where org_id = $1 and id = $2
           and not exists (select 1 from codes where codes.domain = $3 and codes.org_id = $1)",
        org_id.0,
        domain.id.0,
        domain.name,
    )
    .execute(&mut *conn)
    .await?;
    route::tell_hosts(conn).await?;
    Ok(done.rows_affected() == 1)
}

/// Every proven domain of the installation: the hosts that are asked for codes.
pub async fn hosts(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("select name from domains where state = 'verified'").fetch_all(conn).await
}
