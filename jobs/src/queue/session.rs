//! Which processes hold jobs, and what happens when one of them dies.
//!
//! A session is a `job_workers` row and, on a direct connection, an advisory lock on its number. When the process or its
//! machine dies, Postgres frees the lock and the next look of any other process frees the jobs. The lease in the row is
//! the second net, for a process that hangs or a connection that is half open.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

/// The first key of the advisory locks: "INKL" in ASCII, so that they stand out in `pg_locks`.
const LOCK_CLASS: i32 = 0x494e_4b4c;
/// How long a session counts as alive after its last sign of life.
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// A process's right to hold jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The row's number, as `jobs.worker` shows it.
    pub id: i32,
}

impl Session {
    /// Opens a session. `conn` must be a direct connection (not through a transaction pooler) and stay open: the session
    /// ends with it.
    pub async fn open(conn: &mut PgConnection, name: &str, now: DateTime<Utc>) -> Result<Self, sqlx::Error> {
        // The lock is taken in the statement that makes the row, so that nobody sees the one without the other.
        let id = sqlx::query_scalar!(
            r#"with w as (insert into job_workers (name, started_at, lease_until) values ($1, $2, $3) returning id)
               select id as "id!" from w, lateral (select pg_advisory_lock($4, id)) locked"#,
            name,
            now,
            now + LEASE,
            LOCK_CLASS,
        )
        .fetch_one(conn)
        .await?;
        Ok(Self { id })
    }

    /// Takes an earlier session up again on a new connection; `false` when it was taken over in the meantime.
    pub async fn resume(self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
        let resumed = sqlx::query_scalar!(
            r#"with w as (update job_workers set lease_until = $2 where id = $1 returning id)
               select pg_try_advisory_lock($3, id) as "locked!" from w"#,
            self.id,
            now + LEASE,
            LOCK_CLASS,
        )
        .fetch_optional(conn)
        .await?;
        Ok(resumed == Some(true))
    }

    /// Renews the lease; `false` when the session was taken over.
    pub async fn renew(self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
        let done = sqlx::query!("update job_workers set lease_until = $2 where id = $1", self.id, now + LEASE)
            .execute(conn)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives back what is held and removes the row; the lock goes with its connection.
    pub async fn close(self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
        let given = super::give_back(conn, self.id, now).await?;
        sqlx::query!("delete from job_workers where id = $1", self.id).execute(conn).await?;
        Ok(given)
    }
}

/// What a look at the other sessions found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Sessions that were dead or silent.
    pub sessions: i64,
    /// Jobs that wait again.
    pub freed: i64,
    /// Jobs whose last allowed attempt died with its process.
    pub dead: i64,
    /// Jobs that living sessions other than the asking one hold.
    pub held_elsewhere: i64,
}

/// Frees the jobs of sessions whose lock is free or whose lease has run out.
pub async fn reap(conn: &mut PgConnection, mine: Session, now: DateTime<Utc>) -> Result<Reaped, sqlx::Error> {
    let row = sqlx::query!(
        r#"with gone as materialized (
             select id from job_workers
             where id <> $1 and (lease_until < $2 or pg_try_advisory_xact_lock($3, id))
             for update skip locked),
           freed as (
             update jobs set state = case when attempt >= max_attempts then 3 else 0 end, worker = null, run_at = $2,
                    last_error = 'the worker process that ran it died or fell silent'
             from gone where jobs.worker = gone.id and jobs.state = 1
             returning jobs.state, jobs.queue),
           removed as (delete from job_workers using gone where job_workers.id = gone.id)
           select (select count(*) from gone) as "sessions!",
                  (select count(*) from freed where state = 0) as "freed!",
                  (select count(*) from freed where state = 3) as "dead!",
                  (select count(*) from (select 1 from jobs where state = 1 and worker <> $1 limit 1) held) as "held!""#,
        mine.id,
        now,
        LOCK_CLASS,
    )
    .fetch_one(conn)
    .await?;
    Ok(Reaped { sessions: row.sessions, freed: row.freed, dead: row.dead, held_elsewhere: row.held })
}

/// Vacuums the hot table, unless another process is doing so. Autovacuum looks once a minute; a busy queue leaves a
/// hundred thousand dead index entries in that time, and claims would read through them.
pub async fn vacuum(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    // SKIP_LOCKED: if somebody is at it already, that is as good.
    sqlx::query("vacuum (truncate off, skip_locked on, index_cleanup on) jobs").execute(conn).await?;
    Ok(())
}
