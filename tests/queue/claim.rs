//! Claims: what is due, once, in order, fairly, and at a bounded cost.

use std::collections::{BTreeMap, HashSet};

use chrono::TimeDelta;
use domain::id::OrgId;
use futures::future::join_all;
use jobs::{
    job::{Priority, Queue},
    lane::Lane,
    queue::{Claimed, Ending},
};

use super::{Job, Note, Worker, note, ns_of, org, store};
use crate::support::TestApp;

#[tokio::test]
async fn only_due_jobs_are_claimed_and_none_twice_by_sixteen_claimers_at_once() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let mut jobs: Vec<_> = (0..5000).map(|n| note(&app, org(n as u128 % 40), n)).collect();
    jobs.extend((5000..6000).map(|n| note(&app, org(n as u128 % 40), n).at(now + TimeDelta::microseconds(1))));
    store(&app, &jobs).await;

    let mut claimers = vec![];
    for n in 0..16 {
        let mut worker = Worker::start(&app).await;
        claimers.push(tokio::spawn(async move {
            let mut got = vec![];
            loop {
                let jobs = worker.claim(1 + n * 7, now).await;
                if jobs.is_empty() {
                    return got;
                }
                got.extend(ns_of(&jobs));
            }
        }));
    }
    let mut got: Vec<i32> = join_all(claimers).await.into_iter().flat_map(Result::unwrap).collect();
    // What one claimer had locked another passes by: the rest is found by a later claim.
    got.extend(ns_of(&Worker::start(&app).await.claim(10_000, now).await));
    got.sort_unstable();
    assert_eq!(got, (0..5000).collect::<Vec<_>>());
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn jobs_of_an_organisation_start_in_the_order_of_their_times() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let order = [3, 0, 4, 1, 2];
    store(&app, &order.map(|n| note(&app, org(1), n).at(now - TimeDelta::seconds(100 - i64::from(n))))).await;
    let mut worker = Worker::start(&app).await;
    assert_eq!(ns_of(&worker.claim(2, now).await), [0, 1]);
    assert_eq!(ns_of(&worker.claim(10, now).await), [2, 3, 4]);
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn a_higher_priority_goes_first_whatever_the_times() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let long_ago = now - TimeDelta::hours(1);
    store(
        &app,
        &[
            note(&app, org(1), 3).priority(Priority::Low).at(long_ago),
            note(&app, org(2), 2).at(long_ago),
            note(&app, org(3), 1).priority(Priority::High),
        ],
    )
    .await;
    let mut worker = Worker::start(&app).await;
    for n in [1, 2, 3] {
        assert_eq!(ns_of(&worker.claim(1, now).await), [n]);
    }
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn one_job_of_an_organisation_does_not_wait_behind_twenty_thousand_of_another() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let crowd: Vec<_> = (0..20_000).map(|n| note(&app, org(5), n).at(now - TimeDelta::hours(1))).collect();
    store(&app, &crowd).await;
    // In the crowd's own lane, in one before it and in one behind; to new processes and to those at work.
    for (at_work, lane) in [false, true].into_iter().flat_map(|at_work| [5 + 32, 4, 6].map(|lane| (at_work, lane))) {
        let mut worker = Worker::start(&app).await;
        if at_work {
            assert_eq!(worker.claim(100, now).await.len(), 100);
        }
        store(&app, &[note(&app, org(lane), -1)]).await;
        let mut got = worker.claim(100, now).await;
        got.extend(worker.claim(100, now).await);
        assert!(ns_of(&got).contains(&-1), "lane {lane}, at work: {at_work}");
        worker.session.close(&mut worker.conn, now).await.unwrap();
        sqlx::query("delete from jobs where payload = '{\"n\": -1}'").execute(&mut worker.conn).await.unwrap();
    }
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn organisations_with_backlogs_get_equal_shares() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    const ORGS: i32 = 10;
    // The first organisation's jobs are older than all others, and it has ten times as many.
    let jobs: Vec<_> = (0..ORGS)
        .flat_map(|o| (0..if o == 0 { 5000 } else { 500 }).map(move |n| (o, n)))
        .map(|(o, n)| {
            let age = TimeDelta::seconds(if o == 0 { 100_000 } else { 1000 } - n);
            note(&app, org(o as u128 * 5), o).at(now - age)
        })
        .collect();
    store(&app, &jobs).await;
    let mut worker = Worker::start(&app).await;
    let mut shares: BTreeMap<OrgId, usize> = BTreeMap::new();
    let mut count = |jobs: &[Claimed]| jobs.iter().for_each(|job| *shares.entry(job.org_id).or_default() += 1);
    // The first claims find out who has a backlog.
    for _ in 0..5 {
        worker.claim(100, now).await;
    }
    for _ in 0..20 {
        let jobs = worker.claim(100, now).await;
        assert_eq!(jobs.len(), 100, "claims stay worth their while");
        let orgs: HashSet<OrgId> = jobs.iter().map(|job| job.org_id).collect();
        assert_eq!(orgs.len(), 10, "every claim takes from everyone");
        count(&jobs);
    }
    let (least, most) = (*shares.values().min().unwrap(), *shares.values().max().unwrap());
    assert_eq!((least, most), (200, 200), "{shares:?}");
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn what_is_committed_late_is_found_by_the_next_sweep_also_in_a_full_house() {
    let app = TestApp::start().await;
    let mut worker = Worker::start(&app).await;
    let late = note(&app, org(9), -1);
    let mut tx = app.store.begin().await.unwrap();
    jobs::queue::enqueue(&mut tx, late).await.unwrap();
    app.clock.advance(TimeDelta::seconds(30));
    // Another organisation keeps the worker busy, one place at a time.
    store(&app, &(0..500).map(|n| note(&app, org(3), n)).collect::<Vec<_>>()).await;
    for _ in 0..100 {
        app.clock.advance(TimeDelta::milliseconds(3));
        assert!(worker.claim(1, app.clock.now()).await.iter().all(|job| job.org_id == org(3)));
    }
    tx.commit().await.unwrap();
    app.clock.advance(TimeDelta::seconds(1));
    let now = app.clock.now();
    let mut got = worker.claim(1, now).await;
    got.extend(worker.claim(1, now).await);
    assert!(ns_of(&got).contains(&-1), "{:?}", ns_of(&got));
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn a_job_committed_a_moment_after_a_later_one_was_claimed_is_in_the_next_claim() {
    let app = TestApp::start().await;
    let mut worker = Worker::start(&app).await;
    worker.claim(1, app.clock.now()).await;
    let earlier = note(&app, org(1), 1);
    let mut tx = app.store.begin().await.unwrap();
    jobs::queue::enqueue(&mut tx, earlier).await.unwrap();
    app.clock.advance(TimeDelta::milliseconds(5));
    store(&app, &[note(&app, org(1), 2)]).await;
    assert_eq!(ns_of(&worker.claim(1, app.clock.now()).await), [2]);
    tx.commit().await.unwrap();
    assert_eq!(ns_of(&worker.claim(1, app.clock.now()).await), [1]);
    app.leaves_jobs(Note::KIND);
}

#[tokio::test]
async fn the_next_due_time_is_known_and_what_was_passed_by_is_seen() {
    let app = TestApp::start().await;
    let mut worker = Worker::start(&app).await;
    let now = app.clock.now();
    assert_eq!(worker.look(now).await.at, None);
    let soon = now + TimeDelta::seconds(7);
    store(&app, &[note(&app, org(1), 1).at(soon + TimeDelta::seconds(1)), note(&app, org(2), 2).at(soon)]).await;
    assert!(worker.claim(10, now).await.is_empty());
    let next = worker.look(now).await;
    assert_eq!(next.at, Some(soon));
    assert!(next.again.is_some(), "a second look within a second reads from the marks");

    // Committed behind the marks: a look from the marks misses it, the next whole look and claim do not.
    let mut tx = app.store.begin().await.unwrap();
    jobs::queue::enqueue(&mut tx, note(&app, org(3), 3)).await.unwrap();
    app.clock.advance(TimeDelta::seconds(3));
    let now = app.clock.now();
    assert!(worker.claim(10, now).await.is_empty());
    worker.look(now).await;
    tx.commit().await.unwrap();
    let now = now + TimeDelta::milliseconds(200);
    assert!(worker.claim(10, now).await.is_empty());
    assert_eq!(worker.look(now).await.at, Some(soon));
    let now = now + worker_rest(worker.look(now).await.again);
    assert!(worker.look(now).await.at.unwrap() < now);
    let jobs = worker.claim(10, now).await;
    assert_eq!(ns_of(&jobs), [3]);
    worker.end(&jobs, Ending::Done, now).await;
    app.leaves_jobs(Note::KIND);
}

fn worker_rest(again: Option<std::time::Duration>) -> TimeDelta {
    TimeDelta::from_std(again.expect("not a whole look")).unwrap()
}

#[tokio::test]
async fn a_claim_stays_cheap_however_many_jobs_there_are() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let mut worker = Worker::start(&app).await;
    // Its plan is made while the table is empty, and kept.
    for _ in 0..6 {
        worker.claim(64, now).await;
        worker.look(now).await;
    }
    sqlx::query(
        "insert into jobs (id, org_id, queue, lane, kind, payload, max_attempts, run_at, created_at)
         select gen_random_uuid(), gen_random_uuid(), $1, $2 + n % 64, 'story.note', '{\"n\": 0}', 3,
                $3 + (n - 40000) * interval '1 second', $3
         from generate_series(1, 60000) n",
    )
    .bind(Queue::Deliveries.name())
    .bind(i32::from(Lane::new(Queue::Deliveries, Priority::Normal, org(0)).0))
    .bind(now)
    .execute(&mut worker.conn)
    .await
    .unwrap();
    sqlx::query("analyze jobs").execute(&mut worker.conn).await.unwrap();
    // Time for a sweep: the dearest kind of claim.
    let now = now + TimeDelta::seconds(1);
    let before = blocks(&mut worker).await;
    assert_eq!(worker.claim(64, now).await.len(), 64);
    let claimed = blocks(&mut worker).await;
    worker.look(now).await;
    let looked = blocks(&mut worker).await;
    assert_eq!((before.0, claimed.0), (looked.0, looked.0), "no sequential scan");
    // Three pages of index per lane and a few per job; the table and its indexes have thousands.
    assert!(claimed.1 - before.1 < 2500, "a claim read {} pages", claimed.1 - before.1);
    assert!(looked.1 - claimed.1 < 1000, "a look read {} pages", looked.1 - claimed.1);
    app.leaves_jobs(Note::KIND);
}

/// Sequential scans of the table, and pages of it and its indexes that were read, so far.
async fn blocks(worker: &mut Worker) -> (i64, i64) {
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut worker.conn).await.unwrap();
    sqlx::query_as(
        "select seq_scan, heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit
         from pg_stat_user_tables join pg_statio_user_tables using (relid) where relid = 'jobs'::regclass",
    )
    .fetch_one(&mut worker.conn)
    .await
    .unwrap()
}
