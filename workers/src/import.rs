//! Imports: some lines at a time, each portion in one transaction with its results and how far the import has come.

use std::collections::HashMap;

use domain::{
    change::Change,
    id::LinkId,
    import::{self, Ended, Import, Outcome as LineOutcome, Record, Waiting},
    label::{self, Kind},
    link::{
        self,
        batch::{self, Done, Op, Refused},
    },
    notification::{self, News},
    org,
    plan::Plan,
};
use jobs::{import::RunImport, notification::notify, store::Tx};
use uuid::Uuid;

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// How many lines one transaction takes: it holds the organisation's row where the plan has a limit.
const PORTION: i64 = 200;

/// Makes the links of an import's lines.
///
/// Safe twice: links, results and the cursor of a portion commit together, under a lock on the import's row; what ended is
/// behind the cursor and never taken again.
pub async fn run(context: Context, job: RunImport, run: Run) -> anyhow::Result<Outcome> {
    loop {
        let mut tx = context.store.begin().await?;
        let Some(import) = import::lock(&mut tx, run.org_id, job.import_id).await? else {
            return Ok(Outcome::Cancel("the import is gone".into()));
        };
        let Some(org) = org::find(&mut tx, import.org_id).await? else {
            return Ok(Outcome::Cancel("the organisation is gone".into()));
        };
        let waiting = import::waiting(&mut tx, &import, PORTION).await?;
        if waiting.is_empty() {
            return Ok(Outcome::Done);
        }
        let ended = portion(&context, &mut tx, &import, org.plan, waiting, run.request_id.as_deref()).await?;
        let now = context.clock.now();
        import::advance(&mut tx, &import, &ended, now).await?;
        if ended.last().is_none_or(|line| line.place >= import.total)
            && let Some(import) = import::find(&mut tx, import.org_id, import.id).await?
        {
            notify(&mut tx, &[news(&import)], now, &context.chance).await?;
        }
        tx.commit().await?;
    }
}

/// How an import ended, for whoever asked for it.
fn news(import: &Import) -> News {
    let Import { created, updated, skipped, .. } = import;
    News {
        org_id: import.org_id,
        kind: notification::Kind::ImportFinished,
        title: "An import has ended".into(),
        text: format!(
            "Of {} lines, {created} made a link, {updated} changed one and {skipped} did nothing.",
            import.total
        ),
        path: format!("/imports/{}", import.id),
        maker: import.created_by,
        told: None,
    }
}

async fn portion(
    context: &Context,
    tx: &mut Tx<'_>,
    import: &Import,
    plan: Plan,
    waiting: Vec<Waiting>,
    request_id: Option<&str>,
) -> anyhow::Result<Vec<Ended>> {
    let (now, chance) = (context.clock.now(), &context.chance);
    let mut ended: Vec<Ended> = waiting.iter().map(skipped).collect();
    let good: Vec<(usize, &Record)> =
        waiting.iter().enumerate().filter_map(|(n, line)| Some((n, usable(line).ok()?))).collect();
    let mut names: Vec<&str> = good.iter().flat_map(|(_, record)| &record.tags).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let tags: HashMap<String, Uuid> = label::ensure(tx, import.org_id, Kind::Tag, &names, now, chance)
        .await?
        .into_iter()
        .map(|(name, id)| (name, id.0))
        .collect();
    let slugs: Vec<&str> = good.iter().filter_map(|(_, record)| record.slug.as_deref()).collect();
    let existing: HashMap<String, LinkId> = link::find_by_slugs(tx, import.org_id, &slugs).await?.into_iter().collect();
    let (mut places, mut ops): (Vec<usize>, Vec<Op<Refused>>) = (vec![], vec![]);
    for (n, record) in good {
        let tags: Vec<Uuid> = record.tags.iter().filter_map(|name| tags.get(name).copied()).collect();
        let op = match record.slug.as_ref().and_then(|slug| existing.get(slug)) {
            None => Op::Create(Box::new(record.link(import, tags, now, chance))),
            Some(id) if import.update_existing => {
                let record = record.clone();
                Op::Update(
                    *id,
                    Box::new(move |link| {
                        record.apply(link, tags, now);
                        Ok(())
                    }),
                )
            }
            Some(id) => {
                ended[n].reason = Some("A link of yours has this slug.".into());
                ended[n].link_id = Some(*id);
                continue;
            }
        };
        places.push(n);
        ops.push(op);
    }
    let answers = batch::run(tx, import.org_id, plan, &context.settings.short_url, ops, chance).await?.answers;
    let done: Vec<&Done> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    jobs::link::publish(tx, &done, &context.settings.short_url, request_id, now, chance).await?;
    for (n, answer) in places.into_iter().zip(answers) {
        match answer {
            Ok(done) => {
                let created = done.change == Change::Created;
                ended[n].outcome = if created { LineOutcome::Created } else { LineOutcome::Updated };
                ended[n].reason = None;
                ended[n].link_id = Some(done.link.id);
            }
            Err(refused) => ended[n].reason = Some(refused.to_string()),
        }
    }
    Ok(ended)
}

/// The link that a line describes, or why it does not.
fn usable(line: &Waiting) -> Result<&Record, String> {
    let record = line.record.as_deref().ok_or_else(|| line.reason.clone().unwrap_or_default())?;
    record.check().map(|()| record)
}

/// A line that did nothing, as far as it can be told by itself.
fn skipped(line: &Waiting) -> Ended {
    Ended { place: line.place, outcome: LineOutcome::Skipped, reason: usable(line).err(), link_id: None }
}
