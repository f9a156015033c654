//! Webhooks as their owner sees them: endpoints, deliveries and attempts, through Inkode's surface.

use chrono::{DateTime, Duration, Utc};
use domain::partition;
use jobs::queue::admin;
use serde_json::{Value, json};

use super::{Reply, TestApp, TestOrg};

/// Each dialect with an event type of its catalogue.
pub const TYPES: [(&str, &str); 5] = [
    ("inkode", "link.clicked"),
    ("iloveqr", "member.joined"),
    ("inklink", "kyc.result.approved"),
    ("inkr", "submission.completed"),
    ("qrstudio", "quota.threshold_75"),
];

/// The type of [`TYPES`] for a dialect.
pub fn type_of(dialect: &str) -> &'static str {
    TYPES.into_iter().find(|(name, _)| *name == dialect).expect("a dialect").1
}

/// A text of the answer.
#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// A moment of the answer, whole milliseconds.
#[track_caller]
pub fn moment(value: &Value) -> DateTime<Utc> {
    text(value).parse().unwrap_or_else(|error| panic!("{value}: {error}"))
}

impl TestApp {
    /// A request by the owner's session.
    pub async fn owner(&self, org: &TestOrg, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.call(method, path, &format!("authorization: Bearer {}", org.session(self)), body).await
    }

    /// An endpoint as it is now; `endpoint` is any answer with its `id`.
    pub async fn endpoint_now(&self, org: &TestOrg, endpoint: &Value) -> Value {
        let path = format!("/api/webhooks/endpoints/{}", text(&endpoint["id"]));
        self.owner(org, "GET", &path, None).await.expect(200)
    }

    /// Changes an endpoint.
    pub async fn patch_endpoint(&self, org: &TestOrg, endpoint: &Value, patch: Value) -> Value {
        let path = format!("/api/webhooks/endpoints/{}", text(&endpoint["id"]));
        self.owner(org, "PATCH", &path, Some(patch)).await.expect(200)
    }

    /// Deletes an endpoint.
    pub async fn delete_endpoint(&self, org: &TestOrg, endpoint: &Value) {
        let path = format!("/api/webhooks/endpoints/{}", text(&endpoint["id"]));
        self.owner(org, "DELETE", &path, None).await.expect(204);
    }

    /// A new secret of an endpoint, the old one signing beside it for a while.
    pub async fn rotate(&self, org: &TestOrg, endpoint: &Value, overlap_s: i64) -> String {
        let path = format!("/api/webhooks/endpoints/{}/rotate-secret", text(&endpoint["id"]));
        let answer = self.owner(org, "POST", &path, Some(json!({"overlapSeconds": overlap_s}))).await.expect(200);
        text(&answer["secret"]).to_owned()
    }

    /// Sends a test event to an endpoint; its delivery's id.
    pub async fn try_out(&self, org: &TestOrg, endpoint: &Value) -> String {
        let path = format!("/api/webhooks/endpoints/{}/test", text(&endpoint["id"]));
        let answer = self.owner(org, "POST", &path, Some(json!({}))).await.expect(202);
        text(&answer["deliveryId"]).to_owned()
    }

    /// An endpoint's deliveries, oldest first.
    pub async fn deliveries(&self, org: &TestOrg, endpoint: &Value) -> Vec<Value> {
        let path = format!("/api/webhooks/endpoints/{}/deliveries?limit=100", text(&endpoint["id"]));
        let mut page = self.owner(org, "GET", &path, None).await.expect(200);
        let mut items: Vec<Value> = serde_json::from_value(page["items"].take()).unwrap();
        items.reverse();
        items
    }

    /// The states of an endpoint's deliveries, oldest first.
    pub async fn states(&self, org: &TestOrg, endpoint: &Value) -> Vec<String> {
        self.deliveries(org, endpoint).await.iter().map(|delivery| text(&delivery["state"]).to_owned()).collect()
    }

    /// The id of an endpoint's only delivery.
    pub async fn only_delivery(&self, org: &TestOrg, endpoint: &Value) -> String {
        let deliveries = self.deliveries(org, endpoint).await;
        assert_eq!(deliveries.len(), 1, "{deliveries:#?}");
        text(&deliveries[0]["id"]).to_owned()
    }

    /// A delivery with its attempts.
    pub async fn delivery(&self, org: &TestOrg, id: &str) -> Value {
        self.owner(org, "GET", &format!("/api/webhooks/deliveries/{id}"), None).await.expect(200)
    }

    /// Asks for one delivery to be made again.
    pub async fn retry(&self, org: &TestOrg, id: &str) -> Reply {
        self.owner(org, "POST", &format!("/api/webhooks/deliveries/{id}/retry"), None).await
    }

    /// Makes the partitions around the story's present, for stories that go on for more than a week.
    pub async fn partitions(&self) {
        let mut conn = self.store.pool().acquire().await.unwrap();
        assert!(partition::ensure(&mut conn, self.clock.now()).await.unwrap());
    }

    /// Lets time pass from one job to the next, as it does for a fleet that runs.
    pub async fn live(&self, time: Duration) {
        let end = self.clock.now() + time;
        loop {
            self.drain().await;
            let mut conn = self.store.pool().acquire().await.unwrap();
            match admin::unfinished(&mut conn).await.unwrap().first() {
                // A job may be due at once by a clock that went on while this one stood still.
                Some(job) if job.run_at <= end => self.clock.set(self.clock.now().max(job.run_at)),
                _ => break,
            }
        }
        self.clock.set(end);
    }

    /// Runs SQL for which the program has no door.
    pub async fn sql(&self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(self.store.pool()).await.unwrap();
    }
}
