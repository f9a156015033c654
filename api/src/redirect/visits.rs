//! What redirects leave behind: each is noted in memory, and every few milliseconds all that were noted are stored in one
//! row, with the job that counts them. A process that is killed loses what it noted since; one that stops loses nothing.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{
    agent::Agent,
    chance::Chance,
    clock::Clock,
    id::{OrgId, new_uuid},
    routing::preferred_language,
    visit::{self, Text, Visit, visitor},
};
use jobs::{
    job::NewJob,
    line::Line,
    queue,
    store::{ANSWER, Store, within},
    visit::CountVisits,
};
use sqlx::PgConnection;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::place::{Places, Told};

/// The most visits of one row.
const BATCH: usize = 4096;
/// How many notes are read before redirects have their turn.
const AT_ONCE: usize = 32;
/// How long the first note of a row waits for more.
const LINGER: Duration = Duration::from_millis(10);
/// How many notes may wait, while Postgres is away for example: some hundred bytes each.
const WAITING: usize = 262_144;
/// How long a redirect waits for a place among them. Leading people on is worth more than counting them.
const PATIENCE: Duration = Duration::from_millis(100);
/// The wait before storing is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a job that counts waits for more to count.
const COUNT_AFTER: TimeDelta = TimeDelta::milliseconds(1000);
/// A row that is begun this long before a job's time is sure to be counted by it.
const SURE: TimeDelta = TimeDelta::milliseconds(500);
/// How many user agents are known at a time.
const AGENTS: usize = 10_000;

/// A redirect that is about to be answered.
#[derive(Debug)]
pub struct Note {
    /// Whose code it was.
    pub org_id: OrgId,
    /// The link or QR code.
    pub target_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// From where: with the user agent, what tells visitors apart. It is not kept.
    pub address: Option<IpAddr>,
    /// `User-Agent`.
    pub agent: Box<str>,
    /// `Accept-Language`.
    pub languages: Box<str>,
    /// `Referer`.
    pub referrer: Box<str>,
    /// The place, as far as the request tells.
    pub told: Told,
    /// Which rule or variant leads on.
    pub branch: Box<str>,
}

#[derive(Debug)]
enum Word {
    Note(Note),
    /// Everything that was noted before is stored when this is answered.
    Flush(oneshot::Sender<()>),
}

/// Takes notes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Visits(mpsc::Sender<Word>);

impl Visits {
    /// Begins to take notes, until this and its clones are gone.
    pub fn start(store: Store, places: Arc<Places>, clock: Clock, chance: Chance) -> Self {
        let (notes, waiting) = mpsc::channel(WAITING);
        let (line, salts, agents) = (Line::new(store.pool().clone()), HashMap::new(), HashMap::new());
        let writer = Writer { store, line, places, clock, chance, salts, agents, counted_at: None };
        tokio::spawn(writer.run(waiting));
        Self(notes)
    }

    /// Notes a visit. One for which there is no place, because storing has fallen far behind, is given up and told.
    pub async fn note(&self, note: Note) {
        let Err(mpsc::error::TrySendError::Full(word)) = self.0.try_send(Word::Note(note)) else { return };
        if self.0.send_timeout(word, PATIENCE).await.is_err() {
            metrics::counter!("inkfleet_visits_lost_total").increment(1);
        }
    }

    /// Returns when everything that was noted before is stored.
    pub async fn flush(&self) {
        let (done, stored) = oneshot::channel();
        if self.0.send(Word::Flush(done)).await.is_ok() {
            let _ = stored.await;
        }
    }
}

struct Writer {
    store: Store,
    /// Batches leave by a connection of their own, in one statement each: what the pool adds to that would be taken from the
    /// redirects.
    line: Line,
    places: Arc<Places>,
    clock: Clock,
    chance: Chance,
    salts: HashMap<NaiveDate, Vec<u8>>,
    agents: HashMap<Box<str>, Agent>,
    /// When the job that counts is due that was enqueued last.
    counted_at: Option<DateTime<Utc>>,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Word>) {
        let mut words = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut words, BATCH).await > 0 {
            if words.len() < BATCH && !words.iter().any(|word| matches!(word, Word::Flush(_))) {
                tokio::time::sleep(LINGER).await;
                while let Some(word) = (words.len() < BATCH).then(|| waiting.try_recv().ok()).flatten() {
                    words.push(word);
                }
            }
            let (mut notes, mut flushes) = (Vec::with_capacity(words.len()), vec![]);
            for word in words.drain(..) {
                match word {
                    Word::Note(note) => notes.push(note),
                    Word::Flush(done) => flushes.push(done),
                }
            }
            if !notes.is_empty() {
                self.store(notes).await;
            }
            for done in flushes {
                let _ = done.send(());
            }
        }
    }

    /// Stores notes, however long Postgres is away.
    async fn store(&mut self, notes: Vec<Note>) {
        let mut failed = false;
        let mut batch: Option<(Uuid, Vec<Visit>)> = None;
        loop {
            let stored = match &batch {
                Some((id, visits)) => self.insert(*id, visits).await,
                // The same ids each time, should only the answer to a commit have been lost.
                None => self.read(&notes).await.map(|visits| {
                    batch = Some((new_uuid(self.clock.now(), &self.chance), visits));
                    false
                }),
            };
            match stored {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        let visits = notes.len();
                        tracing::warn!(%error, visits, "visits are not stored yet; they are kept until they are");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn insert(&mut self, id: Uuid, visits: &[Visit]) -> Result<bool, sqlx::Error> {
        let now = self.clock.now();
        let due = self.counted_at.filter(|at| *at - now > SURE && *at - now <= COUNT_AFTER);
        let (store, chance) = (&self.store, &self.chance);
        let work = async |conn: &mut PgConnection| {
            if due.is_some() {
                return visit::insert_batch(conn, id, visits).await;
            }
            let mut tx = store.begin_on(conn).await?;
            visit::insert_batch(&mut tx, id, visits).await?;
            let job = NewJob::new(OrgId::SYSTEM, &CountVisits {}, now, chance).at(now + COUNT_AFTER);
            queue::enqueue(&mut tx, job).await?;
            tx.commit().await
        };
        self.line.ask(work).await?;
        self.counted_at = due.or(Some(now + COUNT_AFTER));
        Ok(true)
    }

    /// The notes as they are stored.
    async fn read(&mut self, notes: &[Note]) -> Result<Vec<Visit>, sqlx::Error> {
        let days: HashSet<NaiveDate> = notes.iter().map(|note| note.at.date_naive()).collect();
        self.salts.retain(|day, _| days.contains(day));
        for day in days {
            if !self.salts.contains_key(&day) {
                let (store, fresh) = (&self.store, self.chance.bytes());
                let ask = async { visit::salt(&mut *store.pool().acquire().await?, day, fresh).await };
                self.salts.insert(day, within(ANSWER, ask).await?);
            }
        }
        let mut visits = Vec::with_capacity(notes.len());
        for some in notes.chunks(AT_ONCE) {
            visits.extend(some.iter().map(|note| self.visit(note)));
            // Redirects wait for this thread.
            tokio::task::yield_now().await;
        }
        Ok(visits)
    }

    fn visit(&mut self, note: &Note) -> Visit {
        if self.agents.len() >= AGENTS {
            self.agents.clear();
        }
        let agent = match self.agents.get(&note.agent) {
            Some(agent) => agent.clone(),
            None => {
                let agent = Agent::read(&note.agent);
                self.agents.insert(note.agent.clone(), agent.clone());
                agent
            }
        };
        let address = note.address.map(|address| address.to_string()).unwrap_or_default();
        let salt = self.salts.get(&note.at.date_naive()).map_or(&[][..], Vec::as_slice);
        let place = self.places.of(&note.told, note.address);
        Visit {
            id: new_uuid(note.at, &self.chance),
            org_id: note.org_id,
            target_id: note.target_id,
            at: note.at,
            visitor: visitor(salt, &address, &note.agent),
            is_bot: agent.is_bot,
            device: Text::const_new(agent.device),
            system: Text::const_new(agent.system),
            browser: Text::const_new(agent.browser),
            country: place.country.into(),
            region: place.region.into(),
            language: language(&note.languages),
            referrer: referrer(&note.referrer),
            branch: (&*note.branch).into(),
        }
    }
}

/// The language that an `Accept-Language` header prefers, without its region.
fn language(header: &str) -> Text {
    let plain = Text::from(preferred_language(header).split('-').next().unwrap_or_default()).to_ascii_lowercase();
    let fits = (2..=3).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_lowercase());
    if fits { plain } else { Text::default() }
}

/// The host of a `Referer` header.
fn referrer(header: &str) -> Text {
    let url = url::Url::parse(header).ok();
    let host = url.as_ref().and_then(|url| url.host_str()).map(|host| Text::from(host).to_ascii_lowercase());
    host.map(|host| host.strip_prefix("www.").map(Text::from).unwrap_or(host)).unwrap_or_default()
}
