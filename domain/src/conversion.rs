//! Conversions: what visitors of links and QR codes did at their destination, as its pages tell, or servers behind
//! them.
//!
//! Whoever tells proves nothing, so what is told is bounded, paced by whoever answers, and taken from a browser only
//! where the page is one that the link leads to, or one that its owner allowed.

mod origin;
mod rate;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

pub use self::{
    origin::{ORIGIN_MAX, ORIGINS_MAX, allow_origins, allowed_origins, origin_of, read_origin},
    rate::{Rate, rate},
};
use crate::{
    code::Target,
    id::{self, ConversionId, LinkId, OrgId, QrId, VisitorId},
    link::{self, Link},
    qr::{self, content::Content},
    route::{self, Route},
};

/// The longest name of a step, in characters.
pub const STEP_MAX: usize = 100;
/// The longest dedupe key, in characters.
pub const DEDUPE_KEY_MAX: usize = 255;
/// The largest value.
pub const VALUE_MAX: f64 = 1e12;
/// The most decimals of a value.
pub const DECIMALS_MAX: usize = 4;
/// For how many days conversions are kept: statistics go back 366, and a day in UTC may have begun before.
pub const KEPT_DAYS: i64 = 367;

/// What conversions are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceType {
    /// A short link.
    Link,
    /// A QR code.
    Qr,
}

impl SourceType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Link, Self::Qr];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Qr => "qr",
        }
    }

    /// What it is called in sentences.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Qr => "QR code",
        }
    }

    /// What its ids begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Link => LinkId::PREFIX,
            Self::Qr => QrId::PREFIX,
        }
    }

    /// Reads an id; `None` if it is none of such a thing.
    pub fn read(self, id: &str) -> Option<Uuid> {
        id.strip_prefix(self.prefix()).filter(|tail| tail.len() == 26)?;
        id::read_any(id).ok()
    }
}

impl From<Target> for SourceType {
    fn from(target: Target) -> Self {
        match target {
            Target::Link(_) => Self::Link,
            Target::Qr(_) => Self::Qr,
        }
    }
}

/// A link or QR code, as far as its conversions ask.
#[derive(Debug, Clone)]
pub struct Source {
    /// Whose it is.
    pub org_id: OrgId,
    /// What it is.
    pub target: Target,
    /// Whom it leads where; nothing for a static QR code, which leads through none of ours.
    pub route: Option<Route>,
    /// Every address that it may lead to.
    places: Vec<String>,
}

impl Source {
    fn of_link(link: &Link) -> Self {
        let (org_id, target) = (link.org_id, Target::Link(link.id));
        Self { org_id, target, route: Some(Route::of(link)), places: places(link) }
    }

    /// Whether it leads to pages of that origin, as [`read_origin`] spells it.
    pub fn leads_to(&self, origin: &str) -> bool {
        self.places.iter().any(|place| origin_of(place).as_deref() == Some(origin))
    }
}

/// Every address that a link may lead to.
fn places(link: &Link) -> Vec<String> {
    let mut places = vec![link.destination.clone()];
    places.extend(link.fallback_destination.clone());
    if let Some(routing) = link.routing.as_deref() {
        places.extend(routing.rules.iter().map(|rule| rule.destination.clone()));
        places.extend(routing.variants.iter().map(|variant| variant.destination.clone()));
    }
    places
}

/// Finds what conversions are to be of, of one organisation, and holds it against its deletion until the transaction
/// ends.
pub async fn hold_source(
    conn: &mut PgConnection,
    org_id: OrgId,
    kind: SourceType,
    id: Uuid,
) -> Result<Option<Source>, sqlx::Error> {
    match kind {
        SourceType::Link => Ok(link::hold(conn, org_id, LinkId(id)).await?.as_ref().map(Source::of_link)),
        SourceType::Qr => hold_qr_code(conn, org_id, QrId(id)).await,
    }
}

async fn hold_qr_code(conn: &mut PgConnection, org_id: OrgId, id: QrId) -> Result<Option<Source>, sqlx::Error> {
    let Some(code) = qr::hold(conn, org_id, id).await? else { return Ok(None) };
    let mut all = vec![];
    if let Some(Content::Url(url)) = code.content.as_deref() {
        all.push(url.clone());
    }
    if let Some(link_id) = code.link_id {
        all.extend(link::find(conn, org_id, link_id).await?.as_ref().map(places).unwrap_or_default());
    }
    let route = match (&code.domain, &code.short_code) {
        (Some(domain), Some(short_code)) => route::find(conn, domain, short_code).await?,
        _ => None,
    };
    Ok(Some(Source { org_id, target: Target::Qr(id), route, places: all }))
}

/// Whether a value is one: 0 to [`VALUE_MAX`], with [`DECIMALS_MAX`] decimals at most.
pub fn is_value(value: f64) -> bool {
    // As short as it can be written: what a program sent that meant so many decimals.
    let text = value.to_string();
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    (0.0..=VALUE_MAX).contains(&value) && decimals <= DECIMALS_MAX
}

/// Reads a currency: three letters (ISO 4217), which are upper-cased. Which of them are in use is not asked.
pub fn read_currency(text: &str) -> Option<String> {
    let fits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
    fits.then(|| text.to_ascii_uppercase())
}

/// Whom a cookie stands for in an organisation; another one's cannot be held against it.
pub fn visitor(org_id: OrgId, cookie: Uuid) -> VisitorId {
    let digest: [u8; 32] = Sha256::new().chain_update(org_id.0).chain_update(cookie).finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    VisitorId(Uuid::from_bytes(bytes))
}

/// What is told of a conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What was done, such as `purchase`.
    pub step: String,
    /// What it is worth; see [`is_value`].
    pub value: Option<f64>,
    /// In which currency; only with a value.
    pub currency: Option<String>,
    /// Tells repeats: of one target and step, the same key is the same conversion.
    pub dedupe_key: Option<String>,
}

/// A conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversion {
    /// Its id.
    pub id: ConversionId,
    /// Whose link or code it is of.
    pub org_id: OrgId,
    /// The link or QR code.
    pub target: Target,
    /// When it was told.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub visitor_id: VisitorId,
    /// Which rule or variant leads them on, as in [`crate::visit::Visit`].
    pub branch: String,
    /// What they did.
    pub told: Told,
}

/// Stores a conversion, and tells the id that it has: an earlier one where its key says that it is the same. Waits for
/// a transaction that is about to store the same one.
pub async fn record(conn: &mut PgConnection, new: &Conversion) -> Result<ConversionId, sqlx::Error> {
    let Told { step, value, currency, dedupe_key } = &new.told;
    sqlx::query_scalar!(
        // As text: Postgres would round a double to fifteen digits. The update changes nothing, and tells the earlier
        // id.
        r#"insert into conversions as c
             (id, org_id, target_id, at, step, visitor_id, branch, value, currency, dedupe_key)
           values ($1, $2, $3, $4, $5, $6, $7, $8::text::numeric, $9, $10)
           on conflict (target_id, step, dedupe_key, org_id) where dedupe_key is not null
             do update set dedupe_key = c.dedupe_key
           returning id as "id: ConversionId""#,
        new.id.0,
        new.org_id.0,
        new.target.row().1,
        new.at,
        step,
        new.visitor_id.0,
        new.branch,
        value.map(|value| value.to_string()),
        currency.as_deref(),
        dedupe_key.as_deref(),
    )
    .fetch_one(conn)
    .await
}

/// Conversions of one step and currency.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSum {
    /// The step.
    pub step: String,
    /// The currency; `None` for those without one.
    pub currency: Option<String>,
    /// How many.
    pub count: i64,
    /// By how many visitors.
    pub visitors: i64,
    /// What they are worth together; `None` where none has a value.
    pub value: Option<f64>,
}

/// The conversions of a link or QR code from `from` on, by step and currency; the 200 most frequent first.
pub async fn by_step(
    conn: &mut PgConnection,
    org_id: OrgId,
    target: Uuid,
    from: DateTime<Utc>,
) -> Result<Vec<StepSum>, sqlx::Error> {
    sqlx::query_as!(
        StepSum,
        r#"select step, currency, count(*) as "count!", count(distinct visitor_id) as "visitors!",
                  sum(value)::float8 as value
           from conversions where org_id = $1 and target_id = $2 and at >= $3 group by 1, 2 order by 3 desc, 1, 2 limit 200"#,
        org_id.0,
        target,
        from,
    )
    .fetch_all(conn)
    .await
}

/// Conversions of those whom one rule or variant leads on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchSum {
    /// As in [`crate::visit::Visit`].
    pub branch: String,
    /// How many, in whatever step.
    pub count: i64,
    /// By how many visitors.
    pub visitors: i64,
}

/// The conversions of a link or QR code from `from` on, by the rule or variant that leads the visitor on.
pub async fn by_branch(
    conn: &mut PgConnection,
    org_id: OrgId,
    target: Uuid,
    from: DateTime<Utc>,
) -> Result<Vec<BranchSum>, sqlx::Error> {
    sqlx::query_as!(
        BranchSum,
        r#"select branch, count(*) as "count!", count(distinct visitor_id) as "visitors!" from conversions
           where org_id = $1 and target_id = $2 and at >= $3 group by 1"#,
        org_id.0,
        target,
        from,
    )
    .fetch_all(conn)
    .await
}

/// How many visitors converted on each of some links or QR codes, by the rule or variant that leads them on, from `from` to
/// before `before`.
pub async fn converted(
    conn: &mut PgConnection,
    org_id: OrgId,
    targets: &[Uuid],
    from: DateTime<Utc>,
    before: DateTime<Utc>,
) -> Result<HashMap<(Uuid, String), i64>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select target_id, branch, count(distinct visitor_id) as "visitors!" from conversions
           where org_id = $1 and target_id = any($2) and at >= $3 and at < $4 group by 1, 2"#,
        org_id.0,
        targets,
        from,
        before,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.target_id, row.branch), row.visitors)).collect())
}

/// Removes the conversions of links or QR codes that are removed.
pub async fn delete_of(conn: &mut PgConnection, org_id: OrgId, targets: &[Uuid]) -> Result<(), sqlx::Error> {
    if targets.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from conversions where org_id = $1 and target_id = any($2)", org_id.0, targets)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets conversions that were told before `before`.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from conversions where id < $1", id::floor_uuid(before)).execute(conn).await?;
    Ok(())
}
