//! An organisation with a million due deliveries beside others with a single one each.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{
    chance::Chance,
    clock::Clock,
    dialect::DialectName,
    endpoint::{self, NewEndpoint, secret_context},
    event::NewEvent,
    id::{EndpointId, EventId, OrgId, UserId},
    json::JsonText,
    sealed::SealingKeys,
};
use jobs::{event::publish, store::Store};
use sqlx::PgPool;
use tokio::time::Instant;

use super::{head, row, spread, stage::Stage};
use crate::program::SECRET_KEY;

const PORT: u16 = 18126;
const DUE: usize = 1_000_000;
/// Events of one transaction while the million is made.
const CHUNK: usize = 2_500;
/// Organisations with a single delivery, of each sort.
const SINGLES: usize = 100;
const EVENT_TYPE: &str = "link.created";
/// How long a single delivery is waited for, and how often in vain before the others of its sort are left out.
const PATIENCE: Duration = Duration::from_secs(10);
const GIVE_UP_AFTER: usize = 3;
/// At most as many lanes as a priority has.
const LANES: u8 = 32;

struct Maker {
    store: Store,
    clock: Clock,
    chance: Chance,
    sealing: SealingKeys,
    owner: UserId,
}

/// The table.
pub async fn measure() -> anyhow::Result<String> {
    let mut stage = Stage::set(PORT, &[]).await?;
    let pool = PgPool::connect(&stage.postgres.url()).await?;
    let maker = Maker {
        owner: sqlx::query_scalar("select id from users limit 1").fetch_one(&pool).await?,
        store: Store::new(pool.clone()),
        clock: Clock::system(),
        chance: Chance::system(),
        sealing: SealingKeys::parse(&SECRET_KEY.into())?,
    };
    let big = maker.organisation(None, &stage.receiver.url("1", "-")).await?;
    maker.fill(big).await?;
    eprintln!("a million deliveries are due");
    let mut singles = vec![];
    for n in 0..SINGLES * 2 {
        let with = (n % 2 == 0).then_some(big);
        let org = loop {
            let org = maker.organisation(with, &stage.receiver.url("1", &format!("single-{n}"))).await?;
            if shares_lane(org, big) == with.is_some() {
                break org;
            }
        };
        singles.push((org, n));
    }
    sqlx::raw_sql("analyze").execute(&pool).await?;
    stage.start_worker().await?;
    // Until the backlog is being worked off at full speed.
    stage.receiver.wait_for(2_000, Duration::from_secs(60)).await?;
    let mut waits = [vec![], vec![]];
    let mut given_up = [0, 0];
    for (org, n) in singles {
        if given_up[n % 2] == GIVE_UP_AFTER {
            continue;
        }
        let at = maker.publish(org, 1).await?;
        let arrived = arrival(&stage, &format!("/1/single-{n}")).await?;
        given_up[n % 2] += usize::from(arrived.is_none());
        waits[n % 2].push(arrived.map_or(f64::INFINITY, |arrived| (arrived - at).as_seconds_f64().max(0.0) * 1000.0));
    }
    let before = stage.receiver.count().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let rate = (stage.receiver.count().await? - before) / 5;
    let left: i64 =
        sqlx::query_scalar("select count(*) from jobs where org_id = $1").bind(big.0).fetch_one(&pool).await?;
    anyhow::ensure!(left > DUE as i64 / 10, "the backlog was over before the measurement: {left} left");
    let columns = ["the single delivery's organisation", "commit to arrival, p50", "p99", "longest"];
    let mut text =
        head("One organisation with 1,000,000 due deliveries to one endpoint, another with a single one:", &columns);
    for (name, waits) in [("falls into the same ordinary lane", &waits[0]), ("has another lane", &waits[1])] {
        let (p50, p99, longest) = spread(waits.clone());
        let ms = |value: f64| match value.is_finite() {
            true => format!("{value:.1} ms"),
            false => format!("more than {} s", PATIENCE.as_secs()),
        };
        text += &row([name.to_owned(), ms(p50), ms(p99), ms(longest)]);
    }
    text += &format!(
        "\n{SINGLES} organisations of each sort, one after the other; the large one got {rate} deliveries per second \
         meanwhile, and {left} were still due at the end.\n"
    );
    Ok(text)
}

impl Maker {
    /// Makes an organisation with one endpoint; one that is to share a lane `with` another gets its last byte.
    async fn organisation(&self, with: Option<OrgId>, url: &str) -> anyhow::Result<OrgId> {
        let now = self.clock.now();
        let mut org = OrgId::new(now, &self.chance);
        if let Some(with) = with {
            let mut bytes = *org.0.as_bytes();
            bytes[15] = with.0.as_bytes()[15];
            org = OrgId(uuid::Uuid::from_bytes(bytes));
        }
        let mut tx = self.store.begin().await?;
        sqlx::query(
            "insert into organizations (id, slug, name, plan, created_at) values ($1, $2, $2, 'enterprise', $3)",
        )
        .bind(org.0)
        .bind(format!("o{}", org.0.simple()))
        .bind(now)
        .execute(&mut *tx)
        .await?;
        let id = EndpointId::new(now, &self.chance);
        let secret = self.sealing.seal(&[b's'; 40], &secret_context(id), &self.chance);
        let types = [EVENT_TYPE.to_owned()];
        let new = NewEndpoint {
            id,
            org_id: org,
            dialect: DialectName::Inkode,
            url,
            name: "",
            event_types: Some(&types),
            enabled: true,
            secret: &secret,
            created_by: self.owner,
        };
        endpoint::insert(&mut tx, &new, now).await?;
        tx.commit().await?;
        Ok(org)
    }

    /// Publishes events as the API does; returns when they were committed.
    async fn publish(&self, org: OrgId, count: usize) -> anyhow::Result<DateTime<Utc>> {
        let now = self.clock.now();
        let event = |_| NewEvent {
            id: EventId::new(now, &self.chance),
            org_id: org,
            event_type: EVENT_TYPE.to_owned(),
            data: JsonText::parse(r#"{"slug":"spring","target":"https://example.com/spring"}"#).expect("JSON"),
            client_id: None,
            created_at: now,
        };
        let events: Vec<NewEvent> = (0..count).map(event).collect();
        let mut tx = self.store.begin().await?;
        publish(&mut tx, &events, None, now, &self.chance).await?;
        tx.commit().await?;
        Ok(self.clock.now())
    }

    /// A million due deliveries.
    async fn fill(&self, org: OrgId) -> anyhow::Result<()> {
        let half = async || {
            for _ in 0..DUE / CHUNK / 2 {
                self.publish(org, CHUNK).await?;
            }
            anyhow::Ok(())
        };
        futures::future::try_join(half(), half()).await?;
        Ok(())
    }
}

/// When the one event to `path` arrived; `None` if it did not in time.
async fn arrival(stage: &Stage, path: &str) -> anyhow::Result<Option<DateTime<Utc>>> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let (arrivals, _) = stage.receiver.arrivals().await?;
        if let Some((_, at)) = arrivals.iter().find(|((known, _), _)| known == path) {
            return Ok(Some(*at));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(None)
}

/// Whether two organisations wait in one lane: lanes go by the last byte of the id, modulo a power of two that is at
/// least [`LANES`].
fn shares_lane(a: OrgId, b: OrgId) -> bool {
    a.0.as_bytes()[15] % LANES == b.0.as_bytes()[15] % LANES
}
