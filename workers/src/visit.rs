//! Visits: counted once, however they are noted, and told to those who listen.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    chance::Chance,
    change::{self, Change, Click, Happened, Scan},
    id::{LinkId, OrgId},
    link::{self, Link},
    qr::{self, QrCode},
    route::Route,
    visit::{self, Counted, Portion, count_batches, last_batch},
};
use jobs::{
    change::{Listeners, listeners, tell},
    quota,
    store::Tx,
    visit::CountVisits,
};
use uuid::Uuid;

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// How long a run waits where another counts.
const TURN: TimeDelta = TimeDelta::seconds(1);

/// Counts the visits that were noted when it began, portion by portion. What comes meanwhile brings a run of its own: counted
/// together, a second's visits cost a fraction of what they cost a few at a time.
///
/// Safe twice: a batch leaves in the transaction that counts it and publishes its events, and is never counted again. Of
/// two runs at the same time one waits.
pub async fn count(context: Context, _: CountVisits, _: Run) -> anyhow::Result<Outcome> {
    let Some(last) = last_batch(&mut *context.store.pool().acquire().await?).await? else { return Ok(Outcome::Done) };
    loop {
        let (mut tx, now) = (context.store.begin().await?, context.clock.now());
        let Some(Portion { visits, is_last }) = count_batches(&mut tx, last).await? else {
            return Ok(Outcome::Snooze(now + TURN));
        };
        let orgs: Vec<OrgId> = visits.iter().map(|visit| visit.org_id).collect::<BTreeSet<_>>().into_iter().collect();
        let used = visit::since(&mut tx, &orgs, quota::month(now)).await?;
        quota::check_scans(&mut tx, &used, now, &context.chance).await?;
        tell_clicks(&mut tx, &orgs, &visits, now, &context.chance).await?;
        tell_scans(&mut tx, &orgs, &visits, now, &context.chance).await?;
        tx.commit().await?;
        metrics::counter!("inkfleet_visits_counted_total").increment(visits.len() as u64);
        if is_last {
            return Ok(Outcome::Done);
        }
    }
}

/// Tells those who listen of the visits of links.
async fn tell_clicks(
    tx: &mut Tx<'_>,
    orgs: &[OrgId],
    visits: &[Counted],
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(), sqlx::Error> {
    let listeners = listeners::<Click>(tx, orgs).await?;
    let (heard, targets) = heard(&listeners, visits);
    if heard.is_empty() {
        return Ok(());
    }
    let links = link::find_all(tx, &targets).await?;
    let links: HashMap<Uuid, (&Link, Route)> = links.iter().map(|link| (link.id.0, (link, Route::of(link)))).collect();
    let clicks: Vec<Happened<Click>> = heard
        .into_iter()
        .filter_map(|visit| {
            let (link, route) = links.get(&visit.target_id)?;
            let subject = Click {
                link_id: link.id,
                slug: link.slug.clone(),
                visit: told(visit, route.led(&visit.branch).to_owned()),
            };
            Some(Happened { org_id: visit.org_id, change: Change::Visited, at: visit.at, subject })
        })
        .collect();
    tell(tx, &listeners, &clicks, None, now, chance).await?;
    Ok(())
}

/// Tells those who listen of the scans of QR codes.
async fn tell_scans(
    tx: &mut Tx<'_>,
    orgs: &[OrgId],
    visits: &[Counted],
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<(), sqlx::Error> {
    let listeners = listeners::<Scan>(tx, orgs).await?;
    let (heard, targets) = heard(&listeners, visits);
    if heard.is_empty() {
        return Ok(());
    }
    let codes: HashMap<Uuid, QrCode> =
        qr::find_all(tx, &targets).await?.into_iter().map(|code| (code.id.0, code)).collect();
    let through: Vec<Uuid> = codes.values().filter_map(|code| Some(code.link_id?.0)).collect();
    let links = link::find_all(tx, &through).await?;
    let routes: HashMap<LinkId, Route> = links.iter().map(|link| (link.id, Route::of(link))).collect();
    let scans: Vec<Happened<Scan>> = heard
        .into_iter()
        .filter_map(|visit| {
            let code = codes.get(&visit.target_id)?;
            let route = code.link_id.and_then(|id| routes.get(&id));
            let destination = route.map(|route| route.led(&visit.branch)).or_else(|| code.destination());
            let subject = Scan {
                qr_id: code.id.to_string(),
                name: code.name.clone(),
                short_code: code.short_code.clone()?,
                visit: told(visit, destination.unwrap_or_default().to_owned()),
            };
            Some(Happened { org_id: visit.org_id, change: Change::Visited, at: visit.at, subject })
        })
        .collect();
    tell(tx, &listeners, &scans, None, now, chance).await?;
    Ok(())
}

/// The visits that somebody hears of, and whose they are.
fn heard<'v, S>(listeners: &Listeners<S>, visits: &'v [Counted]) -> (Vec<&'v Counted>, Vec<Uuid>) {
    let heard: Vec<&Counted> = visits.iter().filter(|visit| listeners.any(visit.org_id)).collect();
    let targets: BTreeSet<Uuid> = heard.iter().map(|visit| visit.target_id).collect();
    (heard, targets.into_iter().collect())
}

/// A visit as events tell it.
fn told(visit: &Counted, destination: String) -> change::Visit {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    change::Visit {
        id: visit.id,
        at: visit.at,
        destination,
        country: known(&visit.country),
        device: known(&visit.device),
        system: known(&visit.system),
        browser: known(&visit.browser),
        referrer: known(&visit.referrer),
        is_bot: visit.is_bot,
        is_unique: visit.is_unique,
        branch: known(&visit.branch),
        ..change::Visit::default()
    }
}
