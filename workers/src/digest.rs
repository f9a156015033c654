//! The weekly digest: the sweep that finds whose Monday morning it is, and the letters.

use std::collections::{BTreeMap, btree_map::Entry};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    digest::{self, Open, Report, Week},
    id::OrgId,
    mail::{NewMail, digest::WeeklyDigest},
    notification::{Letters, Subscription},
    org::{self, Org},
    visit,
};
use jobs::{
    digest::{SendDigests, SweepDigests},
    job::NewJob,
    mail::post,
    queue,
    store::Tx,
};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// The most organisations of one transaction of the sweep.
const ORGS: i64 = 1000;
/// The most letters of one transaction.
const LETTERS: i64 = 50;
/// How long letters wait for visits that are not counted yet.
const COUNTING: TimeDelta = TimeDelta::minutes(1);

/// Notes a digest for each member whose Monday morning it was, up to their Wednesday night, and has them sent.
///
/// Safe twice: a member has one for each Monday, and it is noted together with the job that sends it.
pub async fn sweep(context: Context, _: SweepDigests, _: Run) -> anyhow::Result<Outcome> {
    let (now, chance) = (context.clock.now(), &context.chance);
    let mornings = digest::mornings(now);
    if mornings.is_empty() {
        return Ok(Outcome::Done);
    }
    let mut behind = OrgId::SYSTEM;
    loop {
        let mut tx = context.store.begin().await?;
        let orgs = org::list_behind(&mut tx, behind, ORGS).await?;
        let Some(last) = orgs.last() else { return Ok(Outcome::Done) };
        behind = *last;
        let mut due = digest::note_due(&mut tx, &orgs, &mornings, now).await?;
        due.sort_unstable();
        due.dedup();
        let jobs: Vec<NewJob> =
            due.into_iter().map(|org_id| NewJob::new(org_id, &SendDigests {}, now, chance)).collect();
        queue::enqueue_many(&mut tx, &jobs).await?;
        tx.commit().await?;
    }
}

/// Sends the digests of an organisation that were noted and not sent.
///
/// Safe twice: a digest is settled together with its mail, under a lock on its row.
pub async fn send(context: Context, _: SendDigests, run: Run) -> anyhow::Result<Outcome> {
    let mut reports: BTreeMap<Week, Option<Report>> = BTreeMap::new();
    loop {
        let now = context.clock.now();
        let mut tx = context.store.begin().await?;
        let Some(org) = org::find(&mut tx, run.org_id).await? else {
            return Ok(Outcome::Cancel("the organisation is gone".into()));
        };
        let open = digest::lock_open(&mut tx, org.id, now, LETTERS).await?;
        if open.is_empty() {
            let next = digest::next_open(&mut tx, org.id).await?.filter(|next| *next > now);
            return Ok(next.map_or(Outcome::Done, Outcome::Snooze));
        }
        let mut settled = vec![];
        for it in &open {
            let loud = it.preferences.loud(it.zone, now);
            if it.is_wanted(loud) && loud > now {
                digest::put_off(&mut tx, org.id, it, loud).await?;
                continue;
            }
            settled.push(it);
            if !it.is_wanted(loud) {
                continue;
            }
            let report = match reports.entry(it.week) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if !visit::is_counted(&mut tx, it.week.end()).await? => {
                    return Ok(Outcome::Snooze(now + COUNTING));
                }
                Entry::Vacant(place) => place.insert(digest::report(&mut tx, org.id, it.week).await?),
            };
            if let Some(report) = report {
                write(&context, &mut tx, &org, it, report, now).await?;
            }
        }
        digest::settle(&mut tx, org.id, &settled, now).await?;
        tx.commit().await?;
    }
}

async fn write(
    context: &Context,
    tx: &mut Tx<'_>,
    org: &Org,
    to: &Open,
    report: &Report,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let subscription = Subscription { org_id: org.id, user_id: to.user_id, letters: Letters::Digest };
    let public_url = &context.settings.public_url;
    let digest = WeeklyDigest {
        org_name: &org.name,
        report,
        short_url: &context.settings.short_url,
        public_url,
        unsubscribe: &subscription.address(public_url, &context.sealing, &context.chance),
    };
    let slot = format!("{}/{}", to.user_id, to.monday);
    post(tx, &NewMail::new(org.id, digest.letter(), slot, to.email.clone()), now, &context.chance).await?;
    Ok(())
}
