//! Random lives of a queue: whatever is enqueued, retried, put off, lost with a process or committed late, everything runs
//! until it is done, nothing runs twice at a time, and nothing waits for longer than a sweep.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{
    job::Priority,
    queue::{self, Claimed, Ending},
    store::Tx,
};

use super::{Worker, n_of, note, org, store, waiting};
use crate::support::TestApp;

/// A source of small decisions that a seed repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64*, by Vigna.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

/// What the story knows of the jobs: when each is due and visible, and who runs it.
#[derive(Default)]
struct Ledger {
    /// Waiting and committed: since when it could run.
    ready: BTreeMap<i32, DateTime<Utc>>,
    done: HashMap<i32, usize>,
}

#[tokio::test]
async fn everything_runs_to_its_end_once_at_a_time_and_no_later_than_a_sweep() {
    for seed in 1..=6 {
        live(seed).await;
    }
}

/// A job's number and when it is due.
type Due = (i32, DateTime<Utc>);

async fn live(seed: u64) {
    let app = TestApp::start().await;
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut ledger = Ledger::default();
    let mut late: Vec<(Tx, Vec<Due>)> = vec![];
    let mut workers = [Worker::start(&app).await, Worker::start(&app).await];
    let mut running: Vec<(usize, Claimed)> = vec![];
    let mut next = 0;
    for step in 0..400 {
        let now = app.clock.now();
        match dice.roll(10) {
            0..=2 => {
                let batch: Vec<_> = (0..=dice.roll(12))
                    .map(|_| {
                        next += 1;
                        let wait = if dice.roll(3) == 0 { dice.roll(8000) as i64 } else { 0 };
                        let priority = [Priority::High, Priority::Normal, Priority::Low][dice.roll(3) as usize];
                        let at = now + TimeDelta::milliseconds(wait);
                        (next, at, note(&app, org(dice.roll(12).into()), next).at(at).priority(priority))
                    })
                    .collect();
                let jobs: Vec<_> = batch.iter().map(|(.., job)| job.clone()).collect();
                if late.len() < 4 && dice.roll(3) == 0 {
                    let mut tx = app.store.begin().await.unwrap();
                    queue::enqueue_many(&mut tx, &jobs).await.unwrap();
                    late.push((tx, batch.into_iter().map(|(n, at, _)| (n, at)).collect()));
                } else {
                    store(&app, &jobs).await;
                    ledger.ready.extend(batch.into_iter().map(|(n, at, _)| (n, at)));
                }
            }
            3 if !late.is_empty() => {
                let (tx, jobs) = late.swap_remove(dice.roll(late.len() as u64) as usize);
                tx.commit().await.unwrap();
                ledger.ready.extend(jobs.into_iter().map(|(n, at)| (n, at.max(now))));
            }
            4..=6 => {
                for _ in 0..dice.roll(6) {
                    if !running.is_empty() {
                        let (who, job) = running.swap_remove(dice.roll(running.len() as u64) as usize);
                        end(&mut workers[who], job, &mut dice, &mut ledger, now).await;
                    }
                }
            }
            7 if dice.roll(6) == 0 => {
                let who = dice.roll(2) as usize;
                std::mem::replace(&mut workers[who], Worker::start(&app).await).die(&app).await;
                let reaped = workers[1 - who].reap(now).await;
                let (spent, freed): (Vec<_>, Vec<_>) = running
                    .extract_if(.., |(w, _)| *w == who)
                    .map(|(_, job)| job)
                    .partition(|job| job.attempt == job.max_attempts);
                let expected = queue::Reaped { sessions: 1, freed: freed.len(), dead: spent.len() };
                assert_eq!(reaped, expected, "seed {seed}, step {step}");
                ledger.ready.extend(freed.iter().map(|job| (n_of(job), now)));
                ledger.done.extend(spent.iter().map(|job| (n_of(job), 1)));
            }
            _ => app.clock.advance(TimeDelta::milliseconds(dice.roll(700) as i64)),
        }
        let now = app.clock.now();
        for (who, worker) in workers.iter_mut().enumerate() {
            worker.session.renew(&mut worker.conn, now).await.unwrap();
            let want = 1 + dice.roll(20) as usize;
            loop {
                let jobs = worker.claim(want, now).await;
                let all = jobs.len() < want;
                for job in jobs {
                    let ready = ledger.ready.remove(&n_of(&job));
                    assert!(ready.is_some_and(|at| at <= now), "seed {seed}, step {step}: {job:?} is not ready");
                    running.push((who, job));
                }
                if all {
                    break;
                }
            }
        }
        // Each worker claims at every step, and sweeps at the first step that is a second after its last sweep.
        let latest = now - TimeDelta::milliseconds(1000 + 700);
        let overdue: Vec<_> = ledger.ready.iter().filter(|(_, at)| **at < latest).collect();
        assert!(overdue.is_empty(), "seed {seed}, step {step}: {overdue:?} still wait");
    }
    for (tx, jobs) in late {
        tx.commit().await.unwrap();
        ledger.ready.extend(jobs);
    }
    for _ in 0..200 {
        let now = app.clock.now();
        for (who, job) in std::mem::take(&mut running) {
            end(&mut workers[who], job, &mut dice, &mut ledger, now).await;
        }
        app.clock.advance(TimeDelta::seconds(2));
        let jobs = workers[0].claim(1000, app.clock.now()).await;
        workers[0].session.renew(&mut workers[0].conn, app.clock.now()).await.unwrap();
        running.extend(jobs.into_iter().map(|job| (0, job)));
    }
    assert!(waiting(&app).await.iter().all(|job| job.state == "dead"), "seed {seed}: something never ran");
    assert_eq!(ledger.done.len(), next as usize);
    assert!(ledger.done.values().all(|times| *times == 1), "seed {seed}");
}

/// Ends a run in one of the ways that let the job live, or for good.
async fn end(worker: &mut Worker, job: Claimed, dice: &mut Dice, ledger: &mut Ledger, now: DateTime<Utc>) {
    let n = n_of(&job);
    let at = now + TimeDelta::milliseconds(1 + dice.roll(3000) as i64);
    let ending = match dice.roll(5) {
        0 if job.attempt < job.max_attempts => Ending::Retry(at, "again".into()),
        1 => Ending::Snooze(at),
        _ => Ending::Done,
    };
    if ending == Ending::Done {
        *ledger.done.entry(n).or_default() += 1;
    } else {
        ledger.ready.insert(n, at);
    }
    assert_eq!(worker.end(&[job], ending, now).await, 1);
}
