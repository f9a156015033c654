//! The queue: one table, a handful of statements. This module and its parts alone name the `jobs` table.
//!
//! A row waits (state 0, due at `run_at`), runs (state 1, held by a `job_workers` row) or is dead (state 3, kept with
//! its error). A finished job leaves the table at once. Every time is passed in and comes from Postgres's clock (see
//! `domain::clock`).

pub mod admin;
mod backlog;
mod claim;
mod complete;
mod enqueue;
mod session;

use std::time::Duration;

pub use backlog::{Backlog, Waiting, backlog};
pub use claim::{Claimed, Lanes, Next, claim, next_due};
pub use complete::{Completed, Ended, Ending, JobKey, RowAt, complete, delete_running, reschedule_running};
pub use enqueue::{Occasion, enqueue, enqueue_many, enqueue_once};
pub use session::{Others, Reaped, SEARCH, Session, others, reap, vacuum};

/// Every idle worker looks at its queues at least this often, rung for or not.
pub const POLL: Duration = Duration::from_secs(10);
