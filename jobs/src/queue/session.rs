//! Which processes hold jobs, and what happens when one of them dies.
//!
//! A session is a `job_workers` row and, on a direct connection, an advisory lock on its number. When the process or its
//! machine dies, Postgres frees the lock, and any other process that sees it free twice frees the jobs. The lease in the
//! row is the second net, for a process that hangs or a connection that is half open.
//!
//! Whoever claims locks the row of its session against removal, so that no job is ever held by a session that is gone.
//!
//! No index leads from a session to its jobs, because each claim would pay for it. Who looks for them, which is rare,
//! reads the table from end to end: a third of a second for five million rows, where their index takes twelve.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::JobId;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{
    job::Queue,
    lane::LANES,
    store::{ANSWER, CHANNEL, within},
};

/// The first key of the advisory locks: "INKL" in ASCII, so that they stand out in `pg_locks`.
const LOCK_CLASS: i32 = 0x494e_4b4c;
/// How long a session counts as alive after its last sign of life.
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// A process's right to hold jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The row's number, as `jobs.worker` shows it.
    pub id: i32,
    /// The server process of the connection that holds the lock.
    backend: i32,
}

impl Session {
    /// Opens a session. `conn` must be a direct connection (not through a transaction pooler) and stay open: the session
    /// ends with it.
    pub async fn open(conn: &mut PgConnection, name: &str, now: DateTime<Utc>) -> Result<Self, sqlx::Error> {
        // The lock is taken in the statement that makes the row, so that nobody sees the one without the other.
        sqlx::query_as!(
            Self,
            r#"with w as (insert into job_workers (name, started_at, lease_until) values ($1, $2, $3) returning id)
               select id as "id!", pg_backend_pid() as "backend!" from w, lateral (select pg_advisory_lock($4, id)) locked"#,
            name,
            now,
            now + LEASE,
            LOCK_CLASS,
        )
        .fetch_one(conn)
        .await
    }

    /// Takes an earlier session up again on a new connection; `None` when it was taken over in the meantime.
    pub async fn resume(self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Option<Self>, sqlx::Error> {
        // Where only our end of the old connection broke, the server still keeps the other, and the lock with it.
        sqlx::query!(
            "select pg_terminate_backend(pid) from pg_locks
             where locktype = 'advisory' and classid::bigint = $1::int and objid::bigint = $2::int and pid = $3
               and pid <> pg_backend_pid()",
            LOCK_CLASS,
            self.id,
            self.backend,
        )
        .fetch_all(&mut *conn)
        .await?;
        let mut tx = conn.begin().await?;
        // Another process that looks whether the lock is free has it for an instant. The lock outlives the transaction.
        sqlx::query!("set local lock_timeout = '2s'").execute(&mut *tx).await?;
        let locked = sqlx::query!("select pg_advisory_lock($1, $2)", LOCK_CLASS, self.id).execute(&mut *tx).await;
        if let Err(error) = locked {
            return if is_lock_timeout(&error) { Ok(None) } else { Err(error) };
        }
        let resumed = sqlx::query_as!(
            Self,
            r#"update job_workers set lease_until = $2 where id = $1 returning id, pg_backend_pid() as "backend!""#,
            self.id,
            now + LEASE,
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(resumed)
    }

    /// Renews the lease; `false` when the session was taken over.
    pub async fn renew(self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
        let done = sqlx::query!("update job_workers set lease_until = $2 where id = $1", self.id, now + LEASE)
            .execute(conn)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Removes the session and gives everything that it still holds back to the others, at once and without counting the
    /// attempt; returns how many jobs that were. The connection may open another session.
    pub async fn close(self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
        let mut tx = conn.begin().await?;
        // First, because this waits for a claim that is still under way and leaves the next one nothing to hold by.
        sqlx::query!("delete from job_workers where id = $1", self.id).execute(&mut *tx).await?;
        let given = self.give_back(&mut tx, &Queue::ALL, &[], now).await?;
        for queue in Queue::ALL.into_iter().filter(|queue| given.iter().any(|name| name == queue.name())) {
            // Part of the transaction, because this process may end before its bell rings.
            sqlx::query!("select pg_notify($1, $2)", CHANNEL, queue.name()).fetch_all(&mut *tx).await?;
        }
        tx.commit().await?;
        // Not sooner: whoever finds the lock free while the row is there takes the session for dead.
        sqlx::query!("select pg_advisory_unlock($1, $2)", LOCK_CLASS, self.id).fetch_all(conn).await?;
        Ok(given.len())
    }

    /// Gives back the jobs of `queue` that the session holds without anybody's knowing: `known` are the others. A claim
    /// whose answer was lost with its connection leaves such jobs.
    pub async fn disown(
        self,
        conn: &mut PgConnection,
        queue: Queue,
        known: &[JobId],
        now: DateTime<Utc>,
    ) -> Result<usize, sqlx::Error> {
        let mut tx = within(ANSWER, conn.begin()).await?;
        let given = self.give_back(&mut tx, &[queue], known, now).await?;
        within(ANSWER, tx.commit()).await?;
        Ok(given.len())
    }

    /// Gives back what the session holds in some queues, but for `known`; the queue of each. Part of a transaction.
    async fn give_back(
        self,
        tx: &mut PgConnection,
        queues: &[Queue],
        known: &[JobId],
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, sqlx::Error> {
        let known: Vec<Uuid> = known.iter().map(|id| id.0).collect();
        let queues: Vec<&str> = queues.iter().map(|queue| queue.name()).collect();
        let mut given = vec![];
        for (from, to) in parts(tx).await? {
            let part = sqlx::query_scalar!(
                "update jobs set state = 0, worker = null, attempt = greatest(attempt - 1, 0), run_at = $4
                 where state = 1 and worker = $1 and queue = any($2) and not id = any($3)
                   and ctid >= $5::text::tid and ctid < $6::text::tid
                 returning queue",
                self.id,
                &queues as &[&str],
                &known,
                now,
                from,
                to,
            );
            given.extend(within(ANSWER, part.fetch_all(&mut *tx)).await?);
        }
        Ok(given)
    }
}

/// How long a search for a session's jobs may take in all. Each of its parts is answered within [`ANSWER`] or never, so a
/// connection that fell silent is noticed as soon as ever.
pub const SEARCH: Duration = Duration::from_secs(600);
/// How many pages of the table one statement of a search reads: 400 MB.
const PART: i64 = 50_000;

/// The table in parts, each from one place (`ctid`) up to another. For the rest of the transaction no index is read, which
/// would lead to one row after the other, each somewhere else.
async fn parts(tx: &mut PgConnection) -> Result<impl Iterator<Item = (String, String)> + use<>, sqlx::Error> {
    let pages = sqlx::query_scalar!(
        r#"select pg_relation_size('jobs') / current_setting('block_size')::int as "pages!"
           from set_config('enable_indexscan', 'off', true)"#
    );
    let pages = within(ANSWER, pages.fetch_one(tx)).await?;
    Ok((0..=pages / PART).map(|n| (format!("({},0)", n * PART), format!("({},0)", (n + 1) * PART))))
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some("55P03")
}

/// What a look at the other sessions shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Others {
    /// The sessions whose lock is free or whose lease has run out.
    pub silent: Vec<i32>,
    /// Whether there are others while jobs are due or run.
    pub work: bool,
    /// When Postgres was started: with a restart, every session loses its lock for a moment.
    pub server_since: DateTime<Utc>,
}

/// Looks at the other sessions and changes nothing.
pub async fn others(conn: &mut PgConnection, mine: Session, now: DateTime<Utc>) -> Result<Others, sqlx::Error> {
    sqlx::query_as!(
        Others,
        r#"select array(select id from job_workers
                        where id <> $1 and (lease_until < $2 or pg_try_advisory_xact_lock($3, id))) as "silent!",
                  exists(select from job_workers where id <> $1)
                    and exists(select from unnest($4::smallint[]) as visit(lane)
                               cross join lateral (select from jobs where lane = visit.lane and run_at <= $2 limit 1) due)
                    as "work!",
                  pg_postmaster_start_time() as "server_since!""#,
        mine.id,
        now,
        LOCK_CLASS,
        &(0..LANES).collect::<Vec<_>>(),
    )
    .fetch_one(conn)
    .await
}

/// What became of the jobs of dead sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Sessions that were dead or silent.
    pub sessions: usize,
    /// Jobs that wait again.
    pub freed: usize,
    /// Jobs whose last allowed attempt died with its process.
    pub dead: usize,
}

/// Removes those of `silent` that are dead or silent still, and frees their jobs; never `mine`. One look is not enough
/// to tell, because a process whose connection broke needs a moment to take its session up again.
pub async fn reap(
    conn: &mut PgConnection,
    mine: Session,
    silent: &[i32],
    now: DateTime<Utc>,
) -> Result<Reaped, sqlx::Error> {
    let mut tx = within(ANSWER, conn.begin()).await?;
    // A statement of its own: the next one sees what was claimed until this lock was held.
    let gone = sqlx::query_scalar!(
        "select id from job_workers
         where id = any($1) and id <> $2 and (lease_until < $3 or pg_try_advisory_xact_lock($4, id))
         for update skip locked",
        silent,
        mine.id,
        now,
        LOCK_CLASS,
    );
    let gone = within(ANSWER, gone.fetch_all(&mut *tx)).await?;
    if gone.is_empty() {
        return Ok(Reaped::default());
    }
    let mut states = vec![];
    for (from, to) in parts(&mut tx).await? {
        let part = sqlx::query_scalar!(
            "update jobs set worker = null, last_error = 'the worker process that ran it died or fell silent',
                    state = case when attempt >= max_attempts then 3 else 0 end,
                    lane = case when attempt >= max_attempts then -1 - lane else lane end,
                    run_at = case when attempt >= max_attempts then run_at else $2 end
             where state = 1 and worker = any($1) and ctid >= $3::text::tid and ctid < $4::text::tid
             returning state",
            &gone,
            now,
            from,
            to,
        );
        states.extend(within(ANSWER, part.fetch_all(&mut *tx)).await?);
    }
    let removal = sqlx::query!("delete from job_workers where id = any($1)", &gone);
    within(ANSWER, removal.execute(&mut *tx)).await?;
    within(ANSWER, tx.commit()).await?;
    let dead = states.iter().filter(|state| **state == 3).count();
    Ok(Reaped { sessions: gone.len(), freed: states.len() - dead, dead })
}

/// Vacuums the hot table, unless another process is doing so. Autovacuum looks once a minute; a busy queue leaves a
/// hundred thousand dead index entries in that time, and claims would read through them.
pub async fn vacuum(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    // SKIP_LOCKED: if somebody is at it already, that is as good.
    sqlx::query("vacuum (truncate off, skip_locked on, index_cleanup on) jobs").execute(conn).await?;
    Ok(())
}
