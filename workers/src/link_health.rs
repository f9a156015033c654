//! Checks of links' destinations. Each run of a host's job makes one request: the host's row in `link_hosts` says when the
//! next may leave, to whichever process, and the link's row in `link_health` where its check stands.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    change::{Change, Happened, LinkHealth},
    code,
    http_url::{HttpUrl, Rules},
    id::OrgId,
    link::{self, Link},
    link_health::{self, AGENT, Certificate, Count, Due, End, SPACING, Seen, Step, Transition, Turn},
    notification::{Kind, Many, News, Single},
    route,
};
use jobs::{
    change,
    job::{NewJob, Priority},
    link_health::{AskHost, SweepLinkHealth},
    notification::notify_gathered,
    queue,
    store::Tx,
};
use url::Url;

use crate::{
    context::Context,
    http::{Look, LookRequest},
    registry::{Outcome, Run},
};

/// The most time for one request, from the look-up of the name to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a host is kept for one request at the most; whoever died with it keeps it no longer.
const LEASE: TimeDelta = TimeDelta::seconds(30);
/// The longest that a host can ask to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// For longer than this no job waits for a host; the sweep comes back to it.
const PATIENCE: TimeDelta = TimeDelta::minutes(1);
/// The most hosts of one sweep.
const HOSTS: i64 = 10_000;

/// Finds the hosts that something is due for, and has each asked.
///
/// Safe twice: of two jobs for one host the second ends at once.
pub async fn sweep(context: Context, _: SweepLinkHealth, _: Run) -> anyhow::Result<Outcome> {
    let (now, chance) = (context.clock.now(), &context.chance);
    let mut tx = context.store.begin().await?;
    link_health::let_sleep(&mut tx, now).await?;
    let hosts = link_health::due_hosts(&mut tx, now, HOSTS).await?;
    let jobs: Vec<NewJob> = hosts.into_iter().map(|host| ask_host(host, now, chance)).collect();
    queue::enqueue_many(&mut tx, &jobs).await?;
    tx.commit().await?;
    Ok(Outcome::Done)
}

/// Of low priority, so that hosts that are slow to answer never take all places.
fn ask_host(host: String, now: DateTime<Utc>, chance: &domain::chance::Chance) -> NewJob {
    NewJob::new(OrgId::SYSTEM, &AskHost { host }, now, chance).priority(Priority::Low)
}

/// Makes the request to a host that has been due for the longest time.
///
/// Safe twice: the host is taken for one request at a time, and what a request says is noted only if the link's row still
/// stands at its step. A process that dies with a request under way leaves it to be repeated when its lease is over.
pub async fn ask(context: Context, job: AskHost, run: Run) -> anyhow::Result<Outcome> {
    let now = context.clock.now();
    let mut conn = context.store.pool().acquire().await?;
    let Some(due) = link_health::next_of(&mut conn, &job.host, now).await? else { return Ok(Outcome::Done) };
    match link_health::take_host(&mut conn, &job.host, run.job_id, now, now + LEASE).await? {
        Turn::Taken => {}
        Turn::Wait(until) => return Ok(Outcome::Snooze(until)),
        Turn::Others => return Ok(Outcome::Done),
    }
    drop(conn);

    let look = look(&context, &due, now).await;

    let now = context.clock.now();
    let pause = look.retry_after.map_or(SPACING, |wait| wait.clamp(SPACING, RETRY_AFTER_MAX));
    let free_at = now + TimeDelta::from_std(pause)?;
    let mut tx = context.store.begin().await?;
    link_health::free_host(&mut tx, &job.host, run.job_id, free_at).await?;
    note(&context, &mut tx, &job, &due, look, now).await?;
    let more = free_at - now <= PATIENCE && link_health::next_of(&mut tx, &job.host, free_at).await?.is_some();
    tx.commit().await?;
    Ok(if more { Outcome::Snooze(free_at) } else { Outcome::Done })
}

async fn look(context: &Context, due: &Due, now: DateTime<Utc>) -> Look {
    let agent = format!("{AGENT}{} (+{})", env!("CARGO_PKG_VERSION"), context.settings.public_url);
    match HttpUrl::parse(&due.url, Rules { allow_http: true, max_chars: usize::MAX }) {
        Ok(url) => {
            let request = LookRequest { method: due.method.name(), url: &url, agent: &agent, timeout: TIMEOUT };
            context.http.look(request, now).await
        }
        Err(error) => Look { error: error.to_string(), ..Look::default() },
    }
}

/// Notes what a request says, and what follows from it.
async fn note(
    context: &Context,
    tx: &mut Tx<'_>,
    job: &AskHost,
    due: &Due,
    look: Look,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let url = Url::parse(&due.url)?;
    let certificate =
        Certificate { begins: due.hops == 0 && look.status.is_some(), expires_at: look.certificate_expires_at };
    let seen = Seen { status: look.status, location: look.location, error: look.error };
    match link_health::judge(due.method, &url, due.hops, &seen) {
        Step::Ask { url, method, hops } => {
            let noted = link_health::go_on(tx, due, (&url, method, hops), certificate, now).await?;
            if let Some(host) = url.host_str().filter(|host| noted && *host != job.host) {
                queue::enqueue(tx, ask_host(host.to_owned(), now, &context.chance)).await?;
            }
        }
        Step::End { verdict, reason } => {
            let (count, transition) = link_health::count(due.count, verdict);
            let changed = count.state != due.count.state;
            let next_at = now + interval(count, context.chance.unit());
            let end = End { count, changed, status: look.status, reason, certificate, next_at };
            if link_health::end(tx, due, &end, now).await?
                && let Some(transition) = transition
            {
                tell(context, tx, due, &job.host, transition, &end, now).await?;
            }
        }
    }
    Ok(())
}

/// Up to a tenth more by `chance` (0 to 1), so that what was made together is not asked together for ever.
fn interval(count: Count, chance: f64) -> TimeDelta {
    let seconds = f64::from(count.interval_s);
    TimeDelta::milliseconds((seconds * 1000.0 * (1.0 + chance / 10.0)) as i64)
}

/// Tells members and subscribers of a change, and the processes that redirect where a fallback takes part.
async fn tell(
    context: &Context,
    tx: &mut Tx<'_>,
    due: &Due,
    host: &str,
    transition: Transition,
    end: &End,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let Some(link) = link::find(tx, due.org_id, due.link_id).await? else { return Ok(()) };
    if link.fallback_destination.is_some() {
        route::tell_changed(tx, &[(&link.domain, &link.slug)]).await?;
    }
    let short_url = code::address(&context.settings.short_url, &link.domain, &link.slug);
    let change = match transition {
        Transition::Failing => Change::Failing,
        Transition::Recovered => Change::Recovered,
    };
    notify_members(context, tx, &link, (&short_url, host), transition, end, now).await?;
    let subject = LinkHealth {
        id: link.id,
        short_url,
        destination: link.destination,
        status: end.status,
        reason: end.reason.clone(),
    };
    let happened = Happened { org_id: due.org_id, change, at: now, subject };
    change::publish(tx, &[happened], None, now, &context.chance).await?;
    Ok(())
}

/// Notifies members of a change. All links that lead to one host have its fate: they are told together.
async fn notify_members(
    context: &Context,
    tx: &mut Tx<'_>,
    link: &Link,
    (short_url, host): (&str, &str),
    transition: Transition,
    end: &End,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let (kind, [one, all], why, filter) = match transition {
        Transition::Failing => {
            let why = format!(" ({})", end.reason);
            (Kind::LinkFailing, ["does not answer", "do not answer"], why, "health_failing")
        }
        Transition::Recovered => {
            (Kind::LinkRecovered, ["answers again", "answer again"], String::new(), "health_monitored")
        }
    };
    let news =
        |title, text, path| News { org_id: link.org_id, kind, title, text, path, maker: link.created_by, told: None };
    let alone = news(
        format!("The destination of {short_url} {one}"),
        format!("{}{why}", link.destination),
        format!("/links/{}", link.id),
    );
    let single = Single { about: host, thing: link.id.0, name: short_url, news: alone };
    let many = |many: &Many| {
        news(
            format!("The destinations of {} links at {host} {all}", many.things),
            format!("{}{why}", many.names()),
            format!("/links?filter={filter}"),
        )
    };
    notify_gathered(tx, &single, many, now, &context.chance).await
}
