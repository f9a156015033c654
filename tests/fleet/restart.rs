//! Postgres goes away and comes back under a running installation.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use inkfleet::postgres::{Cluster, Options};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::until;
use crate::support::{Receiver, receiver::Reply};

/// A process that does not outlive the story.
struct Program(Child);

impl Program {
    fn start(cluster: &Cluster, dir: &Path, words: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_inkfleet"))
            .args(words)
            .current_dir(dir)
            .env_clear()
            .env("DATABASE_URL", cluster.url())
            .env("PORT", "0")
            .env("INKFLEET_LOG", "off")
            .env("INKFLEET_SECRET_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends the server as a crash does, without a word to anybody.
fn crash(cluster: Cluster) {
    let pid = fs::read_to_string(cluster.home().join("data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().to_owned();
    assert!(Command::new("kill").args(["-QUIT", &pid]).status().unwrap().success());
    cluster.stop().unwrap();
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "a story's own client, to the program under test")]
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The status and the body of `/readyz`.
async fn readyz(http: &reqwest::Client, url: &str) -> (u16, Value) {
    let answer = http.get(format!("{url}/readyz")).send().await.expect("the program answers, Postgres or not");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn an_installation_outlives_its_postgres_and_goes_on_when_that_is_back() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let home = dir.path().join("postgres");
    let start = || Cluster::start(&home, Options { durable: true }).unwrap();
    let cluster = start();
    let mut program = Program::start(&cluster, dir.path(), &["dev", "--json"]);
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
    let ready: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let url = ready["url"].as_str().unwrap();
    let http = client();
    // One request is under way over the crash, and answered during it.
    let receiver = Receiver::start(Reply::Delay(Duration::from_secs(2), Box::new(Reply::ok())));
    let endpoint = json!({"url": receiver.url(), "dialect": "inklink"});
    let session = ready["session"].as_str().unwrap();
    let answer =
        http.post(format!("{url}/api/webhooks/endpoints")).bearer_auth(session).json(&endpoint).send().await.unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    let publish = |n: i32| {
        let key = ready["keys"]["ink"].as_str().unwrap().to_owned();
        let request = http.post(format!("{url}/api/v1/events")).header("x-api-key", key);
        request.json(&json!({"type": "kyc.result.approved", "data": {"n": n}})).send()
    };
    until("it is ready", || async { readyz(&http, url).await.1["workers"] == 1 }).await;
    assert_eq!(publish(1).await.unwrap().status(), 202);
    receiver.wait_for(1).await;
    // Postgres may not have flushed the claim, because nobody waits for that.

    crash(cluster);
    until("it says so", || async {
        let (status, body) = readyz(&http, url).await;
        status == 503 && body["database"] == false
    })
    .await;
    let refused = publish(2).await.unwrap().status();
    assert!(refused.is_server_error(), "{refused}");

    let cluster = start();
    until("it is ready again", || async {
        let (status, body) = readyz(&http, url).await;
        status == 200 && body["workers"] == 1
    })
    .await;
    assert_eq!(publish(3).await.unwrap().status(), 202);
    receiver.wait_for(2).await;
    let mut conn = PgConnection::connect(&cluster.url()).await.unwrap();
    let mut count =
        async |query: &'static str| -> i64 { sqlx::query_scalar(query).fetch_one(&mut conn).await.unwrap() };
    let end = std::time::Instant::now() + super::PATIENCE;
    while count("select count(*) from deliveries where state = 'delivered'").await < 2 {
        assert!(std::time::Instant::now() < end, "a delivery is not recorded");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(receiver.received().len(), 2, "the request that was under way is not repeated");
    assert_eq!(count("select count(*) from attempts").await, 2);
    assert_eq!(count("select count(*) from jobs where kind = 'delivery.attempt'").await, 0);
}
