//! A replay of a million deliveries by filter and time range, beside live traffic, with its worker killed in the middle.
//!
//! Every figure of the sending comes from the receiver's own log, by `webhook-id`.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, Days, Utc};
use domain::{chance::Chance, clock::Clock};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    program::{Keys, Postgres, Process, Program, client},
    report::section,
    seed::{self, Day},
    tally::Tally,
    traffic::{Figures, Traffic},
};

const PORT: u16 = 18127;
/// Deliveries that the replay takes, over these days.
const DELIVERIES: i64 = 1_000_000;
const DAYS: u64 = 5;
/// Deliveries outside its range of time, and as many of another type.
const OUTSIDE: i64 = 20_000;
const ENDPOINTS: usize = 4;
/// The replay's rate, and that of each of the two streams of live events.
const PER_SECOND: i64 = 2000;
const LIVE: u32 = 100;
/// How often the replay is measured and then paused, and for how many seconds each: on a machine with other work, what
/// was before says little about what is now.
const ROUNDS: u32 = 6;
const SPAN: u64 = 10;
/// How often the worker that runs the replay is killed.
const KILLS: usize = 5;
/// How much longer live events may take beside the replay.
const RATIO_MAX: f64 = 1.5;

/// Runs it. `--deliveries n` and `--rate n` change the size and the replay's rate.
pub async fn run(words: &[String]) -> anyhow::Result<()> {
    let number = |name: &str, or: i64| {
        let value = words.iter().skip_while(|word| *word != name).nth(1);
        value.map_or(Ok(or), |text| text.parse())
    };
    let (deliveries, per_second) = (number("--deliveries", DELIVERIES)?, number("--rate", PER_SECOND)?);
    ensure!(deliveries >= per_second * 150, "too few deliveries for the rounds at that rate");
    let mut bench = Bench::start().await?;
    let range = bench.seed(deliveries).await?;
    let text = bench.measure(range, deliveries, per_second).await?;
    section("replay", &text, words.contains(&"--write".into()))
}

struct Bench {
    postgres: Postgres,
    program: Program,
    http: reqwest::Client,
    url: String,
    tally: Tally,
    /// Whose deliveries are replayed, and another organisation.
    keys: [Keys; 2],
    _web: Process,
    workers: Vec<Process>,
}

type Range = (DateTime<Utc>, DateTime<Utc>);

impl Bench {
    async fn start() -> anyhow::Result<Self> {
        let postgres = Postgres::start().await?;
        let tally = Tally::start().await?;
        let program = Program::new(&postgres.url())?;
        program.run(&["migrate"]).await?;
        let keys = [program.organisation("past").await?, program.organisation("other").await?];
        let web = program.serve(PORT).await?;
        let url = format!("http://127.0.0.1:{PORT}");
        let bench = Self { postgres, program, http: client()?, url, tally, keys, _web: web, workers: vec![] };
        for _ in 0..ENDPOINTS {
            bench.endpoint(&bench.keys[0], "past", "qr.scanned").await?;
        }
        bench.endpoint(&bench.keys[0], "same", "link.clicked").await?;
        bench.endpoint(&bench.keys[1], "other", "link.clicked").await?;
        Ok(bench)
    }

    async fn endpoint(&self, keys: &Keys, path: &str, event_type: &str) -> anyhow::Result<()> {
        let body = json!({"url": self.tally.url(path), "dialect": "inkode", "eventTypes": [event_type, "qr.created"]});
        self.ask("POST", keys, "endpoints", Some(body)).await.map(drop)
    }

    async fn ask(&self, method: &str, keys: &Keys, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("{}/api/webhooks/{path}", self.url);
        let mut request = self.http.request(method.parse()?, url).bearer_auth(&keys.session);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Past deliveries: the replay's, as many days before as after it, and some of another type. Returns the replay's
    /// range of time.
    async fn seed(&self, deliveries: i64) -> anyhow::Result<Range> {
        let mut conn = self.postgres.connect().await?;
        let statement = "select org_id, id from endpoints where url = $1 order by id";
        let rows: Vec<(Uuid, Uuid)> =
            sqlx::query_as(statement).bind(self.tally.url("past")).fetch_all(&mut conn).await?;
        let endpoints: Vec<Uuid> = rows.iter().map(|row| row.1).collect();
        let org_id = rows.first().context("endpoints")?.0;
        let first = Clock::system().now().date_naive() - Days::new(DAYS + 2);
        let started = Instant::now();
        for n in 0..=DAYS + 1 {
            let inside = (1..=DAYS).contains(&n);
            let mut day = Day {
                day: first + Days::new(n),
                org_id,
                endpoints: &endpoints,
                event_type: "qr.scanned",
                deliveries: if inside { deliveries / DAYS as i64 } else { OUTSIDE / 2 },
                attempts: 1,
            };
            seed::fill(&mut conn, &day).await?;
            if n == DAYS {
                (day.event_type, day.deliveries) = ("qr.created", OUTSIDE);
                seed::fill(&mut conn, &day).await?;
            }
        }
        sqlx::raw_sql("vacuum analyze").execute(&mut conn).await?;
        sqlx::raw_sql("checkpoint").execute(&mut conn).await?;
        println!("seeded in {:.0} s", started.elapsed().as_secs_f64());
        let day = |n| (first + Days::new(n)).and_time(chrono::NaiveTime::MIN).and_utc();
        Ok((day(1), day(DAYS + 1)))
    }

    async fn begin(&self, (from, to): Range, per_second: i64) -> anyhow::Result<(String, Duration)> {
        let wish = json!({"states": ["delivered"], "eventTypes": ["qr.scanned"], "from": from.to_rfc3339(),
                          "to": to.to_rfc3339(), "perSecond": per_second});
        let started = Instant::now();
        let replay = self.ask("POST", &self.keys[0], "replays", Some(wish)).await?;
        Ok((format!("replays/{}", replay["id"].as_str().context("an id")?), started.elapsed()))
    }

    async fn turn(&self, replay: &str, verb: &str) -> anyhow::Result<Value> {
        self.ask("POST", &self.keys[0], &format!("{replay}/{verb}"), None).await
    }

    async fn look(&self, replay: &str) -> anyhow::Result<Value> {
        self.ask("GET", &self.keys[0], replay, None).await
    }

    /// Waits until no more of a replay's deliveries are under way; returns how many requests had come.
    async fn rest(&self, conn: &mut PgConnection) -> anyhow::Result<u64> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let waiting = "select count(*) from jobs where payload ? 'replay_id' and queue = 'deliveries'";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut *conn).await?;
            if waiting == 0 {
                return Ok(self.tally.requests("past"));
            }
            ensure!(Instant::now() < end, "{waiting} deliveries of the replay are still under way");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Kills the worker that runs the replay, starts another, and returns how many of the replay's deliveries it held.
    async fn kill(&mut self, conn: &mut PgConnection) -> anyhow::Result<i64> {
        let running =
            "select w.id, w.name from jobs j join job_workers w on w.id = j.worker where j.kind = 'replay.run'";
        let end = Instant::now() + Duration::from_secs(10);
        let (session, name) = loop {
            if let Some(found) = sqlx::query_as::<_, (i32, String)>(running).fetch_optional(&mut *conn).await? {
                break found;
            }
            ensure!(Instant::now() < end, "nobody runs the replay");
        };
        let pid: u32 = name.rsplit(':').next().context("a name with a pid")?.parse()?;
        let nth = self.workers.iter().position(|w| w.pid().is_ok_and(|p| p == pid)).context("one of ours")?;
        self.workers[nth].0.kill().await?;
        // A statement that it had sent may still claim; the number falls when another takes its jobs over.
        let held = "select count(*) from jobs where worker = $1 and payload ? 'replay_id' and queue = 'deliveries'";
        let (mut most, start) = (0_i64, Instant::now());
        loop {
            let now: i64 = sqlx::query_scalar(held).bind(session).fetch_one(&mut *conn).await?;
            most = most.max(now);
            if now == 0 && start.elapsed() > Duration::from_millis(300) {
                break;
            }
            ensure!(start.elapsed() < Duration::from_secs(40), "nobody takes the dead worker's jobs over");
            sleep(Duration::from_millis(10)).await;
        }
        self.workers[nth] = self.program.work()?;
        Ok(most)
    }

    async fn measure(&mut self, range: Range, deliveries: i64, per_second: i64) -> anyhow::Result<String> {
        let mut conn = PgConnection::connect(&self.postgres.url()).await?;
        self.workers = vec![self.program.work()?, self.program.work()?];
        sleep(Duration::from_secs(3)).await;
        let live =
            |n: usize, path| Traffic::start(&self.http, &self.url, &self.keys[n].ink, "link.clicked", path, LIVE);
        let streams = [("another organisation's", live(1, "other")), ("the same organisation's", live(0, "same"))];

        // Without a replay.
        sleep(Duration::from_secs(5)).await;
        let mut without = vec![span().await];

        // With one, and paused in between: what is under way arrives, then nothing more.
        let began = Instant::now();
        let (replay, creation) = self.begin(range, per_second).await?;
        while self.look(&replay).await?.get("total").is_none() {
            sleep(Duration::from_millis(100)).await;
        }
        let (counted_in, mut beside, mut paused_in, mut sent) = (began.elapsed(), vec![], Duration::ZERO, 0);
        for _ in 0..ROUNDS {
            beside.push(span().await);
            let paused = Instant::now();
            self.turn(&replay, "pause").await?;
            sent = self.rest(&mut conn).await?;
            paused_in = paused_in.max(paused.elapsed());
            without.push(span().await);
            let shown = self.look(&replay).await?;
            ensure!(self.tally.requests("past") == sent, "a paused replay goes on");
            ensure!(shown["replayed"] == sent, "it shows {} and {sent} arrived", shown["replayed"]);
            println!("paused at {sent} of {}", shown["total"]);
            self.turn(&replay, "resume").await?;
        }

        // Killed, again and again.
        let (mut held, chance) = (vec![], Chance::system());
        for _ in 0..KILLS {
            sleep(Duration::from_secs_f64(2.0 + 4.0 * chance.unit())).await;
            held.push(self.kill(&mut conn).await?);
            println!("killed a worker that held {} of the replay's deliveries", held[held.len() - 1]);
        }
        sleep(Duration::from_secs(2)).await;

        // To its end.
        let mut before = 0;
        let done = loop {
            let shown = self.look(&replay).await?;
            let replayed = shown["replayed"].as_i64().context("a number")?;
            ensure!(replayed >= before && replayed <= deliveries, "{replayed} after {before}");
            before = replayed;
            if shown["state"] != "running" {
                break shown;
            }
            println!("{:.0} s: {replayed} of {}", began.elapsed().as_secs_f64(), shown["total"]);
            ensure!(began.elapsed() < Duration::from_secs(3600), "it takes longer than an hour");
            sleep(Duration::from_secs(10)).await;
        };
        let took = began.elapsed();
        self.rest(&mut conn).await?;
        ensure!(done["state"] == "done" && done["replayed"] == deliveries && done["total"] == deliveries, "{done}");
        let missing = "select count(*) from deliveries d join events e on e.id = d.event_id
                       where e.type = 'qr.scanned' and d.state <> 'delivered'";
        let missing: i64 = sqlx::query_scalar(missing).fetch_one(&mut conn).await?;
        ensure!(missing == 0, "{missing} deliveries are not delivered");
        let repeats = self.check(range, deliveries, &held, &mut conn).await?;
        let cancelled = self.cancel(range, per_second, &mut conn).await?;
        for (_, stream) in &streams {
            stream.end(&self.tally).await?;
        }
        let mut rows = vec![];
        for (whose, stream) in &streams {
            let (without, beside) = (stream.figures(&self.tally, &without), stream.figures(&self.tally, &beside));
            rows.push((*whose, without, beside));
        }
        let lines = [
            format!(
                "{deliveries} deliveries of {DAYS} days to {ENDPOINTS} endpoints of one organisation, by state, type and \
                 time range; 2 worker processes; {per_second} per second were asked for, and it took {:.0} s, of which \
                 {} paused.",
                took.as_secs_f64(),
                u64::from(ROUNDS) * SPAN
            ),
            format!(
                "Creation answered in {:.0} ms; `total` was there after {:.1} s; each of {ROUNDS} pauses was felt within \
                 {:.1} s, and as many had arrived as it showed ({sent} at the last).",
                creation.as_secs_f64() * 1e3,
                counted_in.as_secs_f64(),
                paused_in.as_secs_f64()
            ),
            format!(
                "Killed -9 {KILLS} times while it ran the replay's job: each of the {deliveries} arrived, {repeats} of \
                 them twice; the killed processes held {} of its deliveries ({held:?}), which is the bound.",
                held.iter().sum::<i64>()
            ),
            format!("A second replay, cancelled after {cancelled} deliveries: as many arrived, then none."),
        ];
        Ok(format!("{}\n\n{}", lines.join("\n"), table(&rows)?))
    }

    /// Each delivery of the range arrived, and only what was in flight at a kill arrived twice; returns how many did.
    async fn check(
        &self,
        (from, to): Range,
        deliveries: i64,
        held: &[i64],
        conn: &mut PgConnection,
    ) -> anyhow::Result<i64> {
        let arrived = self.tally.arrivals("past");
        let wanted = "select id from events where type = 'qr.scanned' and created_at >= $1 and created_at < $2";
        let wanted: Vec<Uuid> = sqlx::query_scalar(wanted).bind(from).bind(to).fetch_all(conn).await?;
        ensure!(wanted.len() as i64 == deliveries, "the range holds {}", wanted.len());
        let missing = wanted.iter().filter(|id| !arrived.contains_key(&id.as_u128())).count();
        ensure!(missing == 0, "{missing} deliveries were not sent again");
        ensure!(arrived.len() as i64 == deliveries, "{} others were sent too", arrived.len() as i64 - deliveries);
        let repeats: i64 = arrived.values().map(|arrival| i64::from(arrival.times) - 1).sum();
        let bound: i64 = held.iter().sum();
        ensure!(repeats <= bound, "{repeats} repeats, and only {bound} were in flight at the kills");
        ensure!(self.tally.requests("past") as i64 == deliveries + repeats, "requests without an id");
        Ok(repeats)
    }

    /// Begins another replay of the same and cancels it; returns how many it had sent.
    async fn cancel(&self, range: Range, per_second: i64, conn: &mut PgConnection) -> anyhow::Result<i64> {
        let before = self.tally.requests("past");
        let (replay, _) = self.begin(range, per_second).await?;
        sleep(Duration::from_secs(5)).await;
        self.turn(&replay, "cancel").await?;
        let sent = self.rest(conn).await? - before;
        sleep(Duration::from_secs(3)).await;
        let shown = self.look(&replay).await?;
        ensure!(shown["state"] == "cancelled" && shown["replayed"] == sent, "{shown}, and {sent} arrived");
        ensure!(self.tally.requests("past") - before == sent && sent > 0, "a cancelled replay goes on");
        Ok(sent as i64)
    }
}

/// A stretch of time to be measured, once it is over.
async fn span() -> (Instant, Instant) {
    let start = Instant::now();
    sleep(Duration::from_secs(SPAN)).await;
    (start, Instant::now())
}

fn table(rows: &[(&str, Figures, Figures)]) -> anyhow::Result<String> {
    let mut text = String::from(
        "| live events, 100 per second | | answered, p50 / p99 ms | first byte, p50 / p99 ms | p99, ratio |\n|---|---|---|---|---|\n",
    );
    let mut over = vec![];
    for (whose, without, beside) in rows {
        let ratio = beside.arrival[1] / without.arrival[1];
        for (when, figures, ratio) in
            [("without", without, String::new()), ("beside it", beside, format!("{ratio:.2}"))]
        {
            let Figures { answer, arrival, count } = figures;
            text += &format!(
                "| {whose} ({count}) | {when} | {:.1} / {:.1} | {:.1} / {:.1} | {ratio} |\n",
                answer[0], answer[1], arrival[0], arrival[1],
            );
        }
        if ratio > RATIO_MAX {
            over.push(format!("{whose} events took {ratio:.2} times as long (p99)"));
        }
    }
    if !over.is_empty() {
        text += &format!("\nNot reached (at most {RATIO_MAX}): {}.\n", over.join("; "));
    }
    Ok(text)
}
