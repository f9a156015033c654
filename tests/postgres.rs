//! The private cluster: it starts, it keeps its data, and it never outlives its owner.

use std::{
    env,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use inkfleet::postgres::{Cluster, Options};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

const QUICK: Options = Options { durable: false };

/// Names the directory when this test binary plays the owner that is killed.
const OWNED_DIR: &str = "INKFLEET_TEST_OWNED_DIR";

#[tokio::test]
async fn a_cluster_keeps_its_data_and_its_address_over_a_restart() {
    let dir = dir(0o755);
    let first = start(dir.path());
    let url = first.url();
    remember(&url, "ink").await;
    let port = first.port();
    first.stop().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "a stopped cluster refuses connections");

    let again = start(dir.path());
    assert_eq!(again.url(), url);
    assert_eq!(recall(&again.url()).await, "ink");
    let mode = again.home().join("password").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_cluster_ends_when_its_owner_is_killed_and_starts_again_with_the_data() {
    const SELF: &str = "a_cluster_ends_when_its_owner_is_killed_and_starts_again_with_the_data";
    if let Some(dir) = env::var_os(OWNED_DIR) {
        own_until_killed(Path::new(&dir));
    }
    let dir = dir(0o755);
    let mut owner = Command::new(env::current_exe().unwrap())
        .args([&format!("{}::{SELF}", module_path!().split_once("::").unwrap().1), "--exact", "--nocapture"])
        .env(OWNED_DIR, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = told_url(&mut owner);
    remember(&url, "ink").await;

    // Another program finds the living owner's cluster and leaves it running.
    let borrowed = start(dir.path());
    assert!(borrowed.is_borrowed());
    assert_eq!(recall(&borrowed.url()).await, "ink");
    let port = borrowed.port();
    drop(borrowed);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());

    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(Instant::now() < deadline, "the server outlived its owner");
        thread::yield_now();
    }
    // At once: what is left of the old server is still ending.
    let again = start(dir.path());
    assert!(!again.is_borrowed());
    assert_eq!(recall(&again.url()).await, "ink");
}

#[tokio::test]
async fn a_cluster_starts_after_its_server_was_killed_and_its_number_given_to_another_process() {
    let dir = dir(0o755);
    let first = start(dir.path());
    remember(&first.url(), "ink").await;
    let pid_file = first.home().join("data/postmaster.pid");
    let kept = std::fs::read_to_string(&pid_file).unwrap();
    first.stop().unwrap();
    // The file of a killed server stays; its number is this test's by now.
    let own = std::process::id().to_string();
    let stale: Vec<&str> = std::iter::once(own.as_str()).chain(kept.lines().skip(1)).collect();
    std::fs::write(&pid_file, stale.join("\n")).unwrap();

    assert_eq!(recall(&start(dir.path()).url()).await, "ink");
}

#[tokio::test]
async fn a_cluster_takes_another_port_when_its_own_is_taken() {
    let dir = dir(0o755);
    let first = start(dir.path());
    remember(&first.url(), "ink").await;
    let port = first.port();
    first.stop().unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();

    let again = start(dir.path());
    assert_ne!(again.port(), port);
    assert_eq!(recall(&again.url()).await, "ink");
}

#[test]
fn a_directory_that_cannot_be_used_is_named_in_a_sentence() {
    let dir = dir(0o755);
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let sentence = Cluster::start(&file, QUICK).unwrap_err().to_string();
    let expected = format!("the database directory {} cannot be used: ", file.display());
    assert!(sentence.starts_with(&expected), "{sentence}");
}

#[tokio::test]
async fn a_directory_closed_to_the_server_account_moves_the_data_and_says_so() {
    let dir = dir(0o700);
    let cluster = start(dir.path());
    remember(&cluster.url(), "ink").await;
    let home = cluster.home().to_owned();
    let notice = cluster.notice().map(str::to_owned);
    cluster.stop().unwrap();
    // An ordinary user's server runs as that user, to whom nothing of its own is closed.
    if let Some(notice) = notice {
        assert!(notice.contains(home.to_str().unwrap()), "{notice}");
        std::fs::remove_dir_all(home).unwrap();
    } else {
        assert_eq!(home, dir.path().canonicalize().unwrap());
    }
}

/// A directory that every account can enter, or only the one that runs the tests.
fn dir(mode: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    dir
}

fn start(dir: &Path) -> Cluster {
    Cluster::start(dir, QUICK).unwrap()
}

/// The owner's part: tells its address, and then only waits for the signal that ends it.
fn own_until_killed(dir: &Path) -> ! {
    let cluster = start(dir);
    println!("\nurl {}", cluster.url());
    loop {
        thread::park();
    }
}

fn told_url(owner: &mut Child) -> String {
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).find_map(|line| line.strip_prefix("url ").map(str::to_owned)).expect("the owner starts")
}

async fn remember(url: &str, word: &str) {
    let mut conn = PgConnection::connect(url).await.unwrap();
    sqlx::query("create table if not exists words (word text)").execute(&mut conn).await.unwrap();
    sqlx::query("insert into words values ($1)").bind(word).execute(&mut conn).await.unwrap();
}

async fn recall(url: &str) -> String {
    let mut conn = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("select word from words").fetch_one(&mut conn).await.unwrap()
}
