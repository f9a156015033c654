//! Sessions: who holds jobs, and who gets them when the holder is gone.

use chrono::TimeDelta;
use jobs::{
    job::Queue,
    lane::LaneSet,
    queue::{self, Ending, Reaped, Session},
};
use sqlx::{Connection, PgConnection};

use super::{Job, Note, Worker, note, ns_of, org, store, wait_for_lock, waiting};
use crate::support::TestApp;

async fn backend_of(conn: &mut PgConnection) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn the_jobs_of_a_process_that_died_are_free_at_once_and_count_the_attempt() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1)]).await;
    let (mut doomed, mut other) = (Worker::start(&app).await, Worker::start(&app).await);
    assert_eq!(doomed.claim(1, now).await.len(), 1);
    assert_eq!(other.reap(now).await, Reaped::default(), "it lives");
    let look = queue::others(&mut other.conn, other.session, now).await.unwrap();
    assert!(look.work && look.silent.is_empty());

    doomed.die(&app).await;
    assert_eq!(other.reap(now).await, Reaped { sessions: 1, freed: 1, dead: 0 });
    let jobs = other.claim(1, now).await;
    assert_eq!((ns_of(&jobs), jobs[0].attempt), (vec![1], 2));
    let reason = waiting(&app).await.remove(0).last_error.unwrap();
    assert!(reason.contains("died"), "{reason}");
    other.end(&jobs, Ending::Done, now).await;
}

#[tokio::test]
async fn a_job_that_kills_its_process_every_time_ends_dead() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1)]).await;
    let mut undertaker = Worker::start(&app).await;
    for attempt in 1..=Note::MAX_ATTEMPTS {
        let mut victim = Worker::start(&app).await;
        assert_eq!(victim.claim(1, now).await[0].attempt, attempt);
        victim.die(&app).await;
        let reaped = undertaker.reap(now).await;
        assert_eq!(reaped.dead, usize::from(attempt == Note::MAX_ATTEMPTS));
    }
    assert!(undertaker.claim(1, now).await.is_empty());
    assert_eq!(waiting(&app).await[0].state, "dead");
}

#[tokio::test]
async fn a_process_that_is_silent_for_longer_than_its_lease_loses_its_jobs_though_it_has_its_lock() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1)]).await;
    let (mut silent, mut other) = (Worker::start(&app).await, Worker::start(&app).await);
    silent.claim(1, now).await;
    let later = now + TimeDelta::seconds(20);
    assert!(silent.session.renew(&mut silent.conn, later).await.unwrap());
    assert_eq!(other.reap(later + TimeDelta::seconds(30)).await, Reaped::default(), "it has renewed its lease");
    let later = later + TimeDelta::seconds(31);
    assert_eq!(other.reap(later).await.freed, 1);
    assert!(!silent.session.renew(&mut silent.conn, later).await.unwrap(), "it is told");
    assert!(silent.claim(1, later).await.is_empty(), "and takes nothing under a session that is gone");
    assert_eq!(other.claim(1, later).await.len(), 1);
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn nobody_reaps_its_own_session() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1)]).await;
    let mut worker = Worker::start(&app).await;
    let jobs = worker.claim(1, now).await;
    let later = now + TimeDelta::hours(1);
    assert!(queue::others(&mut worker.conn, worker.session, later).await.unwrap().silent.is_empty());
    let mine = [worker.session.id];
    assert_eq!(queue::reap(&mut worker.conn, worker.session, &mine, later).await.unwrap(), Reaped::default());
    assert_eq!(worker.end(&jobs, Ending::Done, later).await, 1);
}

#[tokio::test]
async fn a_session_is_taken_up_again_after_its_connection_broke_and_keeps_its_jobs() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1)]).await;
    let (mut worker, mut other) = (Worker::start(&app).await, Worker::start(&app).await);
    let jobs = worker.claim(1, now).await;
    let session = worker.session;
    worker.die(&app).await;
    let mut conn = app.pinned().acquire().await.unwrap().detach();
    let resumed = session.resume(&mut conn, now).await.unwrap().expect("nobody took it over");
    assert_eq!(resumed.id, session.id);
    assert_eq!(other.reap(now).await, Reaped::default());
    let mut worker = Worker::with(&app, conn, resumed);
    assert_eq!(worker.end(&jobs, Ending::Done, now).await, 1);
}

#[tokio::test]
async fn a_session_is_taken_up_again_while_the_server_still_believes_in_the_old_connection() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    // Our end is gone for the program, but the server has not noticed.
    let mut half_open = Worker::start(&app).await;
    let old = backend_of(&mut half_open.conn).await;
    let mut conn = app.pinned().acquire().await.unwrap().detach();
    let resumed = half_open.session.resume(&mut conn, now).await.unwrap().expect("the old connection is ended");
    assert_eq!(resumed.id, half_open.session.id);
    assert_ne!(backend_of(&mut conn).await, old);
    assert!(half_open.conn.ping().await.is_err());
    wait_for_lock(&app, resumed.id, true).await;
}

#[tokio::test]
async fn a_session_that_was_taken_over_is_not_taken_up_again() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let (doomed, mut other) = (Worker::start(&app).await, Worker::start(&app).await);
    let session = doomed.session;
    doomed.die(&app).await;
    assert_eq!(other.reap(now).await.sessions, 1);
    let mut conn = app.pinned().acquire().await.unwrap().detach();
    assert_eq!(session.resume(&mut conn, now).await.unwrap(), None);
}

#[tokio::test]
async fn a_session_that_closes_gives_its_jobs_back_as_if_it_had_never_had_them() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1), note(&app, org(2), 2)]).await;
    let (mut leaving, mut other) = (Worker::start(&app).await, Worker::start(&app).await);
    assert_eq!(leaving.claim(2, now).await.len(), 2);
    let mut listener = sqlx::postgres::PgListener::connect(&app.database.url).await.unwrap();
    listener.listen(jobs::store::CHANNEL).await.unwrap();
    assert_eq!(leaving.session.close(&mut leaving.conn, now).await.unwrap(), 2);
    assert_eq!(listener.recv().await.unwrap().payload(), Queue::Deliveries.name(), "the others are told");

    assert!(leaving.claim(2, now).await.is_empty(), "its session is gone");
    let jobs = other.claim(2, now).await;
    assert_eq!(jobs.iter().map(|job| job.attempt).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(other.reap(now).await, Reaped::default(), "nothing is left of it");
    other.end(&jobs, Ending::Done, now).await;
}

#[tokio::test]
async fn neither_a_closing_nor_a_reaped_session_leaves_jobs_from_a_claim_under_way() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    for reaped in [false, true] {
        store(&app, &[note(&app, org(1), 1)]).await;
        let (mut leaving, mut other) = (Worker::start(&app).await, Worker::start(&app).await);
        // The claim is done, but its transaction is not over.
        let mut claim = app.pinned().acquire().await.unwrap().detach();
        let mut tx = claim.begin().await.unwrap();
        let lanes = &mut queue::Lanes::new(Queue::Deliveries);
        let (jobs, _) = queue::claim(&mut tx, lanes, LaneSet::ALL, leaving.session.id, 1, now).await.unwrap();
        assert_eq!(jobs.len(), 1);
        if reaped {
            leaving.session.renew(&mut leaving.conn, now - TimeDelta::hours(1)).await.unwrap();
            let silent = [leaving.session.id];
            let at_once = queue::reap(&mut other.conn, other.session, &silent, now).await.unwrap();
            assert_eq!(at_once, Reaped::default(), "not while it claims");
            tx.commit().await.unwrap();
            assert_eq!(queue::reap(&mut other.conn, other.session, &silent, now).await.unwrap().freed, 1);
        } else {
            let close = tokio::spawn(async move { leaving.session.close(&mut leaving.conn, now).await.unwrap() });
            wait_until_blocked(&app).await;
            tx.commit().await.unwrap();
            assert_eq!(close.await.unwrap(), 1);
        }
        let jobs = other.claim(1, now).await;
        assert_eq!(other.end(&jobs, Ending::Done, now).await, 1, "reaped: {reaped}");
    }
}

/// Waits until some statement of the story's database waits for a lock.
async fn wait_until_blocked(app: &TestApp) {
    for _ in 0..10_000 {
        let blocked: bool = sqlx::query_scalar(
            "select exists(select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')",
        )
        .fetch_one(app.store.pool())
        .await
        .unwrap();
        if blocked {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing waits");
}

#[tokio::test]
async fn jobs_of_a_claim_whose_answer_was_lost_are_given_back() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &[note(&app, org(1), 1), note(&app, org(2), 2), note(&app, org(3), 3)]).await;
    let (mut worker, mut other) = (Worker::start(&app).await, Worker::start(&app).await);
    let known = worker.claim(1, now).await;
    let theirs = other.claim(1, now).await;
    let lost = worker.claim(1, now).await;
    let given = worker.session.disown(&mut worker.conn, Queue::Deliveries, &[known[0].id], now).await.unwrap();
    assert_eq!(given, 1);
    let again = worker.claim(5, now).await;
    assert_eq!((ns_of(&again), again[0].attempt), (ns_of(&lost), 1));
    assert_eq!(worker.end(&known, Ending::Done, now).await, 1);
    assert_eq!(worker.end(&again, Ending::Done, now).await, 1);
    assert_eq!(other.end(&theirs, Ending::Done, now).await, 1);
}

#[tokio::test]
async fn a_session_is_seen_with_its_lock_or_not_at_all() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let mut watcher = Worker::start(&app).await;
    let url = app.database.url.clone();
    let opening = tokio::spawn(async move {
        let mut open = vec![];
        for _ in 0..100 {
            let mut conn = PgConnection::connect(&url).await.unwrap();
            Session::open(&mut conn, "story", now).await.unwrap();
            open.push(conn);
        }
        open
    });
    while !opening.is_finished() {
        assert!(queue::others(&mut watcher.conn, watcher.session, now).await.unwrap().silent.is_empty());
    }
    assert_eq!(opening.await.unwrap().len(), 100);
}

#[tokio::test]
async fn what_a_dead_or_stopping_process_held_is_found_without_the_index_of_a_long_backlog() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    store(&app, &(0..20_000).map(|n| note(&app, org(n as u128 % 8), n)).collect::<Vec<_>>()).await;
    let (mut doomed, mut leaving, mut other) =
        (Worker::start(&app).await, Worker::start(&app).await, Worker::start(&app).await);
    for worker in [&mut doomed, &mut leaving, &mut other] {
        assert_eq!(worker.claim(40, now).await.len(), 40);
    }
    doomed.die(&app).await;
    let before = index_pages(&mut other.conn).await;
    assert_eq!(other.reap(now).await, Reaped { sessions: 1, freed: 40, dead: 0 });
    let reaped = index_pages(&mut other.conn).await;
    assert_eq!(other.session.disown(&mut other.conn, Queue::Deliveries, &[], now).await.unwrap(), 40);
    let disowned = index_pages(&mut other.conn).await;
    assert_eq!(leaving.session.close(&mut leaving.conn, now).await.unwrap(), 40);
    let closed = index_pages(&mut leaving.conn).await;
    // A few for each of the 40, because its time has changed; a look through the index has one for each job that waits.
    for pages in [reaped - before, disowned - reaped, closed - disowned] {
        assert!(pages < 600, "{pages} pages of the index were read");
    }
    assert!(other.claim(1, now).await.len() == 1, "its connection is as it was");
    app.leaves_jobs(Note::KIND);
}

/// How many pages of the jobs' index were read so far, and of the table through it.
async fn index_pages(conn: &mut PgConnection) -> i64 {
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut *conn).await.unwrap();
    sqlx::query_scalar(
        "select idx_blks_read + idx_blks_hit + idx_tup_fetch
         from pg_statio_user_tables join pg_stat_user_tables using (relid) where relid = 'jobs'::regclass",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}
