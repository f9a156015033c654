//! What exists before the fuzzer comes: endpoints of every dialect, deliveries in every state with their requests, and
//! replays; and the dictionaries that tell it their ids.

use std::collections::BTreeMap;

use domain::{
    attempt::{self, Attempt},
    delivery::{self, Change, State},
    id::DeliveryId,
    notification::{self, Kind, Letters, News, Subscription},
    sealed::SealingKeys,
};
use serde_json::{Value, json};

use crate::support::{TestApp, TestOrg};

/// Endpoints per dialect: deletions must not use them up.
const ENDPOINTS: usize = 8;
/// Events of each type below.
const EVENTS: usize = 3;

/// The ids of what exists, by the name of their dictionary.
pub struct World(BTreeMap<&'static str, Vec<Value>>);

impl World {
    /// Makes it in `org`.
    pub async fn make(app: &TestApp, org: &TestOrg) -> Self {
        let auth = format!("authorization: Bearer {}", org.session(app));
        let mut ids: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        ids.insert("orgs", vec![org.id.to_string().into()]);
        for dialect in ["inkode", "iloveqr", "inklink", "inkr", "qrstudio"] {
            for n in 0..ENDPOINTS {
                let url = format!("https://hooks.example.com/{dialect}/{n}");
                let endpoint = app.endpoint(org, dialect, &url, &[]).await;
                ids.entry("endpoints").or_default().push(endpoint["id"].clone());
                if ["iloveqr", "inklink", "inkr"].contains(&dialect) {
                    ids.entry(dialect).or_default().push(endpoint["id"].clone());
                }
            }
        }
        let smk = format!("authorization: Bearer {}", org.key("smk_"));
        let listed = app.get("/api/v1/webhooks/", &smk).await.expect(200);
        let numbers = listed["results"].as_array().unwrap().iter().map(|webhook| webhook["id"].clone());
        ids.insert("qrstudio", numbers.collect());

        for (name, path, field) in
            [("links", "/api/links", "destination"), ("folders", "/api/folders", "name"), ("tags", "/api/tags", "name")]
        {
            for n in 0..ENDPOINTS {
                let body = json!({field: format!("https://shop.example/{n}")});
                let made = app.post(path, &auth, body).await.expect(201);
                ids.entry(name).or_default().push(made["id"].clone());
            }
        }
        // The example of `openProtectedCode`.
        let protected = json!({"destination": "https://shop.example", "slug": "summer24", "password": "sesame"});
        app.post("/api/links", &auth, protected).await.expect(201);
        for n in 0..ENDPOINTS {
            let made = app.post("/api/domains", &auth, json!({"name": format!("go{n}.example.com")})).await.expect(201);
            ids.entry("domains").or_default().push(made["id"].clone());
            let alert = json!({"targetId": ids["links"][n], "kind": "threshold", "visits": 1000});
            let made = app.post("/api/alerts", &auth, alert).await.expect(201);
            ids.entry("alerts").or_default().push(made["id"].clone());
            let made = app.post("/api/link-pages", &auth, json!({"title": format!("Page {n}")})).await.expect(201);
            ids.entry("pages").or_default().push(made["id"].clone());
        }
        for n in 0..ENDPOINTS {
            let body = json!({"isDynamic": true, "content": {"url": format!("https://shop.example/{n}")}});
            let made = app.post("/api/qr", &auth, body).await.expect(201);
            ids.entry("qrs").or_default().push(made["id"].clone());
            let body = json!({"type": "CODE_39", "value": format!("BOX-{n}")});
            let made = app.post("/api/barcode", &auth, body).await.expect(201);
            ids.entry("barcodes").or_default().push(made["id"].clone());
        }
        for n in 0..ENDPOINTS {
            let body = json!({"format": "csv", "data": format!("url,slug\nhttps://shop.example/{n},imported-{n}\n,")});
            let made = app.post("/api/imports", &auth, body).await.expect(202);
            ids.entry("imports").or_default().push(made["id"].clone());
        }
        for n in 0..ENDPOINTS {
            let news = News {
                org_id: org.id,
                kind: Kind::LinkFailing,
                title: format!("News {n}"),
                text: String::new(),
                path: "/links".into(),
                maker: None,
                told: None,
            };
            let mut conn = app.store.pool().acquire().await.unwrap();
            notification::insert(&mut conn, &[news], app.clock.now(), &app.chance).await.unwrap();
        }
        let listed = app.get(&format!("/api/org/{}/notifications", org.id), &auth).await.expect(200);
        let news = listed["items"].as_array().unwrap().iter().map(|it| it["id"].clone());
        ids.insert("notifications", news.collect());
        let keys = SealingKeys::parse(&app.secret_key).unwrap();
        let subscription = Subscription { org_id: org.id, user_id: org.owner, letters: Letters::Digest };
        ids.insert("unsubscribe", vec![subscription.token(&keys, &app.chance).into()]);
        for _ in 0..EVENTS {
            for event_type in ["qr.scanned", "kyc.result.approved", "submission.completed", "scan.created"] {
                let event = app.publish(org, event_type, json!({"n": 1, "text": "naïve"})).await;
                ids.entry("events").or_default().push(event["id"].clone());
            }
        }
        for endpoint in ids["endpoints"].clone().iter().filter_map(Value::as_str) {
            let page = app.get(&format!("/api/webhooks/endpoints/{endpoint}/deliveries"), &auth).await.expect(200);
            let deliveries: Vec<Value> = page["items"].as_array().unwrap().iter().map(|d| d["id"].clone()).collect();
            settle(app, org, &deliveries).await;
            ids.entry("deliveries").or_default().extend(deliveries);
            let replay = json!({"states": ["held", "failed"]});
            let replay =
                app.post(&format!("/api/webhooks/endpoints/{endpoint}/replay"), &auth, replay).await.expect(202);
            ids.entry("replays").or_default().push(replay["id"].clone());
            // Some that can be resumed, whatever else is done to replays before.
            for _ in 0..4 {
                let replay = app.post("/api/webhooks/replays", &auth, json!({})).await.expect(202)["id"].clone();
                let pause = format!("/api/webhooks/replays/{}/pause", replay.as_str().unwrap());
                app.post(&pause, &auth, json!({})).await.expect(200);
                ids.entry("replays").or_default().push(replay);
            }
        }
        Self(ids)
    }

    /// The dictionaries, as schemathesis's configuration spells them (TOML).
    pub fn dictionaries(&self) -> String {
        let tables = self.0.iter().map(|(name, ids)| format!("\n[dictionaries.{name}]\nvalues = {}\n", json!(ids)));
        tables.collect()
    }
}

/// Brings the first of an endpoint's deliveries into the states that the fleet would; the others stay pending.
async fn settle(app: &TestApp, org: &TestOrg, deliveries: &[Value]) {
    let now = app.clock.now();
    let mut conn = app.store.pool().acquire().await.unwrap();
    for (id, state) in deliveries.iter().zip([State::Delivered, State::Failed]) {
        let id: DeliveryId = id.as_str().and_then(|id| id.parse().ok()).expect("a delivery's id");
        let row = delivery::find(&mut conn, org.id, id).await.unwrap().unwrap();
        let request = |number, status, body: &str, error: &str| Attempt {
            delivery_id: id,
            number,
            org_id: org.id,
            endpoint_id: row.endpoint_id,
            started_at: now,
            duration_ms: 12,
            status,
            response_body: body.to_owned(),
            error: error.to_owned(),
            remote_addr: Some("192.0.2.1:443".into()),
        };
        let last = if state == State::Delivered { Some(204) } else { Some(500) };
        let requests = [request(1, None, "", "Read timed out"), request(2, last, "héllo \u{fffd}", "")];
        attempt::insert_many(&mut conn, &requests.each_ref()).await.unwrap();
        for made in [0, 1] {
            let state = if made == 0 { State::Pending } else { state };
            let next_attempt_at = (state == State::Pending).then_some(now);
            let change =
                Change { id, org_id: org.id, state, made: 1, next_attempt_at, reason: "A request was made.".into() };
            delivery::change_many(&mut conn, &[&change], now).await.unwrap();
        }
    }
}
