//! Workers that die, for a whole run of stories: with [`SETTING`] set, each job is run by one worker that is killed on its
//! way, by a second that is killed when it is through and before anybody hears of it, and by a third that lives.

use std::{cell::Cell, future::Future, pin::pin, task::Poll, time::Duration};

use jobs::{
    job::Queue,
    lane::LaneSet,
    queue::{self, Lanes, Session},
};
use workers::registry::Registry;

use super::TestApp;

/// What `bin/test` sets for the stories of scheduled work.
const SETTING: &str = "INKFLEET_TEST_WORKERS_DIE";
/// No handler waits more often than about so many times; who is to die later than that is through.
const STEPS: usize = 40;

/// Whether workers die in this run of the stories.
pub fn workers_die() -> bool {
    std::env::var_os(SETTING).is_some()
}

/// As `TestApp::drain`.
pub async fn drain(app: &TestApp) -> usize {
    thread_local! {
        /// Each worker of a story gets one step further than the one before it.
        static DIED: Cell<usize> = const { Cell::new(0) };
    }
    let registry = Registry::complete();
    let mut conn = app.pinned().acquire().await.unwrap().detach();
    let session = Session::open(&mut conn, "killed", app.clock.now()).await.unwrap();
    let mut runs = 0;
    loop {
        let mut idle = true;
        for queue in Queue::ALL {
            let now = app.clock.now();
            let mut lanes = Lanes::new(queue);
            let claim = queue::claim(&mut conn, &mut lanes, LaneSet::ALL, session.id, 64, now);
            let (claimed, _) = claim.await.unwrap();
            idle &= claimed.is_empty();
            runs += claimed.len();
            let mut ended = vec![];
            for job in claimed {
                let died = DIED.replace(DIED.get() + 1);
                die_after(died % STEPS + 1, registry.run(&app.context, job.clone())).await;
                bury(app).await;
                registry.run(&app.context, job.clone()).await;
                ended.extend(registry.run(&app.context, job).await);
            }
            queue::complete(&mut conn, &ended, app.clock.now()).await.unwrap();
        }
        if idle {
            break;
        }
    }
    session.close(&mut conn, app.clock.now()).await.unwrap();
    runs
}

/// Waits until Postgres has ended what the dead had begun. Until then others leave alone what they hold, which would be a
/// story of its own.
async fn bury(app: &TestApp) {
    let open = "select exists (select from pg_stat_activity
                               where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null)";
    for _ in 0..400 {
        let mut conn = app.pinned().acquire().await.unwrap();
        if !sqlx::query_scalar::<_, bool>(open).fetch_one(&mut *conn).await.unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("what a dead worker had begun goes on");
}

/// Drops `work` where it waits for the `steps`th time, as a killed process does.
pub async fn die_after(steps: usize, work: impl Future) {
    let (mut work, mut left) = (pin!(work), steps);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        work.as_mut().poll(context).map(drop)
    })
    .await;
}
