//! One round: load and faults, then peace until everything has come to its end, then the ledger.

mod strike;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use domain::clock::Clock;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::PgConnection;
use tokio::{task::JoinSet, time::Instant};
use uuid::Uuid;

use self::strike::Lasting;
use super::{
    cast::{self, Endpoint, Part},
    database::Database,
    evidence::Evidence,
    fault::{self, Plan},
    fleet::{Member, Role, WEBS, WORKERS},
    ledger::{Books, Crash, Incident, Ledger, Sums},
    proxy::Way,
    publisher,
};
use crate::program::{Keys, Program};

/// The database of the round under way.
const DATABASE: &str = "round";
/// How long a process may take until it is ready.
const READY: Duration = Duration::from_secs(20);
/// How long the jobs of a dead process may wait for another, whatever else happens meanwhile: after a restart of Postgres
/// five seconds are for those that lost their sessions with it.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);
/// How long everything that is due may take once the faults are over.
const SETTLE: Duration = Duration::from_secs(120);

/// What all rounds share.
pub struct Stage {
    /// How to run the program.
    pub program: Program,
    /// Postgres's time.
    pub clock: Clock,
    /// By organisation.
    pub keys: Vec<Keys>,
    /// All of them.
    pub endpoints: Vec<Endpoint>,
    /// The only fault that is wanted.
    pub only: Option<String>,
}

struct Round<'a> {
    stage: &'a Stage,
    database: &'a mut Database,
    members: Vec<Member>,
    incidents: Vec<Incident>,
    told: Vec<String>,
    evidence: Vec<Evidence>,
    takeovers: JoinSet<Duration>,
    slowest: Duration,
    crashes: Vec<Crash>,
    http: reqwest::Client,
}

/// Plays one; its line for the report, or the promises that were broken.
pub async fn play(
    stage: &Stage,
    database: &mut Database,
    seed: u64,
    events: usize,
    dir: &Path,
) -> anyhow::Result<String> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    let mut rng = StdRng::seed_from_u64(seed);
    // Anew, because no clock of this round may be behind the server's start.
    database.stop().await?;
    database.set_offset(0)?;
    database.begin().await?;
    database.copy(super::TEMPLATE, DATABASE).await?;
    follow(stage, &mut database.connect(DATABASE).await?).await?;
    stage.endpoints.iter().for_each(|endpoint| drop(endpoint.receiver.take()));
    let mut members = vec![];
    for (role, count) in [(Role::Web, WEBS), (Role::Worker, WORKERS)] {
        for number in 1..=count {
            members.push(Member::new(role, number, database, DATABASE, &stage.program, dir).await?);
        }
    }
    let http = crate::program::client()?;
    let (incidents, told, evidence) = (vec![], vec![], vec![]);
    let takeovers = JoinSet::new();
    let mut round = Round {
        stage,
        database,
        members,
        incidents,
        told,
        evidence,
        takeovers,
        slowest: Duration::ZERO,
        crashes: vec![],
        http,
    };
    let outcome = round.play(&mut rng, seed, events, dir).await;
    if outcome.is_err() {
        // Whatever state it is in: the rows may tell, and who waits for whom.
        if let Err(error) = round.write_activity(&dir.join("activity.txt")).await {
            println!("  what Postgres was doing could not be written down: {error:#}");
        }
        if let Err(error) = round.database.dump(DATABASE, &dir.join("database.sql")).await {
            println!("  the database could not be written down: {error:#}");
        }
        let _ = fs::copy(round.database.log(), dir.join("postgres.log"));
    }
    outcome
}

impl Round<'_> {
    async fn play(&mut self, rng: &mut StdRng, seed: u64, events: usize, dir: &Path) -> anyhow::Result<String> {
        let begun = Instant::now();
        for member in &mut self.members {
            member.start(&[])?;
        }
        self.wait_until_ready().await?;
        let ready = begun.elapsed();

        let plan = fault::draw(rng, seed, self.stage.only.as_deref());
        let flow = Duration::from_secs_f64((events as f64 / 900.0).clamp(2.0, 30.0));
        // There must be work before, during and after a fault that lasts.
        let flow = plan.slow.map_or(flow, |blow| flow.max(blow.lasts));
        let orders = publisher::draw(rng, events);
        let parts = cast::choose_parts(rng, &self.stage.endpoints, flow);

        let acting = self.act(&parts);
        let urls: Vec<String> = self.of(Role::Web).map(|member| format!("http://127.0.0.1:{}", member.port)).collect();
        let (drawn, keys) = (orders.len(), self.stage.keys.clone());
        let orders = std::sync::Arc::new(orders);
        let publishing = tokio::spawn({
            let orders = orders.clone();
            async move { publisher::publish(orders, &keys, urls, flow).await }
        });
        self.afflict(&plan, flow).await?;
        let accepted = publishing.await??;
        drop(acting);
        let flown = begun.elapsed();

        let steps = self.settle(rng, &parts).await?;
        let settled = begun.elapsed();
        let url = format!("http://127.0.0.1:{}", self.members[0].port);
        let accepted = publisher::publish_again(&orders, orders.len() / 50, &self.stage.keys, &url, accepted).await?;
        self.check_metrics().await?;
        self.stop(|_| true).await?;
        let mut conn = self.database.connect(DATABASE).await?;
        let mut rows: Vec<(Uuid, String)> =
            sqlx::query_as("select id, slug from organizations").fetch_all(&mut conn).await?;
        rows.sort_by(|a, b| a.1.cmp(&b.1));
        let ledger = Ledger {
            endpoints: &self.stage.endpoints,
            orgs: rows.into_iter().map(|(id, _)| id).collect(),
            orders: &orders,
            accepted,
            receipts: self.stage.endpoints.iter().map(|endpoint| endpoint.receiver.take()).collect(),
            incidents: std::mem::take(&mut self.incidents),
            crashes: std::mem::take(&mut self.crashes),
            books: Books::read(&mut conn).await?,
        };
        let (broken, sums) = ledger.check();
        if !broken.is_empty() {
            fs::write(dir.join("broken.txt"), broken.join("\n"))?;
            let incidents: Vec<String> = ledger
                .incidents
                .iter()
                .map(|i| format!("{} {} ({} in flight)", i.at, i.what, i.in_flight.len()))
                .collect();
            fs::write(dir.join("incidents.txt"), incidents.join("\n"))?;
            let shown = broken.iter().take(5).map(|line| format!("\n  - {line}")).collect::<String>();
            bail!("{} promises broken; faults: {}{shown}", broken.len(), self.told.join(", "));
        }
        let phases = format!(
            "ready {:.1} s, faults {:.1} s, {steps} steps of the clock {:.1} s",
            ready.as_secs_f64(),
            (flown - ready).as_secs_f64(),
            (settled - flown).as_secs_f64()
        );
        Ok(format!("{}; {phases}", self.line(events, drawn, &ledger, &sums)))
    }

    fn line(&self, events: usize, requests: usize, ledger: &Ledger<'_>, sums: &Sums) -> String {
        let slowest = match self.slowest.as_millis() {
            0 => String::new(),
            ms => format!(", taken over within {ms} ms"),
        };
        let forgotten = match sums.forgotten {
            0 => String::new(),
            count => format!(" ({count} of claims that a crash forgot)"),
        };
        format!(
            "{events} events in {requests} requests ({} repeated), {}, {} webhook requests, {} repeats of {} in flight{forgotten}{slowest}; {}",
            ledger.accepted.repeated,
            sums.states,
            sums.requests,
            sums.repeats,
            sums.in_flight,
            self.told.join(", ")
        )
    }

    fn of(&self, role: Role) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.role == role)
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        for member in &self.members {
            member.wait_until_ready(&self.http, WORKERS, READY).await?;
        }
        Ok(())
    }

    /// Lets the receivers play their parts until the answer is dropped.
    fn act(&self, parts: &[Part]) -> JoinSet<()> {
        let mut acting = JoinSet::new();
        for (endpoint, part) in self.stage.endpoints.iter().zip(parts) {
            let (receiver, scenes, start) = (endpoint.receiver.clone(), part.scenes.clone(), Instant::now());
            acting.spawn(async move {
                for (from, manner) in scenes {
                    tokio::time::sleep_until(start + from).await;
                    receiver.behave(manner);
                }
            });
        }
        acting
    }

    /// The figures that operators see are those of the logs.
    async fn check_metrics(&self) -> anyhow::Result<()> {
        for member in &self.members {
            let up = member.metric(&self.http, "inkfleet_database_up").await?;
            ensure!(up == Some(1.0), "{} shows inkfleet_database_up {up:?}", member.name);
            if member.role == Role::Worker {
                let reaped = member.metric(&self.http, "inkfleet_sessions_reaped_total").await?.unwrap_or(0.0);
                let said = member.reaped_by_the_log();
                ensure!(reaped == said, "{} shows {reaped} sessions reaped and its log {said}", member.name);
            }
        }
        Ok(())
    }

    /// Writes down what every connection does and which others it waits for.
    async fn write_activity(&self, to: &Path) -> anyhow::Result<()> {
        let mut conn = self.database.connect(DATABASE).await?;
        let lines: Vec<String> = sqlx::query_scalar(
            "select format('%s %s %s since %s, waits for %s (%s), behind %s: %s', pid, application_name, state,
                           clock_timestamp() - xact_start, wait_event_type, wait_event, pg_blocking_pids(pid), query)
             from pg_stat_activity where datname = current_database() order by xact_start",
        )
        .fetch_all(&mut conn)
        .await?;
        Ok(fs::write(to, lines.join("\n"))?)
    }

    /// Does what the plan says.
    async fn afflict(&mut self, plan: &Plan, flow: Duration) -> anyhow::Result<()> {
        let mut lasting = None;
        if let Some(blow) = plan.slow {
            tokio::time::sleep(flow.mul_f64(0.1)).await;
            lasting = Some(self.begin(blow).await.with_context(|| format!("the fault {}", blow.fault.name()))?);
        }
        let taken = lasting.as_ref().map(Lasting::place);
        for blow in &plan.quick {
            tokio::time::sleep((flow / plan.quick.len() as u32).mul_f64(blow.pause)).await;
            self.strike(*blow, taken).await.with_context(|| format!("the fault {}", blow.fault.name()))?;
        }
        match lasting {
            Some(lasting) => self.end(lasting).await,
            None => Ok(()),
        }
    }

    /// Ends members with SIGTERM.
    async fn stop(&mut self, which: impl Fn(&Member) -> bool) -> anyhow::Result<()> {
        let mut endings = vec![];
        for member in self.members.iter_mut().filter(|member| which(member)) {
            member.check()?;
            endings.push(member.terminate().await?);
        }
        for ending in endings {
            ending.wait().await?;
        }
        Ok(())
    }

    /// Peace: everybody runs, receivers are well, and the clock is stepped from one due retry to the next until none is
    /// left.
    async fn settle(&mut self, rng: &mut StdRng, parts: &[Part]) -> anyhow::Result<usize> {
        for (endpoint, part) in self.stage.endpoints.iter().zip(parts) {
            endpoint.receiver.behave(part.ending);
        }
        self.members.iter_mut().try_for_each(Member::check)?;
        self.wait_until_ready().await?;
        let mut conn = self.database.connect(DATABASE).await?;
        let mut steps = 0;
        loop {
            self.quiet(&mut conn).await?;
            steps += 1;
            let Some(last) = next_cluster(&mut conn).await? else { break };
            // Workers follow the clock when they open their session, be it in a new process or on a new connection.
            let anew = rng.random_bool(0.2);
            if anew {
                self.stop(|member| member.role == Role::Worker).await?;
            }
            let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut conn).await?;
            let step = (last - now).num_seconds();
            ensure!(step < 40 * 86_400, "a retry is due in {step} s");
            self.database.set_offset(self.database.offset_s() + step.max(0))?;
            follow(self.stage, &mut conn).await?;
            for member in self.members.iter_mut().filter(|member| member.role == Role::Worker) {
                member.start(&[])?;
                if !anew {
                    member.proxy.set(Way::Cut);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    member.proxy.set(Way::Open);
                }
            }
        }
        while let Some(took) = self.takeovers.join_next().await {
            let took = took?;
            ensure!(took < TAKEN_OVER_WITHIN, "a dead process's jobs were taken over only after {took:?}");
            self.slowest = self.slowest.max(took);
        }
        let missing: Vec<String> = self.evidence.iter().filter_map(Evidence::missing).collect();
        ensure!(missing.is_empty(), "{}; faults: {}", missing.join("; "), self.told.join(", "));
        Ok(steps - 1)
    }

    /// Waits until nothing is due and nothing runs.
    async fn quiet(&mut self, conn: &mut PgConnection) -> anyhow::Result<()> {
        let end = Instant::now() + SETTLE;
        loop {
            let (running, due): (i64, i64) = sqlx::query_as(
                "select count(*) filter (where state = 1), count(*) filter (where state = 0 and run_at <= clock_timestamp()
                                                                                      + interval '1.5 s')
                 from jobs",
            )
            .fetch_one(&mut *conn)
            .await?;
            if running == 0 && due == 0 {
                return Ok(());
            }
            self.members.iter_mut().try_for_each(Member::check)?;
            ensure!(Instant::now() < end, "{due} jobs are due and {running} run {SETTLE:?} after the faults");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Takes over Postgres's time as exactly as it gets: the clock keeps the best of several answers.
async fn follow(stage: &Stage, conn: &mut PgConnection) -> anyhow::Result<()> {
    for _ in 0..8 {
        stage.clock.follow(conn).await?;
    }
    Ok(())
}

/// When the last of the retries that come close together is due, if any is.
async fn next_cluster(conn: &mut PgConnection) -> anyhow::Result<Option<DateTime<Utc>>> {
    let dues: Vec<DateTime<Utc>> =
        sqlx::query_scalar("select run_at from jobs where state = 0 and kind = 'delivery.attempt' order by run_at")
            .fetch_all(conn)
            .await?;
    let mut last = None;
    for due in dues {
        if last.is_some_and(|last| due - last > TimeDelta::seconds(20)) {
            break;
        }
        last = Some(due);
    }
    Ok(last)
}
