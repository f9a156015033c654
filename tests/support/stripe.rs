//! A Stripe of the stories' own: a local server that speaks the documented shapes of what is read there (lists with
//! paging, single objects, errors, rate limits), on the story's clock, and signs what it tells by itself.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Duration, Utc};
use domain::{billing::Prices, clock::Clock, plan::Plan};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    Receiver, TestApp, TestOrg,
    app::{self, STRIPE_SECRET},
    receiver::{Received, Reply, Script},
};

/// The key that opens it.
pub const KEY: &str = "sk_test_of_the_stories";

/// Which of its prices is which plan.
pub fn prices() -> Prices {
    [("price_starter", Plan::Starter), ("price_pro", Plan::Pro), ("price_business", Plan::Business)]
        .map(|(price, plan)| (price.to_owned(), plan))
        .into_iter()
        .collect()
}

/// What is there.
#[derive(Default)]
struct Account {
    customers: BTreeMap<String, Value>,
    /// In the order in which they were made.
    invoices: Vec<Value>,
    subscriptions: Vec<Value>,
    /// The invoice that a payment paid.
    payments: BTreeMap<String, String>,
    /// Answers in place of the next ones.
    instead: VecDeque<Reply>,
    events: u32,
    /// How far its clock is ahead of the story's.
    ahead: Duration,
    /// The status of every answer, while it says nothing of use.
    shut: Option<u16>,
    /// How long each answer takes on the story's clock.
    takes: Duration,
}

/// A Stripe that listens on loopback until it is dropped.
pub struct Stripe {
    account: Arc<Mutex<Account>>,
    server: Receiver,
    clock: Clock,
}

fn body(status: u16, at: DateTime<Utc>, value: &Value) -> Reply {
    Reply::status(status)
        .with_header("Content-Type", "application/json")
        .with_header("Date", &at.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .with_body(value.to_string())
}

fn error(status: u16, at: DateTime<Utc>, kind: &str, code: &str, message: &str) -> Reply {
    body(status, at, &json!({"error": {"type": kind, "code": code, "message": message}}))
}

fn missing(at: DateTime<Utc>, what: &str, id: &str, status: u16) -> Reply {
    error(status, at, "invalid_request_error", "resource_missing", &format!("No such {what}: '{id}'"))
}

impl Account {
    fn answer(&mut self, request: &Received, at: DateTime<Utc>) -> Reply {
        if let Some(reply) = self.instead.pop_front() {
            return reply;
        }
        if let Some(status) = self.shut {
            return error(status, at, "api_error", "", "Nothing of use");
        }
        if request.header("authorization") != Some(&format!("Bearer {KEY}")) {
            return error(401, at, "invalid_request_error", "", "Invalid API Key provided: sk_live_****");
        }
        assert_eq!(request.header("stripe-version"), Some("2025-03-31.basil"));
        assert_eq!(request.method, "GET", "nothing is ever changed there");
        let url = url::Url::parse(&format!("http://stripe{}", request.path)).unwrap();
        let asked: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let path: Vec<&str> = url.path_segments().unwrap().collect();
        match path[..] {
            ["v1", "invoices"] => self.list(&self.invoices, &asked, at, "/v1/invoices"),
            ["v1", "subscriptions"] => {
                let all = asked.get("status").is_some_and(|status| status == "all");
                let shown: Vec<Value> =
                    self.subscriptions.iter().filter(|s| all || s["status"] != "canceled").cloned().collect();
                match asked.get("customer") {
                    Some(customer) if !self.customers.contains_key(customer) => missing(at, "customer", customer, 400),
                    _ => self.list(&shown, &asked, at, "/v1/subscriptions"),
                }
            }
            ["v1", "invoices", id] => match self.invoices.iter().find(|invoice| invoice["id"] == id) {
                Some(invoice) => body(200, at, &self.expanded(invoice, asked.get("expand[]"))),
                None => missing(at, "invoice", id, 404),
            },
            ["v1", "customers", id] => match self.customers.get(id) {
                Some(customer) => body(200, at, customer),
                None => missing(at, "customer", id, 404),
            },
            ["v1", "invoice_payments"] => {
                assert_eq!(asked["payment[type]"], "payment_intent");
                let paid = self.payments.get(&asked["payment[payment_intent]"]);
                let data: Vec<Value> = paid.iter().map(|invoice| json!({"invoice": invoice})).collect();
                body(200, at, &json!({"object": "list", "data": data, "has_more": false}))
            }
            _ => missing(at, "route", url.path(), 404),
        }
    }

    fn expanded(&self, object: &Value, expand: Option<&String>) -> Value {
        let mut object = object.clone();
        if expand.is_some_and(|expand| expand.ends_with("customer")) {
            object["customer"] = self.customers[object["customer"].as_str().unwrap()].clone();
        }
        object
    }

    /// <https://docs.stripe.com/api/pagination>
    fn list(&self, all: &[Value], asked: &BTreeMap<String, String>, at: DateTime<Utc>, url: &str) -> Reply {
        let limit: usize = asked.get("limit").map_or(10, |limit| limit.parse().unwrap());
        assert!((1..=100).contains(&limit));
        let from: i64 = asked.get("created[gte]").map_or(i64::MIN, |from| from.parse().unwrap());
        let of = |object: &&Value| asked.get("customer").is_none_or(|customer| object["customer"] == *customer);
        let mut found: Vec<&Value> = all.iter().filter(of).filter(|o| o["created"].as_i64().unwrap() >= from).collect();
        // Newest first; of two in one second, the one that was made later.
        found.reverse();
        found.sort_by_key(|object| std::cmp::Reverse(object["created"].as_i64()));
        if let Some(after) = asked.get("starting_after") {
            match found.iter().position(|object| object["id"] == *after) {
                Some(place) => drop(found.drain(..=place)),
                None => return missing(at, "invoice", after, 400),
            }
        }
        let data: Vec<Value> =
            found.iter().take(limit).map(|object| self.expanded(object, asked.get("expand[]"))).collect();
        body(200, at, &json!({"object": "list", "url": url, "data": data, "has_more": found.len() > limit}))
    }
}

impl Stripe {
    /// Starts one on the story's clock, and lets the story's fleet read it.
    pub fn start(app: &mut TestApp) -> Self {
        let (account, clock) = (Arc::new(Mutex::new(Account::default())), app.clock.clone());
        let (of, time) = (account.clone(), clock.clone());
        let server = Receiver::start(Script::by(move |_, request| {
            let account = &mut *of.lock().unwrap();
            if !account.takes.is_zero() {
                time.advance(account.takes);
            }
            account.answer(request, time.now() + account.ahead)
        }));
        let stripe = Self { account, server, clock };
        app.context.stripe = Some(Arc::new(stripe.client(KEY)));
        stripe
    }

    /// What reads it with that key.
    pub fn client(&self, key: &str) -> workers::stripe::Stripe {
        let rules = domain::http_url::Rules { allow_http: true, max_chars: 2000 };
        let url = domain::http_url::HttpUrl::parse(&format!("http://{}", self.server.address()), rules).unwrap();
        workers::stripe::Stripe::new(&SecretString::from(key), &url).unwrap()
    }

    /// The requests so far: path and query.
    pub fn asked(&self) -> Vec<String> {
        self.server.received().into_iter().map(|request| request.path).collect()
    }

    /// Answers so in place of the next answer.
    pub fn instead(&self, reply: Reply) {
        self.account.lock().unwrap().instead.push_back(reply);
    }

    /// The next request is one too many.
    pub fn limit(&self, retry_after_s: Option<u32>) {
        let mut reply = error(429, self.clock.now(), "invalid_request_error", "rate_limit", "Too many requests");
        if let Some(seconds) = retry_after_s {
            reply = reply.with_header("Retry-After", &seconds.to_string());
        }
        self.instead(reply);
    }

    /// Something is wrong there for one request.
    pub fn stumble(&self) {
        self.instead(error(500, self.clock.now(), "api_error", "", "An unknown error occurred"));
    }

    /// Answers everything with a status such as 401 or 500, until it is told otherwise.
    pub fn shut(&self, status: Option<u16>) {
        self.account.lock().unwrap().shut = status;
    }

    /// Lets so much of the story's time pass with each answer.
    pub fn takes(&self, time: Duration) {
        self.account.lock().unwrap().takes = time;
    }

    /// Sets its clock, which goes on when this machine's was set back.
    pub fn ahead(&self, by: Duration) {
        self.account.lock().unwrap().ahead = by;
    }

    /// Its time, in seconds.
    pub fn now(&self) -> i64 {
        (self.clock.now() + self.account.lock().unwrap().ahead).timestamp()
    }

    /// A customer, with an organisation written onto it or not.
    pub fn customer(&self, id: &str, org: Option<&TestOrg>) {
        let metadata = org.map_or(json!({}), |org| json!({"orgId": org.id.to_string()}));
        let customer = json!({"id": id, "object": "customer", "email": "ann@acme.example", "metadata": metadata});
        self.account.lock().unwrap().customers.insert(id.to_owned(), customer);
    }

    /// A subscription in today's shape; `more` overwrites its members.
    pub fn subscription(&self, id: &str, customer: &str, price: &str, status: &str, more: Value) {
        let (now, month) = (self.now(), 30 * 86_400);
        let item = json!({
            "id": format!("si_{id}"), "object": "subscription_item", "quantity": 3, "current_period_start": now,
            "current_period_end": now + month,
            "price": {"id": price, "object": "price", "recurring": {"interval": "month", "interval_count": 1}},
        });
        let mut subscription = json!({
            "id": id, "object": "subscription", "customer": customer, "status": status, "created": now, "metadata": {},
            "items": {"object": "list", "data": [item], "has_more": false}, "cancel_at_period_end": false,
            "cancel_at": null, "ended_at": null, "trial_start": null, "trial_end": null,
        });
        merge(&mut subscription, more);
        self.account.lock().unwrap().subscriptions.push(subscription);
    }

    /// An open invoice of a subscription in today's shape, just made, of 19 EUR; `more` overwrites its members.
    pub fn invoice(&self, id: &str, customer: &str, more: Value) {
        let now = self.now();
        let mut invoice = json!({
            "id": id, "object": "invoice", "customer": customer, "status": "open", "number": format!("N-{id}"),
            "currency": "eur", "amount_due": 1900, "amount_paid": 0, "amount_remaining": 1900, "attempt_count": 0,
            "attempted": false, "next_payment_attempt": null, "collection_method": "charge_automatically",
            "hosted_invoice_url": format!("https://invoice.stripe.example/{id}"), "created": now, "due_date": null,
            "customer_email": "ann@acme.example", "metadata": {}, "lines": {"object": "list", "data": []},
            "status_transitions": {"finalized_at": now, "paid_at": null, "voided_at": null,
                                   "marked_uncollectible_at": null},
            "parent": {"type": "subscription_details",
                       "subscription_details": {"subscription": "sub_1", "metadata": {}}},
        });
        merge(&mut invoice, more);
        self.account.lock().unwrap().invoices.push(invoice);
    }

    /// Changes an invoice or a subscription.
    pub fn change(&self, id: &str, more: Value) {
        let account = &mut *self.account.lock().unwrap();
        let mut all = account.invoices.iter_mut().chain(&mut account.subscriptions);
        merge(all.find(|object| object["id"] == id).unwrap_or_else(|| panic!("no {id}")), more);
    }

    /// A payment of an invoice fails, and is tried again in some days unless `last`.
    pub fn fail(&self, id: &str, attempt: i32, last: bool) {
        let next = (!last).then(|| self.now() + 3 * 86_400);
        self.change(id, json!({"attempt_count": attempt, "attempted": true, "next_payment_attempt": next}));
    }

    /// An invoice is paid, by a payment of that name.
    pub fn pay(&self, id: &str, payment: &str) {
        let paid_at = self.now();
        self.change(
            id,
            json!({"status": "paid", "amount_paid": 1900, "amount_remaining": 0, "next_payment_attempt": null,
                   "status_transitions": {"paid_at": paid_at}}),
        );
        self.account.lock().unwrap().payments.insert(payment.to_owned(), id.to_owned());
    }

    /// A part of an invoice is paid, by a payment of that name.
    pub fn paid_partly(&self, id: &str, payment: &str) {
        self.change(id, json!({"amount_paid": 900, "amount_remaining": 1000}));
        self.account.lock().unwrap().payments.insert(payment.to_owned(), id.to_owned());
    }

    /// An event about an object as it is now.
    pub fn event(&self, kind: &str, id: &str) -> Value {
        let account = self.account.lock().unwrap();
        let mut all = account.invoices.iter().chain(&account.subscriptions).chain(account.customers.values());
        let object = all.find(|object| object["id"] == id).unwrap_or_else(|| panic!("no {id}")).clone();
        drop(account);
        self.event_of(kind, object)
    }

    /// An event about any object.
    pub fn event_of(&self, kind: &str, object: Value) -> Value {
        let now = self.now();
        let mut account = self.account.lock().unwrap();
        account.events += 1;
        json!({
            "id": format!("evt_{}", account.events), "object": "event", "type": kind, "created": now,
            "api_version": "2025-03-31.basil", "livemode": false, "data": {"object": object},
        })
    }

    /// Tells the program of an object as it is now, and lets it be taken.
    pub async fn tell(&self, app: &TestApp, kind: &str, id: &str) {
        let event = self.event(kind, id);
        assert_eq!(deliver(app, &event).await.status, 200);
        app.drain().await;
    }
}

/// The value of `Stripe-Signature` for a body.
pub fn signature(body: &str, secret: &str, at: DateTime<Utc>) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{}.{body}", at.timestamp()).as_bytes());
    format!("t={},v1={}", at.timestamp(), hex::encode(mac.finalize().into_bytes()))
}

/// Sends an event as Stripe does.
pub async fn deliver(app: &TestApp, event: &Value) -> app::Reply {
    let body = event.to_string();
    let signature = signature(&body, STRIPE_SECRET, app.clock.now());
    let headers = [("stripe-signature", signature.as_str()), ("content-type", "application/json; charset=utf-8")];
    app.send("POST", "/api/webhooks/stripe", &headers, Some(body)).await
}

/// So many days in seconds.
pub fn days(days: i64) -> i64 {
    Duration::days(days).num_seconds()
}

fn merge(object: &mut Value, more: Value) {
    let Value::Object(members) = more else { return };
    for (name, value) in members {
        match (&mut object[&name], value) {
            (old @ Value::Object(_), Value::Object(inner)) => merge(old, Value::Object(inner)),
            (old, value) => *old = value,
        }
    }
}
