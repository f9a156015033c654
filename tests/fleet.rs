//! The running fleet, in real time: it starts what is due when it is due, stops when it is told, and costs little when
//! there is nothing to do.

mod failure;
mod kill;
mod restart;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::OrgId;
use jobs::{
    alert::CheckAlerts,
    billing::{BackfillInvoices, SyncSnapshots},
    digest::SweepDigests,
    dunning::SweepInvoices,
    expiry::ExpireCodes,
    housekeeping::KeepHouse,
    job::{Job, NewJob, Queue},
    link_health::SweepLinkHealth,
    marketing::{SendQueued, StartCampaigns},
    notification::DeliverNotifications,
    plan::AuditPlans,
    queue::{self, admin},
    schedule::ENTRIES,
    session_key::FetchSessionKeys,
    store::Store,
    trial::SweepTrials,
    visit::CountVisits,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use workers::{
    fleet::{self, Options},
    registry::{Outcome, Registry},
};

use crate::support::TestApp;

/// How long a story waits for what should come soon.
const PATIENCE: Duration = Duration::from_secs(30);

/// A job that is written on the board when it runs.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    n: u32,
}

impl Job for Note {
    const KIND: &'static str = "story.note";
    const QUEUE: Queue = Queue::System;
}

/// A job that runs until the board lets it go.
#[derive(Debug, Serialize, Deserialize)]
struct Wait {
    n: u32,
}

impl Job for Wait {
    const KIND: &'static str = "story.wait";
    const QUEUE: Queue = Queue::System;
}

/// A job that ends badly at first.
#[derive(Debug, Serialize, Deserialize)]
struct Stumble {
    how: How,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum How {
    Fail,
    Panic,
    /// Puts itself off by a second, in a transaction of its own, as a delivery's attempt does.
    PutOff,
}

impl Job for Stumble {
    const KIND: &'static str = "story.stumble";
    const QUEUE: Queue = Queue::System;
}

/// One start of a job.
#[derive(Debug, Clone)]
struct Start {
    n: u32,
    attempt: i16,
    fleet: String,
    at: DateTime<Utc>,
}

/// What happened, and what may go on.
#[derive(Debug)]
struct Board {
    starts: Mutex<Vec<Start>>,
    open: watch::Sender<bool>,
    stumbled: AtomicBool,
}

impl Board {
    /// One that lives as long as the test process, because handlers are plain functions of it.
    fn new() -> &'static Self {
        Box::leak(Box::new(Self { starts: Mutex::default(), open: watch::Sender::new(false), stumbled: false.into() }))
    }

    fn note(&self, start: Start) {
        self.starts.lock().unwrap().push(start);
    }

    fn starts(&self) -> Vec<Start> {
        self.starts.lock().unwrap().clone()
    }

    /// How often each job was started.
    fn counts(&self) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for start in self.starts() {
            *counts.entry(start.n).or_default() += 1;
        }
        counts
    }

    fn registry(&'static self, fleet: &'static str) -> Registry {
        let noted = move |n: u32, attempt: i16, at: DateTime<Utc>| {
            self.note(Start { n, attempt, fleet: fleet.to_owned(), at });
        };
        Registry::empty()
            .on(move |context: workers::context::Context, job: Note, run| async move {
                noted(job.n, run.attempt, context.clock.now());
                Ok(Outcome::Done)
            })
            .on(move |context: workers::context::Context, job: Wait, run| async move {
                noted(job.n, run.attempt, context.clock.now());
                self.open.subscribe().wait_for(|open| *open).await?;
                Ok(Outcome::Done)
            })
            .on(move |context: workers::context::Context, job: Stumble, run| async move {
                noted(0, run.attempt, context.clock.now());
                if self.stumbled.swap(true, Ordering::Relaxed) {
                    return Ok(Outcome::Done);
                }
                match job.how {
                    How::Fail => anyhow::bail!("the first time fails"),
                    How::Panic => panic!("the first time panics"),
                    How::PutOff => {
                        let now = context.clock.now();
                        let mut tx = context.store.begin().await?;
                        queue::reschedule_running(&mut tx, &[(run.key, now + TimeDelta::seconds(1))], now).await?;
                        tx.commit().await?;
                        Ok(Outcome::Recorded)
                    }
                }
            })
    }
}

/// The same with a handler for all that is scheduled, which says that it ran.
fn scheduled(registry: Registry, ran: impl Fn(u32) + Copy + Send + Sync + 'static) -> Registry {
    let done = move |n| async move {
        ran(n);
        Ok(Outcome::Done)
    };
    registry
        .on(move |_, _: KeepHouse, _| done(1))
        .on(move |_, _: FetchSessionKeys, _| done(2))
        .on(move |_, _: ExpireCodes, _| done(3))
        .on(move |_, _: SweepLinkHealth, _| done(4))
        .on(move |_, _: CountVisits, _| done(5))
        .on(move |_, _: CheckAlerts, _| done(6))
        .on(move |_, _: StartCampaigns, _| done(7))
        .on(move |_, _: SendQueued, _| done(8))
        .on(move |_, _: AuditPlans, _| done(9))
        .on(move |_, _: DeliverNotifications, _| done(10))
        .on(move |_, _: SweepDigests, _| done(11))
        .on(move |_, _: BackfillInvoices, _| done(12))
        .on(move |_, _: SyncSnapshots, _| done(13))
        .on(move |_, _: SweepInvoices, _| done(14))
        .on(move |_, _: SweepTrials, _| done(15))
}

/// A fleet in this process.
struct Fleet {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Fleet {
    async fn start(app: &TestApp, board: &'static Board, name: &'static str) -> Self {
        Self::start_with(app, board.registry(name), options(app, name)).await
    }

    /// Returns when its session is open.
    async fn start_with(app: &TestApp, registry: Registry, options: Options) -> Self {
        let stop = CancellationToken::new();
        let name = options.name.clone();
        let task = tokio::spawn(fleet::run_with(registry, app.context.clone(), options, stop.clone()));
        until("the fleet's session is open", || async { session_of(app, &name).await.is_some() }).await;
        Self { stop, task }
    }

    /// Stops it as SIGTERM does; returns how long that took.
    async fn stop(self) -> Duration {
        let begun = Instant::now();
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        begun.elapsed()
    }
}

fn options(app: &TestApp, name: &str) -> Options {
    Options {
        name: name.to_owned(),
        queues: Queue::ALL.to_vec(),
        concurrency: 8,
        grace: Duration::from_secs(10),
        scheduler: false,
        direct: app.direct().application_name(name),
    }
}

async fn session_of(app: &TestApp, name: &str) -> Option<i32> {
    sqlx::query_scalar("select id from job_workers where name = $1")
        .bind(name)
        .fetch_optional(app.store.pool())
        .await
        .unwrap()
}

/// Asks until the answer is yes; fails the story if that takes too long.
async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_started(board: &Board, n: usize) {
    until(&format!("{n} starts"), || async { board.starts.lock().unwrap().len() >= n }).await;
}

async fn until_empty(app: &TestApp) {
    until("no job is left", || async { rows(app).await.is_empty() }).await;
}

async fn rows(app: &TestApp) -> Vec<admin::JobRow> {
    let mut conn = app.store.pool().acquire().await.unwrap();
    admin::list(&mut conn, None, None, None, 10_000).await.unwrap()
}

/// Another process's way into the story's database: its bell is not the fleet's.
fn elsewhere(app: &TestApp) -> Store {
    Store::new(PgPoolOptions::new().max_connections(4).connect_lazy_with(app.direct()))
}

fn job<J: Job>(app: &TestApp, job: &J) -> NewJob {
    NewJob::new(OrgId::SYSTEM, job, app.clock.now(), &app.chance)
}

async fn enqueue(store: &Store, jobs: &[NewJob]) {
    let mut tx = store.begin().await.unwrap();
    queue::enqueue_many(&mut tx, jobs).await.unwrap();
    tx.commit().await.unwrap();
}

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).as_seconds_f64()
}

#[tokio::test]
async fn a_job_of_another_process_starts_at_once_on_an_idle_fleet() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let fleet = Fleet::start(&app, board, "one").await;
    let store = elsewhere(&app);
    let mut waits = vec![];
    for n in 0..5 {
        // Long enough for the fleet to have gone to sleep.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = app.clock.now();
        enqueue(&store, &[job(&app, &Note { n })]).await;
        until_started(board, n as usize + 1).await;
        waits.push(seconds(now, board.starts().last().unwrap().at));
    }
    waits.sort_by(f64::total_cmp);
    assert!(waits[2] < 0.5 && waits[4] < 3.0, "the poll is ten seconds: {waits:?}");
    fleet.stop().await;
}

#[tokio::test]
async fn every_fleet_hears_the_bell_of_its_own_process() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let one = Fleet::start(&app, board, "one").await;
    let two = Fleet::start(&app, board, "two").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    // More than one of them can run.
    enqueue(&app.store, &(0..12).map(|n| job(&app, &Wait { n })).collect::<Vec<_>>()).await;
    until_started(board, 12).await;
    board.open.send_replace(true);
    until_empty(&app).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_scheduled_job_starts_at_its_time_and_not_before() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let fleet = Fleet::start(&app, board, "one").await;
    let due = app.clock.now() + TimeDelta::milliseconds(1500);
    enqueue(&elsewhere(&app), &[job(&app, &Note { n: 1 }).at(due)]).await;
    until_started(board, 1).await;
    let late = seconds(due, board.starts()[0].at);
    assert!((0.0..1.0).contains(&late), "{late} s after its time");
    until_empty(&app).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_job_that_runs_again_does_so_at_its_time_on_a_fleet_with_nothing_else_to_do() {
    for how in [How::Fail, How::Panic, How::PutOff] {
        let app = TestApp::build().in_real_time().start().await;
        let board = Board::new();
        let fleet = Fleet::start(&app, board, "one").await;
        enqueue(&elsewhere(&app), &[job(&app, &Stumble { how })]).await;
        until_started(board, 2).await;
        let starts = board.starts();
        let gap = seconds(starts[0].at, starts[1].at);
        assert!((1.0..2.5).contains(&gap), "{how:?}: {gap} s");
        let attempts = [starts[0].attempt, starts[1].attempt];
        assert_eq!(attempts, if matches!(how, How::PutOff) { [1, 1] } else { [1, 2] }, "{how:?}");
        until_empty(&app).await;
        fleet.stop().await;
    }
}

#[tokio::test]
async fn two_fleets_share_the_work_and_repeat_nothing() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let one = Fleet::start(&app, board, "one").await;
    let two = Fleet::start(&app, board, "two").await;
    enqueue(&elsewhere(&app), &(0..2000).map(|n| job(&app, &Note { n })).collect::<Vec<_>>()).await;
    until_empty(&app).await;
    let counts = board.counts();
    assert_eq!(counts.len(), 2000);
    assert!(counts.values().all(|times| *times == 1));
    for name in ["one", "two"] {
        assert!(board.starts().iter().any(|start| start.fleet == name), "{name} had nothing to do");
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn no_job_waits_in_a_busy_fleet_for_a_place_while_another_has_one_free() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let busy = Fleet::start(&app, board, "busy").await;
    enqueue(&app.store, &(0..8).map(|n| job(&app, &Wait { n })).collect::<Vec<_>>()).await;
    until_started(board, 8).await;
    enqueue(&app.store, &[job(&app, &Note { n: 99 })]).await;
    let free = Fleet::start(&app, board, "free").await;
    until_started(board, 9).await;
    assert_eq!(board.starts()[8].fleet, "free");
    board.open.send_replace(true);
    until_empty(&app).await;
    busy.stop().await;
    free.stop().await;
}

#[tokio::test]
async fn a_fleet_that_stops_lets_running_jobs_end_and_starts_no_more() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let fleet =
        Fleet::start_with(&app, board.registry("one"), Options { concurrency: 2, ..options(&app, "one") }).await;
    enqueue(&app.store, &(0..6).map(|n| job(&app, &Wait { n })).collect::<Vec<_>>()).await;
    until_started(board, 2).await;
    fleet.stop.cancel();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!fleet.task.is_finished(), "two jobs run");
    board.open.send_replace(true);
    let took = fleet.stop().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(board.starts().len(), 2);
    let rows = rows(&app).await;
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.state == "waiting" && row.attempt == 0), "{rows:?}");
    assert_eq!(session_of(&app, "one").await, None);
    app.leaves_jobs(Wait::KIND);
}

#[tokio::test]
async fn a_fleet_gives_back_what_does_not_end_within_the_grace_period() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let grace = Duration::from_millis(500);
    let fleet = Fleet::start_with(&app, board.registry("one"), Options { grace, ..options(&app, "one") }).await;
    enqueue(&app.store, &[job(&app, &Wait { n: 1 })]).await;
    until_started(board, 1).await;
    let other = Fleet::start(&app, board, "two").await;
    let took = fleet.stop().await;
    assert!(took >= grace && took < grace + Duration::from_secs(5), "{took:?}");
    // The others are told, and the attempt does not count.
    until_started(board, 2).await;
    let again = board.starts().remove(1);
    assert_eq!((again.fleet.as_str(), again.attempt), ("two", 1));
    board.open.send_replace(true);
    until_empty(&app).await;
    other.stop().await;
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_is_a_dead_job_with_a_reason_and_an_unknown_kind_waits_for_a_newer_worker() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let fleet = Fleet::start(&app, board, "one").await;
    enqueue(
        &app.store,
        &[job(&app, &Note { n: 1 }), job(&app, &Note { n: 2 })].map(|j| j.at(app.clock.now() + TimeDelta::seconds(1))),
    )
    .await;
    for (kind, payload, n) in [("story.note", json!({"n": "one"}), 1), ("story.of_tomorrow", json!({}), 2)] {
        sqlx::query("update jobs set kind = $1, payload = $2 where payload = $3")
            .bind(kind)
            .bind(payload)
            .bind(json!({"n": n}))
            .execute(app.store.pool())
            .await
            .unwrap();
    }
    until("both have failed", || async { rows(&app).await.iter().all(|row| row.last_error.is_some()) }).await;
    fleet.stop().await;
    let of = async |kind: &str| rows(&app).await.into_iter().find(|row| row.kind == kind).unwrap();
    let (unreadable, unknown) = (of("story.note").await, of("story.of_tomorrow").await);
    let (error, reason) = (unreadable.last_error.unwrap(), unknown.last_error.unwrap());
    assert!(unreadable.state == "dead" && error.starts_with("the payload does not decode: "), "{error}");
    assert!(unknown.state == "waiting" && reason.contains("no handler for the kind story.of_tomorrow"), "{reason}");
    assert!(board.starts().is_empty());
    app.leaves_jobs("story.of_tomorrow");
}

#[test]
#[should_panic(expected = "the kind alerts.check has no handler")]
fn a_kind_without_a_handler_stops_the_start() {
    let _ = Board::new().registry("one").covering(&jobs::KINDS);
}

#[test]
#[should_panic(expected = "the kind story.note is registered twice")]
fn two_handlers_for_a_kind_stop_the_start() {
    let _ = Board::new().registry("one").on(|_, _: Note, _| async { Ok(Outcome::Done) });
}

#[tokio::test]
async fn three_fleets_make_one_job_of_each_cron_slot() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let ran = move |n| board.note(Start { n, attempt: 1, fleet: String::new(), at: DateTime::UNIX_EPOCH });
    let registry = || scheduled(Registry::empty(), ran);
    let mut fleets = vec![];
    for name in ["one", "two", "three"] {
        fleets.push(Fleet::start_with(&app, registry(), Options { scheduler: true, ..options(&app, name) }).await);
    }
    until_started(board, ENTRIES.len()).await;
    until_empty(&app).await;
    for fleet in fleets {
        fleet.stop().await;
    }
    // One of each, or more if a slot ended meanwhile.
    let slots: i64 =
        sqlx::query_scalar("select count(*) from job_occasions").fetch_one(app.store.pool()).await.unwrap();
    until_empty(&app).await;
    assert_eq!(board.starts().len() as i64, slots);
}

#[tokio::test]
async fn an_idle_fleet_asks_less_than_one_question_a_second() {
    let app = TestApp::build().in_real_time().start().await;
    // Not over the beginning of a slot, when it has something to do.
    let (now, slot) = (app.clock.now(), jobs::schedule::next_slot(app.clock.now()));
    if slot - now < TimeDelta::seconds(20) {
        tokio::time::sleep((slot - now).to_std().unwrap()).await;
    }
    let board = Board::new();
    let registry = scheduled(board.registry("one"), |_| {});
    let fleet = Fleet::start_with(&app, registry, Options { scheduler: true, ..options(&app, "one") }).await;
    // Something has run, and that is over.
    enqueue(&app.store, &[job(&app, &Note { n: 1 })]).await;
    until_started(board, 1).await;
    // For five seconds it watches closely what becomes of the others.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (mut asked, end) = (BTreeSet::new(), Instant::now() + Duration::from_secs(8));
    let before = questions(&app, "one").await;
    while Instant::now() < end {
        asked.extend(questions(&app, "one").await.difference(&before).cloned());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Postgres notes a time for each part of a question.
    let mut asked: Vec<_> = asked.into_iter().map(|(at, pid, words)| (pid, words, at)).collect();
    asked.sort();
    asked.dedup_by(|later, one| {
        (later.0, &later.1) == (one.0, &one.1) && later.2 - one.2 < TimeDelta::milliseconds(100)
    });
    assert!(!asked.is_empty() && asked.len() < 8, "{asked:#?}");
    fleet.stop().await;
    ENTRIES.iter().for_each(|entry| app.leaves_jobs(entry.kind));
}

/// The last statements of a fleet's connections: when each began, where, and its first words.
async fn questions(app: &TestApp, fleet: &str) -> BTreeSet<(DateTime<Utc>, i32, String)> {
    sqlx::query_as(
        "select query_start, pid, left(query, 40) from pg_stat_activity
         where datname = current_database() and application_name = $1 and query_start is not null",
    )
    .bind(fleet)
    .fetch_all(app.store.pool())
    .await
    .unwrap()
    .into_iter()
    .collect()
}
