//! The rows of monitored links, and of the hosts that are asked.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use url::Url;

use super::{Count, INTERVAL, Method, State, place};
use crate::{
    id::{JobId, LinkId, OrgId},
    link::Link,
};

/// How often a link that leads nowhere is looked at: whether it leads somewhere again.
const ASLEEP: TimeDelta = TimeDelta::days(1);

/// The health of a monitored link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// What is known.
    pub state: State,
    /// When the last check ended.
    pub checked_at: Option<DateTime<Utc>>,
    /// When the state became what it is.
    pub changed_at: Option<DateTime<Utc>>,
    /// The last status.
    pub status: Option<i32>,
    /// Failures in a row.
    pub failures: i32,
    /// What the last check says; empty if all was well.
    pub reason: String,
    /// When the certificate ends that the last check saw.
    pub tls_expires_at: Option<DateTime<Utc>>,
    /// When the next check is due.
    pub next_at: DateTime<Utc>,
}

impl Health {
    /// Of a link that is monitored from `now` on.
    pub fn unknown(now: DateTime<Utc>) -> Self {
        Self {
            state: State::Unknown,
            checked_at: None,
            changed_at: None,
            status: None,
            failures: 0,
            reason: String::new(),
            tls_expires_at: None,
            next_at: now,
        }
    }
}

/// Brings the rows in line with `link`, as it was just stored; `before` is what it was until then, if it was. What leads
/// elsewhere now is asked anew, and so is what was switched on.
pub async fn follow(
    conn: &mut PgConnection,
    before: Option<&Link>,
    link: &Link,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let was = before.filter(|before| before.health.is_some());
    if link.health.is_none() {
        if was.is_some() {
            sqlx::query!("delete from link_health where org_id = $1 and link_id = $2", link.org_id.0, link.id.0)
                .execute(conn)
                .await?;
        }
        return Ok(());
    }
    let leads = |link: &Link| (link.active && link.archived_at.is_none(), link.starts_at, link.expires_at);
    let elsewhere = was.is_none_or(|was| was.destination != link.destination);
    if !elsewhere && was.is_some_and(|was| leads(was) == leads(link)) {
        return Ok(());
    }
    let Ok(url) = Url::parse(&link.destination).map(place) else { return Ok(()) };
    let host = url.host_str().unwrap_or_default();
    sqlx::query!(
        "insert into link_health as h (link_id, org_id, interval_s, host, url, next_at) values ($1, $2, $3, $4, $5, $6)
         on conflict (link_id) do update set
           state = case when $7 then 'unknown' else h.state end, failures = case when $7 then 0 else h.failures end,
           successes = case when $7 then 0 else h.successes end,
           changed_at = case when $7 then null else h.changed_at end,
           checked_at = case when $7 then null else h.checked_at end, status = case when $7 then null else h.status end,
           reason = case when $7 then '' else h.reason end,
           tls_expires_at = case when $7 then null else h.tls_expires_at end,
           interval_s = $3, host = $4, url = $5, method = 'HEAD', hops = 0, step = h.step + 1, next_at = $6",
        link.id.0,
        link.org_id.0,
        INTERVAL,
        host,
        url.as_str(),
        now,
        elsewhere,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A request that is due.
#[derive(Debug, Clone)]
pub struct Due {
    /// The link.
    pub link_id: LinkId,
    /// Whose it is.
    pub org_id: OrgId,
    /// Where to.
    pub url: String,
    /// How.
    pub method: Method,
    /// After how many redirects.
    pub hops: i16,
    /// Which step of the row this is.
    pub step: i32,
    /// What was counted before.
    pub count: Count,
    /// Where the link leads, to begin with next time.
    pub destination: String,
}

/// The request to a host that has been due for the longest time.
pub async fn next_of(conn: &mut PgConnection, host: &str, now: DateTime<Utc>) -> Result<Option<Due>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select h.link_id as "link_id: LinkId", h.org_id as "org_id: OrgId", h.url, h.method, h.hops, h.step, h.state,
                  h.failures, h.successes, h.interval_s, l.destination
           from link_health h join links l on l.id = h.link_id
           where h.host = $1 and h.next_at <= $2 and l.active and l.archived_at is null
             and (l.starts_at is null or l.starts_at <= $2) and (l.expires_at is null or l.expires_at > $2)
           order by h.next_at limit 1"#,
        host,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Due {
        link_id: row.link_id,
        org_id: row.org_id,
        url: row.url,
        method: if row.method == "GET" { Method::Get } else { Method::Head },
        hops: row.hops,
        step: row.step,
        count: Count {
            state: match row.state.as_str() {
                "healthy" => State::Healthy,
                "failing" => State::Failing,
                _ => State::Unknown,
            },
            failures: row.failures,
            successes: row.successes,
            interval_s: row.interval_s,
        },
        destination: row.destination,
    }))
}

/// What a request showed of certificates. Of those on a check's way, the one that ends first is kept.
#[derive(Debug, Clone, Copy)]
pub struct Certificate {
    /// Whether it is the first of its check, and what was known before no longer counts.
    pub begins: bool,
    /// When it ends; `None` where there was none.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Notes that the chain goes on with another request at once; `false` if it was overtaken by a change of the link.
pub async fn go_on(
    conn: &mut PgConnection,
    due: &Due,
    (url, method, hops): (&Url, Method, i16),
    certificate: Certificate,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update link_health set host = $3, url = $4, method = $5, hops = $6, step = step + 1, next_at = $7,
                tls_expires_at = case when $8 then $9 else least(tls_expires_at, $9) end
         where link_id = $1 and step = $2",
        due.link_id.0,
        due.step,
        url.host_str().unwrap_or_default(),
        url.as_str(),
        method.name(),
        hops,
        now,
        certificate.begins,
        certificate.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The end of a check.
#[derive(Debug)]
pub struct End {
    /// What is counted now.
    pub count: Count,
    /// Whether the state is another.
    pub changed: bool,
    /// The last status.
    pub status: Option<u16>,
    /// What it says.
    pub reason: String,
    /// The certificate of the last request.
    pub certificate: Certificate,
    /// When the next check is due.
    pub next_at: DateTime<Utc>,
}

/// Notes the end of a check; `false` if it was overtaken by a change of the link.
pub async fn end(conn: &mut PgConnection, due: &Due, end: &End, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let Ok(url) = Url::parse(&due.destination).map(place) else { return Ok(false) };
    let done = sqlx::query!(
        "update link_health set state = $3, failures = $4, successes = $5, interval_s = $6, checked_at = $7,
                changed_at = case when $8 then $7 else changed_at end, status = $9, reason = $10,
                tls_expires_at = case when $11 then $12 else least(tls_expires_at, $12) end,
                next_at = $13, host = $14, url = $15, method = 'HEAD', hops = 0, step = step + 1
         where link_id = $1 and step = $2",
        due.link_id.0,
        due.step,
        end.count.state.name(),
        end.count.failures,
        end.count.successes,
        end.count.interval_s,
        now,
        end.changed,
        end.status.map(i32::from),
        end.reason,
        end.certificate.begins,
        end.certificate.expires_at,
        end.next_at,
        url.host_str().unwrap_or_default(),
        url.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts off what is due of links that lead nowhere now.
pub async fn let_sleep(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update link_health h set next_at = least($2, case when l.starts_at > $1 then l.starts_at end)
         from links l
         where l.id = h.link_id and h.next_at <= $1
           and (not l.active or l.archived_at is not null or l.starts_at > $1 or l.expires_at <= $1)",
        now,
        now + ASLEEP,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// The hosts that something is due for and that nobody is asking or must not be asked yet, the longest due first.
pub async fn due_hosts(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select h.host from link_health h left join link_hosts k on k.host = h.host
         where h.next_at <= $1 and (k.free_at is null or k.free_at <= $1)
         group by h.host order by min(h.next_at) limit $2",
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Whether a host may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is the caller's until the time that was given, or until [`free_host`].
    Taken,
    /// The caller has it, but not before that time.
    Wait(DateTime<Utc>),
    /// Another one has it.
    Others,
}

/// Takes a host for one request of `holder`, until `until` at the latest.
pub async fn take_host(
    conn: &mut PgConnection,
    host: &str,
    holder: JobId,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Turn, sqlx::Error> {
    let taken = sqlx::query!(
        "insert into link_hosts as h (host, free_at, holder) values ($1, $2, $3)
         on conflict (host) do update set free_at = $2, holder = $3 where h.free_at <= $4",
        host,
        until,
        holder.0,
        now,
    )
    .execute(&mut *conn)
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(Turn::Taken);
    }
    let held = sqlx::query!(r#"select free_at, holder as "holder: JobId" from link_hosts where host = $1"#, host)
        .fetch_optional(conn)
        .await?;
    Ok(match held {
        Some(row) if row.holder == Some(holder) => Turn::Wait(row.free_at),
        _ => Turn::Others,
    })
}

/// Says from when on a host may be asked again, by whoever took it.
pub async fn free_host(
    conn: &mut PgConnection,
    host: &str,
    holder: JobId,
    free_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!("update link_hosts set free_at = $3 where host = $1 and holder = $2", host, holder.0, free_at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets hosts that nobody has asked since `before`.
pub async fn forget_hosts(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from link_hosts where free_at < $1", before).execute(conn).await?;
    Ok(())
}

/// A link whose destination does not answer.
#[derive(Debug, Clone)]
pub struct FailingLink {
    /// What it is called; may be empty.
    pub title: String,
    /// The domain of its code.
    pub domain: String,
    /// Its code.
    pub slug: String,
    /// Since when.
    pub changed_at: Option<DateTime<Utc>>,
}

/// Links of an organisation that fail and are in use, those first that began to last; and how many there are in all.
pub async fn failing(
    conn: &mut PgConnection,
    org_id: OrgId,
    limit: i64,
) -> Result<(Vec<FailingLink>, i64), sqlx::Error> {
    let rows = sqlx::query!(
        r#"select l.title, l.domain, l.slug, h.changed_at, count(*) over () as "all!"
           from link_health h join links l on l.id = h.link_id
           where h.org_id = $1 and h.state = 'failing' and l.active and l.archived_at is null
           order by h.changed_at desc nulls last, l.id limit $2"#,
        org_id.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let all = rows.first().map_or(0, |row| row.all);
    let failing = rows.into_iter().map(|row| FailingLink {
        title: row.title,
        domain: row.domain,
        slug: row.slug,
        changed_at: row.changed_at,
    });
    Ok((failing.collect(), all))
}
