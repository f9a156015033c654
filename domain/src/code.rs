//! Codes: what stands behind a short domain's slash, and whose it is. Links and dynamic QR codes share one space of codes
//! per domain, and upper and lower case are told apart, because codes that come from other shorteners are.

use std::{fmt, str::FromStr};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    chance::Chance,
    id::{InvalidId, LinkId, OrgId, QrId},
};

/// The longest code, in characters.
pub const CODE_MAX: usize = 64;
/// How long a code is that nobody chose: 31⁷ is 27 milliards.
const LENGTH: usize = 7;
/// Without those that are read for one another (0 and o, 1, i and l).
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// What a code on the installation's own domain may not be, in lower case: addresses that have or may get a meaning.
pub const RESERVED: [&str; 20] = [
    "admin",
    "api",
    "app",
    "assets",
    "docs",
    "favicon.ico",
    "health",
    "healthz",
    "login",
    "metrics",
    "oauth",
    "openapi.json",
    "openapi.yaml",
    "p",
    "r",
    "readyz",
    "robots.txt",
    "sitemap.xml",
    "static",
    "well-known",
];

/// A code: 1 to 64 of `A` to `Z`, `a` to `z`, digits, `-`, `_` and `.`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct Code(String);

/// A text that is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCode {
    /// It has the wrong form.
    #[error("must be 1 to 64 letters, digits, hyphens, underscores or dots, and begin with a letter or digit")]
    Form,
    /// It means something else.
    #[error("is reserved")]
    Reserved,
}

impl Code {
    /// A code that nobody chose.
    pub fn random(chance: &Chance) -> Self {
        let letter =
            |_| char::from(ALPHABET[((chance.unit() * ALPHABET.len() as f64) as usize).min(ALPHABET.len() - 1)]);
        Self((0..LENGTH).map(letter).collect())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Code {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let within = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !begins || text.len() > CODE_MAX || !text.bytes().all(within) {
            return Err(InvalidCode::Form);
        }
        if RESERVED.contains(&text.to_ascii_lowercase().as_str()) {
            return Err(InvalidCode::Reserved);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a code leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A short link.
    Link(LinkId),
    /// A dynamic QR code.
    Qr(QrId),
}

impl Target {
    /// Its kind and its id, as rows have them.
    pub fn row(self) -> (i16, Uuid) {
        match self {
            Self::Link(id) => (1, id.0),
            Self::Qr(id) => (2, id.0),
        }
    }

    /// The same backwards.
    pub fn of_row(kind: i16, id: Uuid) -> Self {
        if kind == 1 { Self::Link(LinkId(id)) } else { Self::Qr(QrId(id)) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(id) => id.fmt(f),
            Self::Qr(id) => id.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self::Link).or_else(|_| text.parse().map(Self::Qr))
    }
}

/// The address of a code: below `base` on the installation's own domain, the empty one, and behind the slash of any other.
pub fn address(base: &str, domain: &str, code: &str) -> String {
    if domain.is_empty() { format!("{base}/{code}") } else { format!("https://{domain}/{code}") }
}

/// A code that a target is to have.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The domain; empty for the installation's own.
    pub domain: &'a str,
    /// The code, which keeps to the form of [`Code`].
    pub code: &'a str,
    /// Whose it shall be.
    pub target: Target,
}

/// The advisory lock of whoever takes several codes one after the other: "INKC" in ASCII.
const TAKING: i64 = 0x494e_4b43;

/// Waits until nobody else takes several codes one after the other, and keeps others from it until the transaction ends.
pub async fn take_turn(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock($1)", TAKING).fetch_one(conn).await?;
    Ok(())
}

/// Takes a code for a target; `false` when it is taken. Waits for a transaction that is about to take the same one.
pub async fn take(
    conn: &mut PgConnection,
    domain: &str,
    code: &Code,
    org_id: OrgId,
    target: Target,
) -> Result<bool, sqlx::Error> {
    let wish = Wish { domain, code: code.as_str(), target };
    Ok(!take_many(conn, org_id, &[wish]).await?.is_empty())
}

/// Takes codes, in the order of their texts so that two who take many never wait for each other; returns the ids of the
/// targets that got theirs. Of two who wish for the same code one gets it.
pub async fn take_many(conn: &mut PgConnection, org_id: OrgId, wishes: &[Wish<'_>]) -> Result<Vec<Uuid>, sqlx::Error> {
    if wishes.is_empty() {
        return Ok(vec![]);
    }
    let (kinds, ids): (Vec<i16>, Vec<Uuid>) = wishes.iter().map(|wish| wish.target.row()).unzip();
    sqlx::query_scalar!(
        "insert into codes (domain, code, org_id, kind, target_id)
         select f.domain, f.code, $1, f.kind, f.target_id
         from unnest($2::text[], $3::text[], $4::smallint[], $5::uuid[]) as f(domain, code, kind, target_id)
         order by f.domain, f.code
         on conflict (domain, code) do nothing returning target_id",
        org_id.0,
        &wishes.iter().map(|wish| wish.domain).collect::<Vec<_>>() as &[&str],
        &wishes.iter().map(|wish| wish.code).collect::<Vec<_>>() as &[&str],
        &kinds,
        &ids,
    )
    .fetch_all(conn)
    .await
}

/// The domain and the code of a link or QR code, whoever's it is: anybody may follow it.
pub async fn find(conn: &mut PgConnection, target_id: Uuid) -> Result<Option<(String, String)>, sqlx::Error> {
    let row =
        sqlx::query!("select domain, code from codes where target_id = $1", target_id).fetch_optional(conn).await?;
    Ok(row.map(|row| (row.domain, row.code)))
}

/// Gives the code of a target back.
pub async fn release(conn: &mut PgConnection, org_id: OrgId, target: Target) -> Result<(), sqlx::Error> {
    release_many(conn, org_id, &[target.row().1]).await
}

/// Gives the codes of targets back, by their ids.
pub async fn release_many(conn: &mut PgConnection, org_id: OrgId, targets: &[Uuid]) -> Result<(), sqlx::Error> {
    if targets.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from codes where org_id = $1 and target_id = any($2)", org_id.0, targets)
        .execute(conn)
        .await?;
    Ok(())
}
