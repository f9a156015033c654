//! Jobs and mails.

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use domain::{clock::Clock, id::JobId, mail};
use jobs::{
    queue::admin::{self, JobRow},
    store::Store,
};
use serde_json::json;

use super::print;

/// What an operator does with jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List jobs, oldest first.
    List {
        /// Only this queue.
        #[arg(long)]
        queue: Option<String>,
        /// Only this kind, such as mail.send.
        #[arg(long)]
        kind: Option<String>,
        /// Only waiting, running or dead ones.
        #[arg(long, value_parser = ["waiting", "running", "dead"])]
        state: Option<String>,
        /// How many at most.
        #[arg(long, default_value = "50")]
        limit: i64,
    },
    /// Show one job.
    Show {
        /// The job.
        id: JobId,
    },
    /// Make a dead or waiting job due at once, its attempts counted anew.
    Retry {
        /// The job.
        id: JobId,
    },
    /// Remove a dead or waiting job; a delivery whose job it was is given up.
    Cancel {
        /// The job.
        id: JobId,
    },
    /// Remove dead jobs; deliveries whose jobs they were are given up.
    Purge {
        /// Only those stored at least so many days ago.
        #[arg(long, default_value = "30")]
        days: i64,
    },
}

impl JobCommand {
    pub(super) async fn run(self, store: &Store, clock: &Clock) -> anyhow::Result<()> {
        let mut conn = store.pool().acquire().await?;
        match self {
            Self::List { queue, kind, state, limit } => {
                let rows = admin::list(&mut conn, queue.as_deref(), kind.as_deref(), state.as_deref(), limit).await?;
                rows.iter().try_for_each(show)?;
            }
            Self::Show { id } => show(&admin::find(&mut conn, id).await?.context("there is no such job")?)?,
            Self::Retry { id } => {
                if !admin::retry(&mut conn, id, clock.now()).await? {
                    bail!("there is no such job, or it runs");
                }
                print(&json!({"id": id, "retried": true}));
            }
            Self::Cancel { id } => {
                let Some(job) = admin::find(&mut conn, id).await? else { bail!("there is no such job") };
                if !remove(store, &job, clock).await? {
                    bail!("the job runs");
                }
                print(&json!({"id": id, "cancelled": true}));
            }
            Self::Purge { days } => {
                let (before, mut purged) = (clock.now() - TimeDelta::days(days), 0);
                for job in admin::list(&mut conn, None, None, Some("dead"), i64::MAX).await? {
                    purged += i32::from(job.created_at < before && remove(store, &job, clock).await?);
                }
                print(&json!({"purged": purged}));
            }
        }
        Ok(())
    }
}

/// Removes a job, and gives up the delivery whose job it was; `false` if it runs or is gone.
async fn remove(store: &Store, job: &JobRow, clock: &Clock) -> anyhow::Result<bool> {
    let mut tx = store.begin().await?;
    let removed = admin::cancel(&mut tx, job.id).await?;
    if removed {
        jobs::delivery::give_up(&mut tx, job, clock.now()).await?;
    }
    tx.commit().await?;
    Ok(removed)
}

fn show(row: &JobRow) -> anyhow::Result<()> {
    print(&serde_json::to_value(row)?);
    Ok(())
}

/// Shows every entry of the schedule.
pub(super) async fn schedule(store: &Store, clock: &Clock) -> anyhow::Result<()> {
    let entries = jobs::schedule::run::list(&mut *store.pool().acquire().await?, clock.now()).await?;
    for entry in entries {
        print(&serde_json::to_value(entry)?);
    }
    Ok(())
}

/// The arguments of `admin mails`.
#[derive(Debug, Args)]
pub struct ListMails {
    /// How many at most.
    #[arg(long, default_value = "20")]
    limit: i64,
    /// With the text of each.
    #[arg(long)]
    text: bool,
}

impl ListMails {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        let mut conn = store.pool().acquire().await?;
        for mail in mail::list(&mut conn, &mail::Filter::default(), self.limit).await? {
            let mut line = json!({
                "id": mail.id, "org_id": mail.org_id, "kind": mail.kind, "to": mail.recipient,
                "subject": mail.subject, "state": mail.state.name(), "transport": mail.transport,
                "created_at": mail.created_at, "error": mail.error,
            });
            if self.text {
                line["text"] = json!(mail.text);
            }
            print(&line);
        }
        Ok(())
    }
}
