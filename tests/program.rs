//! The program as its user runs it: the built binary, its words, its output, its exit.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlx::Connection;

use crate::support::{Receiver, database::Database, org::SESSION_KEY, receiver::Reply};

const PROGRAM: &str = env!("CARGO_BIN_EXE_inkfleet");
const SECRET_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The program with nothing of this process's settings.
fn program(words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("INKFLEET_LOG", "error").stdin(Stdio::null());
    command
}

/// The program against a story's database, in production's way.
pub fn production(database: &Database, words: &[&str]) -> Command {
    let mut command = program(words);
    command
        .env("DATABASE_URL", &database.url)
        .env("INKFLEET_SECRET_KEY", SECRET_KEY)
        .env("INKFLEET_SESSION_SIGNING_KEY", SESSION_KEY)
        .env("INKFLEET_ALLOW_PRIVATE_TARGETS", "true")
        .env("INKFLEET_ALLOW_HTTP_TARGETS", "true")
        .env("BIND", "127.0.0.1")
        .env("PORT", "0");
    command
}

/// A process that does not outlive the story.
struct Running(Child);

impl Running {
    /// Ends it as Ctrl-C does, and waits.
    fn interrupt(mut self) -> Option<i32> {
        let done = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap();
        assert!(done.success());
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the program does not end within twenty seconds of SIGINT");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The turns of a process's threads at a processor, in ns as the kernel writes them. None where it does not say.
fn turns(process: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let said = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("sched")).ok());
    said.filter_map(|text| {
        let line = text.lines().find(|line| line.starts_with("se.slice"))?;
        Some(line.rsplit(' ').next()?.to_owned())
    })
    .collect()
}

fn lines_of(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok)
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "a story's own client, to the program under test")]
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn dev_prints_what_a_script_needs_and_delivers_and_ends_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(Reply::ok());
    let mut first = None;
    // The second start finds the database, the keys and the organisation of the first.
    for start in 1..=2 {
        let mut child = program(&["dev", "--json"])
            .current_dir(dir.path())
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = lines_of(&mut child).next().expect("one line of JSON");
        let running = Running(child);
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["url"].as_str().unwrap();
        for name in ["ink", "ilqr", "secret_live", "inkr", "smk"] {
            assert!(ready["keys"][name].as_str().unwrap().starts_with(&format!("{name}_")), "{ready}");
        }
        let again = (ready["org_id"].clone(), ready["keys"].clone());
        assert_eq!(*first.get_or_insert(again.clone()), again);

        let http = client();
        if start == 1 {
            let body = json!({"url": receiver.url(), "dialect": "qrstudio"});
            let request = http.post(format!("{url}/api/webhooks/endpoints"));
            let answer = request.bearer_auth(ready["session"].as_str().unwrap()).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        }
        let request = http.post(format!("{url}/api/v1/events"));
        let request = request.header("x-api-key", ready["keys"]["ink"].as_str().unwrap());
        let answer = request.json(&json!({"type": "scan.created", "data": {"n": start}})).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        receiver.wait_for(start).await;
        assert_eq!(running.interrupt(), Some(0));
    }
}

#[tokio::test]
async fn serve_and_work_share_a_database_and_admin_makes_who_may_use_it() {
    let database = Database::new().await;
    let receiver = Receiver::start(Reply::ok());
    assert!(production(&database, &["migrate"]).status().unwrap().success());
    let admin = |words: &[&str]| json_of(&production(&database, &[&["admin"], words].concat()).output().unwrap());
    admin(&["create-org", "--slug", "acme", "--plan", "pro"]);
    admin(&["create-user", "--org", "acme", "--email", "o@acme.example", "--role", "owner"]);
    let key = admin(&["create-key", "--org", "acme", "--email", "o@acme.example", "--prefix", "inkr"]);
    let session = admin(&["create-session", "--org", "acme", "--email", "o@acme.example"]);
    assert!(session["session"].as_str().unwrap().starts_with("eyJ"));

    let mut web = production(&database, &["serve"]);
    let web = web.env("INKFLEET_LOG", "info").env("INKFLEET_LOG_FORMAT", "json").stderr(Stdio::piped()).spawn();
    let mut web = Running(web.unwrap());
    let mut lines = BufReader::new(web.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = lines
        .find_map(|line| serde_json::from_str::<Value>(&line).ok()?["address"].as_str().map(str::to_owned))
        .expect("a log line with the address");
    // Read on, or the pipe fills up.
    std::thread::spawn(move || lines.for_each(drop));
    let worker = production(&database, &["work", "--queues", "deliveries", "--concurrency", "4"]).spawn();
    let worker = Running(worker.unwrap());

    let http = client();
    let key = key["key"].as_str().unwrap();
    let body = json!({"url": receiver.url(), "events": ["submission.created"]});
    let request = http.post(format!("http://{address}/v1/webhook_endpoints")).bearer_auth(key);
    assert_eq!(request.json(&body).send().await.unwrap().status(), 201);
    let request = http.post(format!("http://{address}/api/v1/events")).bearer_auth(key);
    let body = json!({"type": "submission.created", "data": {"id": "sub_1"}});
    assert_eq!(request.json(&body).send().await.unwrap().status(), 202);
    receiver.wait_for(1).await;

    // The threads that answer go before those that work, where the kernel can tell them apart.
    let usual = turns(std::process::id());
    assert!(turns(worker.0.id()).iter().all(|turn| usual.contains(turn)));
    assert!(turns(web.0.id()).iter().filter(|turn| **turn == "100000").count() >= 2 || usual.is_empty());

    assert_eq!(worker.interrupt(), Some(0));
    assert_eq!(web.interrupt(), Some(0));
    database.remove();
}

#[tokio::test]
async fn the_secret_of_a_scheduler_is_in_no_line_of_the_log_however_much_is_logged() {
    let database = Database::new().await;
    let mut web = production(&database, &["serve"]);
    let web =
        web.env("INKFLEET_LOG", "trace").env("INKFLEET_LOG_FORMAT", "json").env("CRON_SECRET", "the-right-0123456789");
    let mut web = Running(web.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(web.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = lines
        .find_map(|line| serde_json::from_str::<Value>(&line).ok()?["address"].as_str().map(str::to_owned))
        .expect("a log line with the address");
    let log = std::thread::spawn(move || lines.collect::<Vec<String>>());
    let ask = async |path: &str, header: (&'static str, &str)| {
        client()
            .get(format!("http://{address}{path}"))
            .header(header.0, header.1)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(ask("/api/cron/expire?secret=the-right-0123456789", ("accept", "*/*")).await, 202);
    assert_eq!(ask("/api/cron/nothing?secret=the-right-0123456789", ("accept", "*/*")).await, 404);
    assert_eq!(ask("/api/cron/expire?secret=the-wrong-0123456789", ("accept", "*/*")).await, 401);
    assert_eq!(ask("/api/cron/expire", ("authorization", "Bearer the-right-0123456789")).await, 202);
    assert_eq!(ask("/api/cron/expire", ("x-cron-secret", "the-wrong-0123456789")).await, 401);
    // A failure of ours has a line of its own.
    let mut conn = sqlx::PgConnection::connect(&database.url).await.unwrap();
    sqlx::query("alter table job_occasions rename to elsewhere").execute(&mut conn).await.unwrap();
    assert_eq!(ask("/api/cron/expire?secret=the-right-0123456789", ("accept", "*/*")).await, 500);
    assert_eq!(web.interrupt(), Some(0));
    let log = log.join().unwrap();
    let of_requests = log.iter().filter(|line| line.contains("/api/cron/expire")).count();
    assert!(of_requests >= 5 && log.iter().any(|line| line.contains("request failed")), "{log:#?}");
    assert!(log.iter().all(|line| !line.contains("0123456789")), "{log:#?}");
    database.remove();
}

#[tokio::test]
async fn an_operator_lists_shows_retries_and_cancels_jobs() {
    let database = Database::new().await;
    let admin = |words: &[&str]| production(&database, &[&["admin", "jobs"], words].concat()).output().unwrap();
    let mut worker = Running(production(&database, &["work", "--queues", "mail"]).spawn().unwrap());
    // The scheduler of any worker announces the hourly housekeeping; nobody here serves its queue.
    let end = Instant::now() + Duration::from_secs(20);
    let id = loop {
        let output = admin(&["list", "--queue", "system", "--kind", "house.keep"]);
        if let Some(line) = String::from_utf8_lossy(&output.stdout).lines().next() {
            let job: Value = serde_json::from_str(line).unwrap();
            assert_eq!(job["state"], "waiting");
            break job["id"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < end, "the housekeeping is not announced");
        std::thread::sleep(Duration::from_millis(50));
    };
    worker.0.kill().unwrap();
    assert_eq!(json_of(&admin(&["show", &id]))["kind"], "house.keep");
    assert_eq!(json_of(&admin(&["retry", &id]))["retried"], true);
    assert_eq!(json_of(&admin(&["cancel", &id]))["cancelled"], true);
    let gone = admin(&["show", &id]);
    assert!(!gone.status.success());
    assert_eq!(String::from_utf8_lossy(&gone.stderr), "inkfleet: there is no such job\n");
    database.remove();
}

/// A way to a Postgres that breaks the first connection on which `word` is said; returns its port.
fn breaking_at(postgres: String, word: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let broke = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&postgres) else { return };
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (mut from, mut to, broke) = (client, server, broke.clone());
            std::thread::spawn(move || std::io::copy(&mut down, &mut up));
            std::thread::spawn(move || {
                let mut bytes = [0; 65536];
                while let Ok(n @ 1..) = from.read(&mut bytes) {
                    let said = bytes[..n].windows(word.len()).any(|part| part == word);
                    if said && !broke.swap(true, std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    to.write_all(&bytes[..n]).unwrap();
                }
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_connection_breaks_goes_on_by_itself() {
    let database = Database::new().await;
    let url = url::Url::parse(&database.url).unwrap();
    let postgres = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let mut broken = url.clone();
    broken.set_port(Some(breaking_at(postgres, b"clock_timestamp"))).unwrap();
    let mut command = production(&database, &["work"]);
    let worker = Running(command.env("DATABASE_URL", broken.as_str()).spawn().unwrap());
    let mut conn = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while sqlx::query_scalar::<_, i64>("select count(*) from job_workers").fetch_one(&mut conn).await.unwrap() == 0 {
        assert!(Instant::now() < end, "it does not begin to work");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(worker.interrupt(), Some(0));
    database.remove();
}

#[test]
fn a_wrong_setting_stops_the_start_with_a_sentence() {
    let output = program(&["serve"]).env("DATABASE_URL", "mysql://x").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("inkfleet: DATABASE_URL must be an address such as postgres://"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_openapi_file_and_the_settings_can_be_printed_without_any_setting() {
    for (word, beginning) in [("openapi", "openapi: 3.0"), ("settings", "#")] {
        let output = program(&[word]).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains(beginning), "{word}");
    }
}
