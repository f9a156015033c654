//! Publishing what happened to things, in the transaction in which it happened: each dialect is told in its own words.
//!
//! One statement asks who listens, and where nobody does, that is all: no body is made and no event stored. Otherwise
//! three more statements, however many changes and listeners there are.

use std::{collections::HashMap, marker::PhantomData};

use chrono::{DateTime, Utc};
use domain::{
    chance::Chance,
    change::{Happened, Subject},
    delivery::NewDelivery,
    endpoint::{self, Audience, Subscriber},
    event::{self, NewEvent},
    id::{DeliveryId, EventId, OrgId},
    json::JsonText,
};
use sqlx::PgConnection;

use crate::{event::send, store::Tx};

/// Who listens to what happens to things of the kind `S`, by organisation and row of its table.
#[derive(Debug)]
pub struct Listeners<S> {
    found: HashMap<(OrgId, usize), Vec<Subscriber>>,
    to: PhantomData<S>,
}

impl<S> Listeners<S> {
    /// Whether anybody of an organisation listens: nobody needs to find out what there is to tell where nobody does.
    pub fn any(&self, org_id: OrgId) -> bool {
        self.found.keys().any(|(org, _)| *org == org_id)
    }

    /// Whether nobody listens at all.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

/// Asks who of these organisations listens, in one statement.
pub async fn listeners<S: Subject>(conn: &mut PgConnection, orgs: &[OrgId]) -> Result<Listeners<S>, sqlx::Error> {
    let mut orgs = orgs.to_vec();
    orgs.sort_unstable();
    orgs.dedup();
    let rows = S::TABLE.len();
    let audiences: Vec<Audience> = orgs
        .iter()
        .flat_map(|org_id| S::TABLE.iter().map(move |row| (*org_id, row)))
        .enumerate()
        .map(|(n, (org_id, row))| Audience {
            n: n as i32,
            org_id,
            event_type: row.event_type.into(),
            dialect: row.dialect,
        })
        .collect();
    let mut found = HashMap::<_, Vec<Subscriber>>::new();
    for subscriber in endpoint::subscribers(conn, &audiences).await? {
        let n = subscriber.n as usize;
        found.entry((orgs[n / rows], n % rows)).or_default().push(subscriber);
    }
    Ok(Listeners { found, to: PhantomData })
}

/// Publishes what happened to those who listen; returns how many events that were. `request_id` goes with the jobs.
pub async fn publish<S: Subject>(
    tx: &mut Tx<'_>,
    happened: &[Happened<S>],
    request_id: Option<&str>,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<usize, sqlx::Error> {
    if happened.is_empty() {
        return Ok(0);
    }
    let orgs: Vec<OrgId> = happened.iter().map(|it| it.org_id).collect();
    let listeners = listeners(tx, &orgs).await?;
    tell(tx, &listeners, happened, request_id, now, chance).await
}

/// The same, where the caller has asked who listens.
pub async fn tell<S: Subject>(
    tx: &mut Tx<'_>,
    listeners: &Listeners<S>,
    happened: &[Happened<S>],
    request_id: Option<&str>,
    now: DateTime<Utc>,
    chance: &Chance,
) -> Result<usize, sqlx::Error> {
    if listeners.is_empty() {
        return Ok(0);
    }
    let (mut events, mut deliveries) = (vec![], vec![]);
    for it in happened {
        for (n, row) in S::TABLE.iter().enumerate().filter(|(_, row)| row.change == it.change) {
            let Some(subscribers) = listeners.found.get(&(it.org_id, n)) else { continue };
            let Some(data) = (row.data)(it) else { continue };
            let event_id = EventId::new(now, chance);
            events.push(NewEvent {
                id: event_id,
                org_id: it.org_id,
                event_type: row.event_type.into(),
                data: JsonText::parse(&data.to_string()).expect("a body of ours has no number that JavaScript changes"),
                client_id: None,
                created_at: it.at,
            });
            deliveries.extend(subscribers.iter().map(|subscriber| NewDelivery {
                id: DeliveryId::new(now, chance),
                org_id: it.org_id,
                event_id,
                endpoint_id: subscriber.id,
                live: subscriber.live,
                is_test: false,
            }));
        }
    }
    event::insert_many(tx, &events.iter().collect::<Vec<_>>()).await?;
    send(tx, &deliveries, request_id, now, chance).await?;
    Ok(events.len())
}
