//! Connections that break under a running fleet: it goes on by itself, and nothing is lost or repeated.

use std::{sync::atomic::Ordering, time::Duration};

use chrono::TimeDelta;

use super::{Board, Fleet, Note, Wait, enqueue, job, rows, session_of, until, until_empty, until_started};
use crate::support::TestApp;

/// Ends the server's side of connections of the story's database, all or those of the session locks; how many.
async fn cut(app: &TestApp, only_sessions: bool) -> i64 {
    sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity a
         where datname = current_database() and pid <> pg_backend_pid() and application_name <> ''
           and (not $1 or exists(select from pg_locks l where l.pid = a.pid and locktype = 'advisory'))",
    )
    .bind(only_sessions)
    .fetch_one(app.store.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_fleet_whose_session_connection_is_cut_keeps_its_jobs_though_another_watches() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let one = Fleet::start(&app, board, "one").await;
    enqueue(&app.store, &(0..4).map(|n| job(&app, &Wait { n })).collect::<Vec<_>>()).await;
    until_started(board, 4).await;
    let two = Fleet::start(&app, board, "two").await;
    let session = session_of(&app, "one").await;
    for _ in 0..3 {
        let cut: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(l.pid)) from pg_locks l join pg_stat_activity a using (pid)
             where locktype = 'advisory' and application_name = 'one' and datname = current_database()",
        )
        .fetch_one(app.store.pool())
        .await
        .unwrap();
        assert_eq!(cut, 1);
        let id = session.unwrap();
        until("the lock is held again", || async {
            let held =
                "select exists(select from pg_locks where locktype = 'advisory' and objid::bigint = $1 and granted
                        and database = (select oid from pg_database where datname = current_database()))";
            sqlx::query_scalar(held).bind(i64::from(id)).fetch_one(app.store.pool()).await.unwrap()
        })
        .await;
        // Time for the other to look more than twice.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    assert_eq!(session_of(&app, "one").await, session, "it is the same session");
    board.open.send_replace(true);
    until_empty(&app).await;
    assert!(board.counts().values().all(|times| *times == 1), "{:?}", board.counts());
    enqueue(&app.store, &[job(&app, &Note { n: 9 })]).await;
    until_started(board, 5).await;
    until_empty(&app).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn fleets_whose_connections_are_all_cut_again_and_again_lose_nothing_and_repeat_nothing() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let one = Fleet::start(&app, board, "one").await;
    let two = Fleet::start(&app, board, "two").await;
    enqueue(&app.store, &(0..6).map(|n| job(&app, &Wait { n })).collect::<Vec<_>>()).await;
    until_started(board, 6).await;
    for round in 0..5_u32 {
        let notes: Vec<_> = (0..300).map(|n| job(&app, &Note { n: 1000 * (round + 1) + n })).collect();
        enqueue(&app.store, &notes).await;
        let some = board.starts().len() + 40;
        until_started(board, some.min(6 + 300 * (round as usize + 1))).await;
        assert!(cut(&app, false).await > 0);
    }
    board.open.send_replace(true);
    until_empty(&app).await;
    let counts = board.counts();
    assert_eq!(counts.len(), 6 + 5 * 300);
    let repeated: Vec<_> = board.starts().into_iter().filter(|start| counts[&start.n] > 1).collect();
    assert!(repeated.is_empty(), "{repeated:#?}");
    assert!(!board.stumbled.load(Ordering::Relaxed));
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn jobs_whose_claims_a_crash_forgot_are_claimed_again_and_not_run_again() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let fleet = Fleet::start(&app, board, "one").await;
    enqueue(&app.store, &(0..4).map(|n| job(&app, &Wait { n })).collect::<Vec<_>>()).await;
    until_started(board, 4).await;
    let forget = "update jobs set state = 0, worker = null, attempt = attempt - 1";
    sqlx::raw_sql(forget).execute(app.store.pool()).await.unwrap();
    // This one shows them where to look.
    enqueue(&app.store, &[job(&app, &Note { n: 9 })]).await;
    until("they are claimed again", || async { rows(&app).await.iter().all(|row| row.state == "running") }).await;
    until_started(board, 5).await;
    board.open.send_replace(true);
    until_empty(&app).await;
    assert!(board.counts().values().all(|times| *times == 1), "{:?}", board.counts());
    fleet.stop().await;
}

#[tokio::test]
async fn a_claim_that_is_committed_after_its_connection_was_lost_is_given_back_though_nothing_else_happens() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let fleet = Fleet::start(&app, board, "one").await;
    // A claim waits for this, and is cut off.
    let mut tx = app.store.begin().await.unwrap();
    sqlx::query("select from job_workers for update").execute(&mut *tx).await.unwrap();
    let later = app.clock.now() + TimeDelta::hours(1);
    enqueue(&app.store, &[job(&app, &Note { n: 1 }), job(&app, &Note { n: 2 }).at(later)]).await;
    let waits = async || -> bool {
        let claim = "select exists(select from pg_stat_activity where datname = current_database()
                                   and wait_event_type = 'Lock' and query like 'update jobs set state = 1%')";
        sqlx::query_scalar(claim).fetch_one(app.store.pool()).await.unwrap()
    };
    until("a claim waits", waits).await;
    assert!(cut(&app, false).await > 0);
    until("it is gone", async || !waits().await).await;
    tx.commit().await.unwrap();
    until_started(board, 1).await;
    // It has looked for what the lost one may have claimed, and found nothing.
    let claim = "update jobs set state = 1, worker = $1, attempt = 1, run_at = now() where attempt = 0";
    sqlx::query(claim).bind(session_of(&app, "one").await).execute(app.store.pool()).await.unwrap();
    until_started(board, 2).await;
    assert_eq!(board.starts()[1].attempt, 1);
    until_empty(&app).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_fleet_that_is_dropped_leaves_its_jobs_to_the_others() {
    let app = TestApp::build().in_real_time().start().await;
    let board = Board::new();
    let one = Fleet::start(&app, board, "one").await;
    enqueue(&app.store, &[job(&app, &Wait { n: 1 })]).await;
    until_started(board, 1).await;
    let two = Fleet::start(&app, board, "two").await;
    one.task.abort();
    until_started(board, 2).await;
    let again = board.starts().remove(1);
    assert_eq!((again.fleet.as_str(), again.attempt), ("two", 2));
    assert!(cut(&app, true).await >= 1);
    board.open.send_replace(true);
    until_empty(&app).await;
    two.stop().await;
}
