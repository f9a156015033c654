//! The queue: one table, a handful of statements. This module and its parts alone name the `jobs` table.
//!
//! A row waits (state 0, due at `run_at`), runs (state 1, held by a `job_workers` row) or is dead (state 3, kept with
//! its error). A finished job leaves the table at once. Every time is passed in and comes from Postgres's clock (see
//! `domain::clock`).

pub mod admin;
mod claim;
mod complete;
mod enqueue;
mod session;

pub use claim::{Claimed, Lanes, claim, next_due};
pub use complete::{Ended, Ending, JobKey, complete, delete_running, give_back, reschedule_running};
pub use enqueue::{enqueue, enqueue_many, enqueue_once};
pub use session::{Reaped, Session, reap, vacuum};
