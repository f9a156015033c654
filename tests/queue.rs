//! The queue by itself: what is stored, who gets it and when, and what becomes of it, whatever happens to the processes.

mod claim;
mod complete;
mod random;
mod session;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::OrgId;
use futures::future::join_all;
use jobs::{
    job::{Job, NewJob, Queue},
    queue::{self, Claimed, Ended, Ending, Lanes, Occasion, Session, admin},
    store::{Ear, Store},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::TestApp;

/// A job that means nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    n: i32,
}

impl Job for Note {
    const KIND: &'static str = "story.note";
    const QUEUE: Queue = Queue::Deliveries;
    const MAX_ATTEMPTS: i16 = 3;
}

/// The organisation whose jobs wait in lane `n` of their priority, for `n` below 32.
fn org(n: u128) -> OrgId {
    OrgId(Uuid::from_u128((7 << 64) | n))
}

fn note(app: &TestApp, org_id: OrgId, n: i32) -> NewJob {
    NewJob::new(org_id, &Note { n }, app.clock.now(), &app.chance)
}

fn n_of(job: &Claimed) -> i32 {
    serde_json::from_str::<Note>(job.payload.get()).unwrap().n
}

fn ns_of(jobs: &[Claimed]) -> Vec<i32> {
    jobs.iter().map(n_of).collect()
}

async fn store(app: &TestApp, jobs: &[NewJob]) {
    let mut tx = app.store.begin().await.unwrap();
    queue::enqueue_many(&mut tx, jobs).await.unwrap();
    tx.commit().await.unwrap();
}

async fn waiting(app: &TestApp) -> Vec<admin::JobRow> {
    let mut conn = app.store.pool().acquire().await.unwrap();
    admin::list(&mut conn, None, None, None, 100_000).await.unwrap()
}

/// A worker process as the queue sees it: a session on a connection of its own, and what it remembers of the lanes.
struct Worker {
    conn: PgConnection,
    session: Session,
    lanes: Lanes,
    ear: Ear,
}

impl Worker {
    async fn start(app: &TestApp) -> Self {
        let mut conn = app.pinned().acquire().await.unwrap().detach();
        let session = Session::open(&mut conn, "story", app.clock.now()).await.unwrap();
        Self::with(app, conn, session)
    }

    fn with(app: &TestApp, conn: PgConnection, session: Session) -> Self {
        Self { conn, session, lanes: Lanes::new(Queue::Deliveries), ear: app.store.bell().ear(Queue::Deliveries) }
    }

    async fn claim(&mut self, want: usize, now: DateTime<Utc>) -> Vec<Claimed> {
        let rung = self.ear.take();
        let claim = queue::claim(&mut self.conn, &mut self.lanes, rung, self.session.id, want, now);
        claim.await.unwrap().0
    }

    /// Ends jobs alike, those with an even number with a history; how many it still held.
    async fn end(&mut self, jobs: &[Claimed], ending: Ending, now: DateTime<Utc>) -> usize {
        let ended: Vec<Ended> = jobs
            .iter()
            .map(|job| Ended { job: job.key(), ending: ending.clone(), history: n_of(job) % 2 == 0 })
            .collect();
        queue::complete(&mut self.conn, &ended, now).await.unwrap().held
    }

    async fn look(&mut self, now: DateTime<Utc>) -> queue::Next {
        queue::next_due(&mut self.conn, &mut self.lanes, now).await.unwrap()
    }

    /// Frees the jobs of every other session that looks dead.
    async fn reap(&mut self, now: DateTime<Utc>) -> queue::Reaped {
        let silent = queue::others(&mut self.conn, self.session, now).await.unwrap().silent;
        queue::reap(&mut self.conn, self.session, &silent, now).await.unwrap()
    }

    /// Its process dies; returns when Postgres has noticed.
    async fn die(self, app: &TestApp) {
        let session = self.session;
        drop(self.conn);
        wait_for_lock(app, session.id, false).await;
    }
}

/// Waits until Postgres says that the lock of a session is held, or is not.
async fn wait_for_lock(app: &TestApp, session: i32, held: bool) {
    for _ in 0..10_000 {
        let locks: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks
             where locktype = 'advisory' and classid::bigint = 1229867852 and objid::bigint = $1
               and database = (select oid from pg_database where datname = current_database())",
        )
        .bind(session)
        .fetch_one(app.store.pool())
        .await
        .unwrap();
        if (locks > 0) == held {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the lock of session {session} stays as it is");
}

#[tokio::test]
async fn a_job_exists_if_and_only_if_its_transaction_commits() {
    let app = TestApp::start().await;
    let mut tx = app.store.begin().await.unwrap();
    queue::enqueue(&mut tx, note(&app, org(1), 1)).await.unwrap();
    assert!(queue::enqueue_once(&mut tx, note(&app, org(1), 2), "monday").await.unwrap().is_first);
    drop(tx);
    assert_eq!(waiting(&app).await.len(), 0);

    let mut tx = app.store.begin().await.unwrap();
    queue::enqueue(&mut tx, note(&app, org(1), 1)).await.unwrap();
    assert!(
        queue::enqueue_once(&mut tx, note(&app, org(1), 2), "monday").await.unwrap().is_first,
        "the occasion was given back"
    );
    tx.commit().await.unwrap();
    assert_eq!(waiting(&app).await.len(), 2);
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn many_jobs_are_one_statement() {
    let app = TestApp::start().await;
    for statement in [
        "create table statements (rows bigint)",
        "create function count_statement() returns trigger language plpgsql as
         $$ begin insert into statements select count(*) from fresh; return null; end $$",
        "create trigger counts after insert on jobs referencing new table as fresh
         for each statement execute function count_statement()",
    ] {
        sqlx::raw_sql(statement).execute(app.store.pool()).await.unwrap();
    }
    store(&app, &(0..1000).map(|n| note(&app, org(n as u128 % 9), n)).collect::<Vec<_>>()).await;
    store(&app, &[]).await;
    let rows: Vec<i64> = sqlx::query_scalar("select rows from statements").fetch_all(app.store.pool()).await.unwrap();
    assert_eq!(rows, [1000]);
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn an_occasion_makes_one_job_however_often_it_is_announced() {
    let app = TestApp::start().await;
    let announce = |store: Store, job: NewJob, key: &'static str| async move {
        let mut tx = store.begin().await.unwrap();
        let first = queue::enqueue_once(&mut tx, job, key).await.unwrap();
        tx.commit().await.unwrap();
        first
    };
    let calls = (0..32).map(|n| tokio::spawn(announce(app.store.clone(), note(&app, org(1), n), "monday")));
    let told: Vec<Occasion> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(told.iter().filter(|occasion| occasion.is_first).count(), 1);
    let waiting_now = waiting(&app).await;
    assert_eq!(waiting_now.len(), 1);
    assert!(told.iter().all(|occasion| occasion.job_id == Some(waiting_now[0].id)), "all are told of the one job");

    let mut worker = Worker::start(&app).await;
    let now = app.clock.now();
    let jobs = worker.claim(10, now).await;
    assert_eq!(worker.end(&jobs, Ending::Done, now).await, 1);
    let again = announce(app.store.clone(), note(&app, org(1), 0), "monday").await;
    let job_id = Some(waiting_now[0].id);
    assert_eq!(again, Occasion { job_id, is_first: false }, "also after the job has finished");
    assert!(announce(app.store.clone(), note(&app, org(1), 0), "tuesday").await.is_first);
    let others = announce(app.store.clone(), note(&app, org(2), 0), "monday").await;
    assert!(others.is_first, "an occasion is one organisation's");
    assert_eq!(waiting(&app).await.len(), 2);
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn operators_see_how_full_a_queue_is() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let mut jobs: Vec<NewJob> = (0..5).map(|n| note(&app, org(n), 0).at(now - TimeDelta::seconds(90))).collect();
    jobs.extend((0..3).map(|n| note(&app, org(n), 1).at(now + TimeDelta::hours(1))));
    store(&app, &jobs).await;
    let mut worker = Worker::start(&app).await;
    let claimed = worker.claim(2, now).await;
    worker.end(&claimed[..1], Ending::Dead("bad".into()), now).await;

    let depths = admin::depths(&mut worker.conn, now).await.unwrap();
    let depth = depths.iter().find(|depth| depth.queue == Queue::Deliveries).unwrap();
    assert_eq!((depth.due, depth.scheduled, depth.running, depth.dead), (3, 3, 1, 1));
    assert_eq!(depth.oldest_due_s, 90.0);
    let others: BTreeSet<_> = depths.iter().filter(|d| d.queue != Queue::Deliveries).map(|d| (d.due, d.dead)).collect();
    assert_eq!(others, BTreeSet::from([(0, 0)]));
    app.leaves_jobs(Note::KIND);
}
