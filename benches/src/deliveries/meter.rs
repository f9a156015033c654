//! What a run costs: statements, from `pg_stat_statements`, and processor time, from `/proc`.

use sqlx::{Connection, PgConnection, Row};

use super::stage::Stage;
use crate::program::{cpu_s, tree_cpu_s};

/// A look at the meters before a run.
#[derive(Debug)]
pub struct Meter {
    conn: PgConnection,
    pids: Pids,
    before: Cpu,
}

#[derive(Debug, Clone, Copy)]
struct Pids {
    postgres: u32,
    web: u32,
    worker: u32,
    receiver: u32,
}

/// Processor seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// Of Postgres and its children.
    pub postgres: f64,
    /// Of the web process.
    pub web: f64,
    /// Of the worker process.
    pub worker: f64,
    /// Of the receiver.
    pub receiver: f64,
}

/// What a run cost.
#[derive(Debug, Clone)]
pub struct Cost {
    /// Statements, those of all processes.
    pub calls: i64,
    /// Statements without `BEGIN` and `COMMIT`.
    pub calls_inside: i64,
    /// Processor time.
    pub cpu: Cpu,
    /// The statements with the most time: calls, total milliseconds, rows, text.
    pub heaviest: Vec<(i64, f64, i64, String)>,
}

impl Pids {
    fn cpu(self) -> anyhow::Result<Cpu> {
        Ok(Cpu {
            postgres: tree_cpu_s(self.postgres)?,
            web: cpu_s(self.web)?,
            worker: cpu_s(self.worker)?,
            receiver: cpu_s(self.receiver)?,
        })
    }
}

impl Meter {
    /// Begins to count. What its own connection asks is not counted.
    pub async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let pids = Pids {
            postgres: stage.postgres.pid()?,
            web: stage.web.pid()?,
            worker: stage.worker()?.pid()?,
            receiver: stage.receiver.pid()?,
        };
        let mut conn = stage.quiet().await?;
        sqlx::raw_sql("checkpoint").execute(&mut conn).await?;
        sqlx::raw_sql("select pg_stat_statements_reset()").execute(&mut conn).await?;
        Ok(Self { conn, pids, before: pids.cpu()? })
    }

    /// The cost since then.
    pub async fn stop(mut self) -> anyhow::Result<Cost> {
        let after = self.pids.cpu()?;
        let rows = sqlx::query(
            "select calls, total_exec_time, rows, query from pg_stat_statements order by total_exec_time desc",
        )
        .fetch_all(&mut self.conn)
        .await?;
        self.conn.close().await?;
        let statements: Vec<(i64, f64, i64, String)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        let is_bracket =
            |text: &str| ["BEGIN", "COMMIT", "ROLLBACK"].iter().any(|word| text.eq_ignore_ascii_case(word));
        let calls = |inside: bool| statements.iter().filter(|s| !inside || !is_bracket(&s.3)).map(|s| s.0).sum();
        Ok(Cost {
            calls: calls(false),
            calls_inside: calls(true),
            cpu: Cpu {
                postgres: after.postgres - self.before.postgres,
                web: after.web - self.before.web,
                worker: after.worker - self.before.worker,
                receiver: after.receiver - self.before.receiver,
            },
            heaviest: statements.into_iter().take(14).collect(),
        })
    }
}

impl Cost {
    /// The heaviest statements on standard error, for whoever looks for what dominates.
    pub fn explain(&self, deliveries: usize) {
        for (calls, ms, rows, text) in &self.heaviest {
            let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(90).collect();
            let us = ms * 1000.0 / deliveries as f64;
            eprintln!("{calls:>8} calls {us:>8.1} us/delivery {:>8.1} rows/call  {text}", *rows as f64 / *calls as f64);
        }
    }
}
