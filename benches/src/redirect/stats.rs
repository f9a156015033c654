//! Statistics over ten million visits of one workspace: stored as redirects store them, counted by the worker, and asked for
//! through the API.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};

use crate::{
    program::{Postgres, Program, client},
    report::quantile,
};

const PORT: u16 = 18143;
const VISITS: i64 = 10_000_000;
const LINKS: i64 = 10_000;
/// Of one row.
const BATCH: i64 = 4096;
const DAYS: i64 = 30;
const QUESTIONS: usize = 200;

/// Every tenth visit is the first link's; the others are spread over all of them, over the days, and over visitors.
const BATCHES: &str = "
insert into visit_batches (id, size, ids, org_ids, target_ids, ats, visitors, bots, devices, systems, browsers, countries,
                           regions, languages, referrers, branches)
select bench_uuid7(now()), count(*), array_agg(bench_uuid7(at)), array_agg(org_id), array_agg(target_id), array_agg(at),
       array_agg((random() * 1000000)::bigint), array_agg(random() < 0.05),
       array_agg((array['mobile', 'desktop', 'tablet'])[1 + n % 3]), array_agg((array['iOS', 'Android', 'Windows', 'macOS'])[1 + n % 4]),
       array_agg((array['Safari', 'Chrome', 'Firefox', 'Edge'])[1 + n % 4]), array_agg((array['DE', 'US', 'FR', 'GB', 'JP', ''])[1 + n % 6]),
       array_agg(''::text), array_agg((array['de', 'en', 'fr', 'ja'])[1 + n % 4]), array_agg((n % 40) || '.example'), array_agg(''::text)
from (
  select n, n / $2 as batch, now() - interval '1 day' * $3 * (1 - n / $1::float8) as at, l.org_id, l.id as target_id
  from generate_series($4::bigint, $5::bigint - 1) n
  join links l on l.slug = 's' || (case when n % 10 = 0 then 0 else (n * 7919) % $6 end)
) v group by batch";

/// Makes them, and asks.
pub async fn measure() -> anyhow::Result<String> {
    let postgres = Postgres::start().await?;
    let program = Program::new(&postgres.url())?;
    program.run(&["migrate"]).await?;
    let keys = program.organisation("bench").await?;
    let mut conn = postgres.connect().await?;
    sqlx::raw_sql("select create_day(current_date - n) from generate_series(1, 31) n").execute(&mut conn).await?;
    sqlx::raw_sql(crate::seed::UUID7).execute(&mut conn).await?;
    sqlx::query(
        "insert into links (id, org_id, domain, slug, destination, created_at, updated_at)
         select bench_uuid7(now()), o.id, '', 's' || n, 'https://shop.example/', now(), now()
         from generate_series(0, $1::bigint - 1) n, (select id from organizations where slug = 'bench') o",
    )
    .bind(LINKS)
    .execute(&mut conn)
    .await?;
    sqlx::raw_sql("analyze links").execute(&mut conn).await?;
    let portion = BATCH * 50;
    for from in (0..VISITS).step_by(portion as usize) {
        let to = (from + portion).min(VISITS);
        let make = sqlx::query(BATCHES).bind(VISITS).bind(BATCH).bind(DAYS).bind(from).bind(to).bind(LINKS);
        make.execute(&mut conn).await?;
    }
    let worker = program.work()?;
    let started = Instant::now();
    wait_until_counted(&mut conn).await?;
    let counted = VISITS as f64 / started.elapsed().as_secs_f64();
    drop(worker);
    sqlx::raw_sql("vacuum analyze").execute(&mut conn).await?;

    let _web = program.serve(PORT).await?;
    let http = client()?;
    let ask = async |id: &str, days: usize| -> anyhow::Result<(f64, i64)> {
        let asked = Instant::now();
        let url = format!("http://127.0.0.1:{PORT}/api/links/{id}/stats?days={days}");
        let answer = http.get(url).bearer_auth(&keys.session).send().await?.error_for_status()?.json::<Value>().await?;
        Ok((asked.elapsed().as_secs_f64() * 1e3, answer["visits"].as_i64().context("visits")?))
    };
    let mut table = String::from("\n| statistics over 10,000,000 visits | p50, ms | p99, ms |\n|---|---|---|\n");
    for (name, slug) in [("the link with a tenth of them", 0), ("one of the others", 7)] {
        let query = "select id from links where slug = 's' || $1::int";
        let id: uuid::Uuid = sqlx::query_scalar(query).bind(slug).fetch_one(&mut conn).await?;
        let id = domain::id::LinkId(id).to_string();
        let mut took = vec![];
        for _ in 0..QUESTIONS {
            let (ms, visits) = ask(&id, 31).await?;
            ensure!(visits > 0, "no visits of {slug}");
            took.push(ms);
        }
        table += &format!("| {name}, 31 days | {:.1} | {:.1} |\n", quantile(&mut took, 0.5), quantile(&mut took, 0.99));
    }
    table += &format!("\nThe worker counted them at {counted:.0} per second.\n");
    Ok(table)
}

async fn wait_until_counted(conn: &mut PgConnection) -> anyhow::Result<()> {
    let patience = Instant::now() + Duration::from_secs(900);
    loop {
        sleep(Duration::from_millis(500)).await;
        let counted: i64 = sqlx::query_scalar("select coalesce(sum(visits + bots), 0)::bigint from visit_totals")
            .fetch_one(&mut *conn)
            .await?;
        if counted == VISITS {
            return Ok(());
        }
        ensure!(Instant::now() < patience, "{counted} of {VISITS} were counted");
    }
}
