//! Striking: each fault as it is done, what it may cost, and what operators must be able to see of it.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, ensure};
use domain::id::DeliveryId;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{DATABASE, Round};
use crate::chaos::{
    evidence::Evidence,
    fault::{Blow, Fault},
    fleet::{Member, Role},
    ledger::{Crash, Incident},
    proxy::Way,
};

/// How long a statement that was under way when its process was struck may go on.
const STRAGGLER: Duration = Duration::from_millis(60);
/// From when on a loss of Postgres must show in `/readyz`: a look at it may take two seconds.
const SHOWS_AFTER: Duration = Duration::from_millis(2600);

const TAKEN_OVER: &str = "took over the jobs of worker processes that died or fell silent";
/// Either, because the one who notices first says it.
const BROKE: [&str; 2] = ["the worker session's connection broke", AWAY];
const AWAY: &str = "Postgres does not answer";
const BACK: &str = "Postgres answers again";
/// A web process without requests looks at Postgres so often.
const WEB_LOOKS_EVERY: Duration = Duration::from_millis(5500);

/// A fault that lasts, and what is to be done at its end.
pub struct Lasting {
    blow: Blow,
    place: usize,
    until: Instant,
    told: String,
    /// That others take its jobs over, with the number of crashes before.
    taken_over: Option<(Evidence, usize)>,
}

impl Round<'_> {
    /// The member that a blow meets; one that is struck already is passed over.
    fn place_of(&self, blow: Blow, taken: Option<usize>) -> usize {
        let role = blow.fault.role();
        let places: Vec<usize> =
            (0..self.members.len()).filter(|n| self.members[*n].role == role && Some(*n) != taken).collect();
        places[blow.target % places.len()]
    }

    /// Does a quick fault from its beginning to its end.
    pub async fn strike(&mut self, blow: Blow, taken: Option<usize>) -> anyhow::Result<()> {
        let place = self.place_of(blow, taken);
        let mut told = format!("{} {}", blow.fault.name(), self.members[place].name);
        match blow.fault {
            Fault::KillWorker => {
                let mut conn = self.database.connect(DATABASE).await?;
                let taken_over = self.is_taken_over(&mut conn, place).await?;
                let at = self.stage.clock.now();
                let pid = self.members[place].kill().await?;
                let lost = self.held(&mut conn, pid, at, &told).await?;
                told += &format!(" ({lost} in flight)");
                self.evidence.extend(taken_over);
                self.watch_takeover(pid);
                self.members[place].start(&[])?;
            }
            Fault::KillInCrash => {
                told += &format!(" for {} ms", blow.lasts.as_millis());
                let taken_over = self.is_taken_over(&mut self.database.connect(DATABASE).await?, place).await?;
                let members = self.crash().await?;
                sleep(blow.lasts / 2).await;
                let at = self.stage.clock.now();
                let pid = self.members[place].kill().await?;
                self.members[place].start(&[])?;
                sleep(blow.lasts / 2).await;
                self.recover(&members).await?;
                // Its session is still there, because others wait for those that lost theirs with the server.
                let mut conn = self.database.connect(DATABASE).await?;
                let lost = self.held(&mut conn, pid, at, &told).await?;
                told += &format!(" ({lost} in flight)");
                self.watch_takeover(pid);
                self.evidence.extend(taken_over);
            }
            Fault::KillWeb => {
                self.members[place].kill().await?;
                self.members[place].start(&[])?;
            }
            Fault::StopWorker | Fault::StopWeb => {
                let stops = Evidence::of(&self.members[place], &["stopping; a second signal stops at once"]);
                let begun = Instant::now();
                self.members[place].terminate().await?.wait().await?;
                told += &format!(" (ended after {} ms)", begun.elapsed().as_millis());
                self.evidence.push(stops);
                self.members[place].start(&[])?;
            }
            Fault::CrashPostgres => {
                told = format!("{} for {} ms", blow.fault.name(), blow.lasts.as_millis());
                self.crash_postgres(blow.lasts).await?;
            }
            Fault::CutWorker | Fault::CutWeb | Fault::SeverWorker => {
                let breaks = self.breaks(place).await?;
                let at = self.stage.clock.now();
                self.members[place].proxy.set(Way::Cut);
                if blow.fault == Fault::SeverWorker {
                    let begun = Instant::now();
                    sleep(STRAGGLER).await;
                    let held = self.held_now(place).await?;
                    told += &format!(" for {} ms ({} in flight)", blow.lasts.as_millis(), held.len());
                    self.incident(at, &told, held);
                    tokio::time::sleep_until(begun + blow.lasts).await;
                } else {
                    sleep(blow.lasts.max(Duration::from_millis(20))).await;
                }
                self.members[place].proxy.set(Way::Open);
                self.evidence.extend(breaks);
            }
            Fault::StallWorker | Fault::StallWeb => {
                told += &format!(" for {} ms", blow.lasts.as_millis());
                self.members[place].proxy.set(Way::Stalled);
                let end = Instant::now() + blow.lasts;
                if blow.fault == Fault::StallWeb {
                    self.shows_its_loss(place, end).await?;
                }
                tokio::time::sleep_until(end).await;
                self.members[place].proxy.set(Way::Open);
            }
            Fault::FillConnections => {
                let held = self.fill_connections(place, blow.lasts).await?;
                told += &format!(" ({held} connections held for {} ms)", blow.lasts.as_millis());
            }
            Fault::SkewWorker => {
                // Minutes ahead or behind; ahead is what could send early.
                let seconds = if blow.target.is_multiple_of(3) { -200 } else { 60 * (1 + blow.target as i64) };
                told += &format!(" by {seconds} s");
                self.members[place].terminate().await?.wait().await?;
                let skewed = Evidence::of(&self.members[place], &["this machine's clock is not Postgres's"]);
                self.members[place].start(&self.database.skewed(seconds))?;
                self.evidence.push(skewed);
            }
            Fault::PauseWorker | Fault::BuryWorker | Fault::LoseWorker | Fault::LoseWeb | Fault::StopSilent => {
                let lasting = self.begin(blow).await?;
                return self.end(lasting).await;
            }
        }
        self.told.push(told);
        Ok(())
    }

    /// Begins a fault that lasts; returns it with its target.
    pub async fn begin(&mut self, blow: Blow) -> anyhow::Result<Lasting> {
        let place = self.place_of(blow, None);
        let told = format!("{} {} for {} s", blow.fault.name(), self.members[place].name, blow.lasts.as_secs());
        let member = &self.members[place];
        let at = self.stage.clock.now();
        match blow.fault {
            Fault::PauseWorker => member.signal("-STOP").await?,
            Fault::BuryWorker => member.proxy.set(Way::Stalled),
            Fault::StopSilent => {
                member.proxy.set(Way::Stalled);
                member.signal("-TERM").await?;
            }
            Fault::LoseWorker | Fault::LoseWeb => member.proxy.lose(),
            other => anyhow::bail!("{} does not last", other.name()),
        }
        match blow.fault {
            Fault::PauseWorker | Fault::BuryWorker => {
                self.evidence
                    .push(Evidence::of(&self.members[place], &["another process took", "worker session open"]));
            }
            Fault::LoseWorker => {
                self.evidence.push(Evidence::of(&self.members[place], &BROKE));
            }
            _ => {}
        }
        let expected = matches!(blow.fault, Fault::PauseWorker | Fault::BuryWorker | Fault::StopSilent);
        let taken_over = expected.then(|| (Evidence::of_workers(&self.members, TAKEN_OVER), self.crashes.len()));
        sleep(STRAGGLER).await;
        let held = self.held_now(place).await?;
        if blow.fault != Fault::LoseWeb {
            self.incident(at, &told, held);
        }
        Ok(Lasting { blow, place, until: Instant::now() + blow.lasts, told, taken_over })
    }

    /// Waits for the end of a fault that lasts, and ends it.
    pub async fn end(&mut self, lasting: Lasting) -> anyhow::Result<()> {
        tokio::time::sleep_until(lasting.until).await;
        let member = &self.members[lasting.place];
        match lasting.blow.fault {
            Fault::PauseWorker => member.signal("-CONT").await?,
            Fault::StopSilent => {
                self.members[lasting.place].ended().await?;
                self.members[lasting.place].proxy.set(Way::Open);
                self.members[lasting.place].start(&[])?;
            }
            _ => member.proxy.set(Way::Open),
        }
        // After a restart of Postgres others wait for those that lost their sessions with it, and this one may come back in
        // that time.
        self.evidence.extend(
            lasting.taken_over.filter(|(_, crashes)| *crashes == self.crashes.len()).map(|(evidence, _)| evidence),
        );
        self.told.push(lasting.told);
        Ok(())
    }

    async fn crash_postgres(&mut self, away: Duration) -> anyhow::Result<()> {
        for place in 0..self.members.len() {
            let breaks = self.breaks(place).await?;
            self.evidence.extend(breaks);
            let member = &self.members[place];
            if member.role == Role::Worker {
                self.evidence.push(Evidence::of(member, &["worker session open"]));
            } else if away > WEB_LOOKS_EVERY {
                self.evidence.push(Evidence::of_state(member, AWAY, BACK));
                self.evidence.push(Evidence::of(member, &[BACK]));
            }
        }
        let members = self.crash().await?;
        let end = Instant::now() + away;
        for place in 0..self.members.len() {
            self.shows_its_loss(place, end).await?;
        }
        tokio::time::sleep_until(end).await;
        self.recover(&members).await
    }

    /// Postgres crashes; returns the members that are kept away from it until [`Self::recover`]. The others are under a
    /// fault that lasts.
    async fn crash(&mut self) -> anyhow::Result<Vec<usize>> {
        self.crashes.push(Crash { at: self.stage.clock.now(), waiting: HashSet::new() });
        self.database.crash().await?;
        let well: Vec<usize> = (0..self.members.len()).filter(|n| self.members[*n].proxy.is_well()).collect();
        well.iter().for_each(|n| self.members[*n].proxy.set(Way::Cut));
        Ok(well)
    }

    /// Postgres is up again, and what waits in it is noted before the members go on.
    async fn recover(&mut self, members: &[usize]) -> anyhow::Result<()> {
        self.database.begin().await?;
        let crash = self.crashes.last_mut().context("it crashed")?;
        let waiting = sqlx::query_scalar(
            "select payload->>'delivery_id' from jobs where state = 0 and kind = 'delivery.attempt' and run_at <= $1",
        )
        .bind(crash.at)
        .fetch_all(&mut self.database.connect(DATABASE).await?)
        .await?;
        crash.waiting = delivery_ids(waiting)?;
        members.iter().for_each(|n| self.members[*n].proxy.set(Way::Open));
        Ok(())
    }

    /// Whether `/readyz` and `/metrics` say that Postgres is away, if that lasts for long enough to be seen.
    async fn shows_its_loss(&self, place: usize, end: Instant) -> anyhow::Result<()> {
        let member = &self.members[place];
        let left = end.saturating_duration_since(Instant::now());
        // A process that is just beginning does not answer at all.
        if left < SHOWS_AFTER {
            return Ok(());
        }
        let Ok((status, body)) = member.ready(&self.http).await else { return Ok(()) };
        ensure!(status == 503 && body["database"] == false, "{} is {status} without Postgres: {body}", member.name);
        let up = member.metric(&self.http, "inkfleet_database_up").await?;
        ensure!(Instant::now() > end || up == Some(0.0), "{} shows inkfleet_database_up {up:?}", member.name);
        Ok(())
    }

    /// Takes every connection that is left, and the chance to get one from a worker that loses its own.
    async fn fill_connections(&mut self, place: usize, lasts: Duration) -> anyhow::Result<usize> {
        let breaks = self.breaks(place).await?;
        let at = self.stage.clock.now();
        self.members[place].proxy.set(Way::Cut);
        sleep(STRAGGLER).await;
        let in_flight = self.held_now(place).await?;
        let mut held = vec![];
        let mut end = None;
        while end.is_none_or(|end| Instant::now() < end) {
            match self.database.connect(DATABASE).await {
                Ok(conn) => held.push(conn),
                Err(_) if end.is_none() => {
                    // Now that none is left, it may try.
                    self.members[place].proxy.set(Way::Open);
                    end = Some(Instant::now() + lasts);
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
            ensure!(held.len() < 1000, "Postgres takes any number of connections");
        }
        ensure!(held.len() > 10, "only {} connections could be held", held.len());
        let count = held.len();
        for conn in held {
            conn.close().await?;
        }
        self.incident(at, "fill-connections", in_flight);
        self.evidence.extend(breaks);
        Ok(count)
    }

    /// Measures how long it takes until the session of the dead process `pid` is gone.
    fn watch_takeover(&mut self, pid: u32) {
        let url = self.database.url(self.database.port, DATABASE);
        let begun = Instant::now();
        self.takeovers.spawn(async move {
            loop {
                let gone = async {
                    let mut conn = PgConnection::connect(&url).await?;
                    let left = "select count(*) from job_workers where name like '%:' || $1::text";
                    let left: i64 = sqlx::query_scalar(left).bind(pid.to_string()).fetch_one(&mut conn).await?;
                    Ok::<_, sqlx::Error>(left == 0)
                };
                if gone.await.unwrap_or(false) {
                    return begun.elapsed();
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
    }

    /// What a worker must say when it loses its session. One that is still coming back from the fault before has said so
    /// already, and a web process has none.
    async fn breaks(&self, place: usize) -> anyhow::Result<Option<Evidence>> {
        let member = &self.members[place];
        if member.role == Role::Web {
            return Ok(None);
        }
        let mut conn = self.database.connect(DATABASE).await?;
        Ok(holds_a_session(&mut conn, member).await?.then(|| Evidence::of(member, &BROKE)))
    }

    /// What another must say when a worker is killed. One that is still coming back from the fault before may have lost
    /// its session to the others already.
    async fn is_taken_over(&self, conn: &mut PgConnection, place: usize) -> anyhow::Result<Option<Evidence>> {
        let holds = holds_a_session(conn, &self.members[place]).await?;
        Ok(holds.then(|| Evidence::of_workers(&self.members, TAKEN_OVER)))
    }

    /// Notes the deliveries that the ended process `pid` held; returns how many.
    async fn held(
        &mut self,
        conn: &mut PgConnection,
        pid: u32,
        at: chrono::DateTime<chrono::Utc>,
        told: &str,
    ) -> anyhow::Result<usize> {
        sleep(STRAGGLER).await;
        let in_flight = held_by(conn, pid).await?;
        let count = in_flight.len();
        self.incident(at, told, in_flight);
        Ok(count)
    }

    fn incident(&mut self, at: chrono::DateTime<chrono::Utc>, told: &str, in_flight: HashSet<Uuid>) {
        self.incidents.push(Incident { at, what: told.to_owned(), in_flight });
    }

    /// The deliveries that a member's process holds.
    async fn held_now(&self, place: usize) -> anyhow::Result<HashSet<Uuid>> {
        let member = &self.members[place];
        if member.role == Role::Web {
            return Ok(HashSet::new());
        }
        let pid = member.pid().with_context(|| format!("{} does not run", member.name))?;
        held_by(&mut self.database.connect(DATABASE).await?, pid).await
    }
}

/// Whether a worker has its session, lock included.
async fn holds_a_session(conn: &mut PgConnection, member: &Member) -> anyhow::Result<bool> {
    Ok(sqlx::query_scalar(
        "select exists(select from job_workers w join pg_locks l on l.locktype = 'advisory' and l.objid::bigint = w.id
                       where w.name like '%:' || $1::text and l.granted)",
    )
    .bind(member.pid().unwrap_or_default().to_string())
    .fetch_one(conn)
    .await?)
}

/// The deliveries whose jobs the process `pid` holds.
async fn held_by(conn: &mut PgConnection, pid: u32) -> anyhow::Result<HashSet<Uuid>> {
    let ids = sqlx::query_scalar(
        "select payload->>'delivery_id' from jobs j join job_workers w on w.id = j.worker
         where j.state = 1 and j.kind = 'delivery.attempt' and w.name like '%:' || $1::text",
    )
    .bind(pid.to_string())
    .fetch_all(conn)
    .await?;
    delivery_ids(ids)
}

fn delivery_ids(written: Vec<String>) -> anyhow::Result<HashSet<Uuid>> {
    written.iter().map(|id| Ok(id.parse::<DeliveryId>()?.0)).collect()
}

impl Lasting {
    /// The member that is struck.
    pub fn place(&self) -> usize {
        self.place
    }
}
