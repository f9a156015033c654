//! Endings: what becomes of a job that was run, and of the endings that come too late.

use std::time::Duration;

use chrono::TimeDelta;
use jobs::{
    job::{Queue, backoff},
    queue::{self, Ended, Ending, admin},
};

use super::{Job, Note, Worker, note, ns_of, org, store, waiting};
use crate::support::TestApp;

#[tokio::test]
async fn a_finished_job_leaves_the_table_and_a_cancelled_one_its_reason() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1), note(&app, org(2), 2), note(&app, org(3), 3)]).await;
    let mut worker = Worker::start(&app).await;
    let jobs = worker.claim(3, now).await;
    let ended = [
        Ended { job: jobs[0].key(), ending: Ending::Done, history: true },
        Ended { job: jobs[1].key(), ending: Ending::Done, history: false },
        Ended { job: jobs[2].key(), ending: Ending::Cancelled("no\0 longer wanted".into()), history: false },
    ];
    assert_eq!(queue::complete(&mut worker.conn, &ended, now).await.unwrap().held, 3);
    assert!(waiting(&app).await.is_empty());
    let history: Vec<(String, Option<String>)> =
        sqlx::query_as("select outcome, reason from job_history order by outcome")
            .fetch_all(&mut worker.conn)
            .await
            .unwrap();
    let reason = "no\u{fffd} longer wanted".to_owned();
    assert_eq!(history, [("cancelled".into(), Some(reason)), ("done".into(), None)]);
}

#[tokio::test]
async fn a_job_that_fails_waits_and_counts_its_attempts_until_it_is_dead_and_can_be_run_again() {
    let app = TestApp::start().await;
    store(&app, &[note(&app, org(1), 1)]).await;
    let mut worker = Worker::start(&app).await;
    for attempt in [1, 2] {
        let now = app.clock.now();
        let jobs = worker.claim(1, now).await;
        assert_eq!((jobs[0].attempt, jobs[0].max_attempts), (attempt, 3));
        let again = now + TimeDelta::seconds(8);
        assert_eq!(worker.end(&jobs, Ending::Retry(again, format!("failure {attempt}")), now).await, 1);
        app.clock.set(again - TimeDelta::microseconds(1));
        assert!(worker.claim(1, app.clock.now()).await.is_empty());
        app.clock.set(again);
    }
    let now = app.clock.now();
    let jobs = worker.claim(1, now).await;
    assert_eq!(worker.end(&jobs, Ending::Dead("failure 3".into()), now).await, 1);

    app.clock.advance(TimeDelta::days(1));
    let now = app.clock.now();
    assert!(worker.claim(1, now).await.is_empty());
    let dead = admin::list(&mut worker.conn, None, None, Some("dead"), 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].attempt, dead[0].last_error.as_deref()), (3, Some("failure 3")));

    assert!(admin::retry(&mut worker.conn, dead[0].id, now).await.unwrap());
    let jobs = worker.claim(1, now).await;
    assert_eq!((ns_of(&jobs), jobs[0].attempt), (vec![1], 1));
    assert!(!admin::retry(&mut worker.conn, dead[0].id, now).await.unwrap(), "it runs");
    assert!(!admin::cancel(&mut worker.conn, dead[0].id).await.unwrap(), "it runs");
    worker.end(&jobs, Ending::Dead("once more".into()), now).await;
    assert!(admin::cancel(&mut worker.conn, dead[0].id).await.unwrap());
    assert!(admin::find(&mut worker.conn, dead[0].id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_snooze_does_not_count_as_an_attempt() {
    let app = TestApp::start().await;
    store(&app, &[note(&app, org(1), 1)]).await;
    let mut worker = Worker::start(&app).await;
    for _ in 0..5 {
        let now = app.clock.now();
        let jobs = worker.claim(1, now).await;
        assert_eq!(jobs[0].attempt, 1);
        worker.end(&jobs, Ending::Snooze(now + TimeDelta::minutes(1)), now).await;
        assert!(worker.claim(1, now).await.is_empty());
        app.clock.advance(TimeDelta::minutes(1));
    }
    app.leaves_jobs(Note::KIND);
}

#[test]
fn the_wait_doubles_up_to_ten_minutes_with_up_to_a_quarter_more_by_chance() {
    let waits: Vec<u64> = (1..=12).map(|attempt| backoff(attempt, 0.0).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    assert_eq!(backoff(3, 1.0), Duration::from_secs(5));
    assert_eq!(backoff(i16::MAX, 0.0), Duration::from_secs(600));
    assert_eq!(backoff(0, 0.0), Duration::from_secs(1));
}

#[tokio::test]
async fn the_ending_of_a_run_that_was_taken_over_changes_nothing() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1), note(&app, org(1), 2)]).await;
    let (mut slow, mut other) = (Worker::start(&app).await, Worker::start(&app).await);
    let lost = slow.claim(2, now).await;
    // It is silent for longer than its lease, and comes back.
    let later = now + TimeDelta::seconds(31);
    other.session.renew(&mut other.conn, later).await.unwrap();
    assert_eq!(other.reap(later).await.freed, 2);
    let taken = other.claim(2, later).await;
    assert_eq!(taken[0].attempt, 2);

    for ending in [
        Ending::Done,
        Ending::Cancelled("late".into()),
        Ending::Retry(later, "late".into()),
        Ending::Snooze(later),
        Ending::Dead("late".into()),
    ] {
        assert_eq!(slow.end(&lost, ending.clone(), later).await, 0, "{ending:?}");
    }
    let keys = [lost[0].key(), lost[1].key()];
    assert!(queue::delete_running(&mut slow.conn, &keys).await.unwrap().is_empty());
    let mut tx = app.store.begin().await.unwrap();
    assert!(queue::reschedule_running(&mut tx, &keys.map(|key| (key, later)), later).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    for row in waiting(&app).await {
        assert_eq!((row.state.as_str(), row.worker, row.attempt), ("running", Some(other.session.id), 2));
    }
    // Of both processes in one batch, as after a process had to take a new session.
    let keys = [lost[0].key(), taken[0].key()];
    assert_eq!(queue::delete_running(&mut other.conn, &keys).await.unwrap().len(), 1);
    assert_eq!(other.end(&taken, Ending::Done, later).await, 1);
    assert!(waiting(&app).await.is_empty());
}

#[tokio::test]
async fn an_ending_that_is_told_twice_does_not_end_the_next_run() {
    let app = TestApp::start().await;
    store(&app, &[note(&app, org(1), 1)]).await;
    let mut worker = Worker::start(&app).await;
    let now = app.clock.now();
    let first = worker.claim(1, now).await;
    let soon = now + TimeDelta::milliseconds(1);
    assert_eq!(worker.end(&first, Ending::Snooze(soon), now).await, 1);
    let second = worker.claim(1, soon).await;
    assert_eq!((first[0].attempt, first[0].worker), (second[0].attempt, second[0].worker), "the same to look at");
    // As if the answer to the first had been lost.
    assert_eq!(worker.end(&first, Ending::Snooze(soon), soon).await, 0);
    assert_eq!(worker.end(&first, Ending::Done, soon).await, 0);
    assert_eq!(worker.end(&second, Ending::Done, soon).await, 1);
}

#[tokio::test]
async fn a_run_ends_also_if_postgres_forgot_its_claim_and_nobody_has_claimed_it_since() {
    let app = TestApp::start().await;
    let jobs: Vec<_> = (0..10).map(|n| note(&app, org(1), n)).collect();
    store(&app, &jobs).await;
    let (mut worker, mut other, now) = (Worker::start(&app).await, Worker::start(&app).await, app.clock.now());
    let claimed = worker.claim(10, now).await;
    let forget = "update jobs set state = 0, worker = null, attempt = attempt - 1";
    sqlx::raw_sql(forget).execute(app.store.pool()).await.unwrap();
    assert_eq!(other.claim(1, now).await.len(), 1);
    let later = now + TimeDelta::seconds(5);
    let mut held = 0;
    for (jobs, ending) in claimed.chunks(2).zip([
        Ending::Done,
        Ending::Retry(later, "again".into()),
        Ending::Snooze(later),
        Ending::Dead("no".into()),
        Ending::Cancelled("no".into()),
    ]) {
        held += worker.end(jobs, ending, now).await;
    }
    assert_eq!(held, 9, "one of them is the other's now");
    let mut left: Vec<(String, i16)> = waiting(&app).await.into_iter().map(|row| (row.state, row.attempt)).collect();
    left.sort();
    let state = |state: &str, attempt| (state.to_owned(), attempt);
    let mut expected = vec![state("dead", 1), state("dead", 1), state("waiting", 0), state("waiting", 0)];
    expected.extend([state("waiting", 1), state("waiting", 1), state("running", 1)]);
    expected.sort();
    assert_eq!(left, expected);
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn jobs_end_also_after_somebody_wrote_the_whole_table_anew() {
    let app = TestApp::start().await;
    let jobs: Vec<_> = (0..20).map(|n| note(&app, org(1), n)).collect();
    store(&app, &jobs).await;
    let (mut worker, now) = (Worker::start(&app).await, app.clock.now());
    let claimed = worker.claim(20, now).await;
    // Rows move into the gap that these leave.
    assert_eq!(worker.end(&claimed[..3], Ending::Done, now).await, 3);
    sqlx::raw_sql("vacuum full jobs").execute(app.store.pool()).await.unwrap();
    let keys: Vec<_> = claimed[3..6].iter().map(|job| job.key()).collect();
    assert_eq!(queue::delete_running(&mut worker.conn, &keys).await.unwrap().len(), 3);
    assert_eq!(worker.end(&claimed[6..], Ending::Done, now).await, 14);
    assert!(waiting(&app).await.is_empty());
}

#[tokio::test]
async fn idle_workers_are_told_of_what_runs_again_soon_and_only_of_that() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1), note(&app, org(2), 2)]).await;
    let mut worker = Worker::start(&app).await;
    let jobs = worker.claim(2, now).await;
    let mut told = vec![];
    for (job, wait) in jobs.iter().zip([TimeDelta::hours(1), TimeDelta::seconds(5)]) {
        let ended = [Ended { job: job.key(), ending: Ending::Retry(now + wait, "no".into()), history: false }];
        told.push(queue::complete(&mut worker.conn, &ended, now).await.unwrap().soon.contains_key(&Queue::Deliveries));
    }
    assert_eq!(told, [false, true]);
    app.leaves_jobs(Note::KIND);
}
