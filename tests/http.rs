//! Outbound HTTP: whatever a receiver does, an attempt ends in time, bounded, and beside it the others go on; and no
//! request reaches an address that the guard refuses.

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use domain::{
    address::{Guard, LookUp, Policy, Resolve, SystemResolver},
    http_url::{HttpUrl, Rules},
};
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use workers::http::{Answer, Client, Request};

use crate::support::receiver::{Receiver, Reply, Script};

const TIMEOUT: Duration = Duration::from_millis(400);
/// How much later than its time-out an attempt may end.
const LEEWAY: Duration = Duration::from_millis(100);
const BODY_MAX: usize = 16 * 1024;

fn now() -> DateTime<Utc> {
    "2026-02-03T04:05:06Z".parse().unwrap()
}

fn client_with(allow_private: bool, resolver: impl Resolve + 'static) -> Client {
    Client::new(Guard::new(Policy { allow_private }, Arc::new(resolver))).unwrap()
}

/// A client that may go to loopback.
fn client() -> Client {
    client_with(true, SystemResolver)
}

async fn post_within(client: &Client, url: &str, timeout: Duration) -> Answer {
    let url = HttpUrl::parse(url, Rules { allow_http: true, max_chars: 2000 }).unwrap();
    let headers = [("X-Inkode-Event", "scan.created".to_owned())];
    client.post(Request { url: &url, headers: &headers, body: b"{}".to_vec(), timeout }, now()).await
}

async fn post(client: &Client, url: &str) -> Answer {
    post_within(client, url, TIMEOUT).await
}

/// What an attempt at a receiver that answers by `script` comes to.
async fn answer_to(script: impl Into<Script>) -> Answer {
    post(&client(), &Receiver::start(script).url()).await
}

/// Attempts at a misbehaving receiver; each must end in time and small, and so must those at a healthy one beside it.
async fn suffer(reply: Reply) -> Answer {
    let (client, bad, good) = (client(), Receiver::start(reply), Receiver::start(Reply::ok()));
    let (bad_url, good_url) = (bad.url(), good.url());
    let attempts = join_all((0..4).map(|_| post(&client, &bad_url)));
    let beside = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let answer = post(&client, &good_url).await;
            assert_eq!((answer.status, answer.body.as_str(), answer.error.as_str()), (Some(200), "ok", ""));
            slowest = slowest.max(answer.duration);
        }
        slowest
    };
    let (answers, slowest) = tokio::join!(attempts, beside);
    assert!(slowest < TIMEOUT, "a healthy receiver beside it took {slowest:?}");
    for answer in &answers {
        assert!(answer.duration < TIMEOUT + LEEWAY, "ended after {:?}", answer.duration);
        assert!(answer.body.len() <= BODY_MAX, "kept {} bytes", answer.body.len());
    }
    answers.into_iter().next().unwrap()
}

#[track_caller]
fn is(answer: &Answer, status: Option<u16>, error: &str) {
    assert_eq!((answer.status, answer.error.as_str()), (status, error), "{answer:?}");
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_a_read_time_out() {
    let answer = suffer(Reply::Hang).await;
    is(&answer, None, "Read timed out");
    assert!(answer.duration >= TIMEOUT);
}

#[tokio::test]
async fn an_endless_body_is_cut_and_its_status_stands() {
    let answer = suffer(Reply::EndlessBody).await;
    is(&answer, Some(200), "Response body longer than 64 KiB, not read to its end");
    assert_eq!(answer.body.len(), BODY_MAX);
}

#[tokio::test]
async fn one_byte_a_second_ends_with_the_time_out_and_its_status_stands() {
    let answer = suffer(Reply::Drip).await;
    is(&answer, Some(200), "Read timed out");
    assert_eq!(answer.body, ".");
}

#[tokio::test]
async fn a_gzip_bomb_is_unpacked_no_further_than_an_ordinary_body_is_read() {
    let answer = suffer(Reply::GzipBomb).await;
    is(&answer, Some(200), "Response body longer than 64 KiB, not read to its end");
    // Its zeros are no text for Postgres: each becomes a character of three bytes.
    assert_eq!(answer.body, "\u{fffd}".repeat(BODY_MAX / 3));
}

#[tokio::test]
async fn huge_headers_are_an_error() {
    is(&suffer(Reply::HugeHeaders).await, None, "Response headers too large");
}

#[tokio::test]
async fn very_many_headers_are_an_error() {
    is(&suffer(Reply::ManyHeaders).await, None, "Response headers too large");
}

#[tokio::test]
async fn headers_that_come_byte_by_byte_are_a_read_time_out() {
    is(&suffer(Reply::SlowHeaders).await, None, "Read timed out");
}

#[tokio::test]
async fn a_reset_after_the_headers_leaves_the_status() {
    is(&suffer(Reply::ResetAfterHeaders).await, Some(200), "Connection reset");
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_the_status_and_what_came() {
    let answer = suffer(Reply::BrokenBody).await;
    is(&answer, Some(200), "Connection closed before the response was complete");
    assert_eq!(answer.body, "abc");
}

#[tokio::test]
async fn a_close_without_an_answer_is_an_error() {
    is(&suffer(Reply::CloseWithoutAnswer).await, None, "Connection closed before the response was complete");
}

#[tokio::test]
async fn a_flood_of_interim_responses_is_an_error() {
    is(&suffer(Reply::InformationalFlood).await, None, "Too many interim responses");
}

#[tokio::test]
async fn a_redirect_loop_is_a_302_after_one_request() {
    is(&suffer(Reply::RedirectLoop).await, Some(302), "");
}

#[tokio::test]
async fn bytes_that_are_no_text_become_text() {
    let answer = suffer(Reply::InvalidUtf8).await;
    is(&answer, Some(200), "");
    assert!(!answer.body.contains('\0'));
    assert!(answer.body.starts_with("\u{fffd}\u{fffd}\u{fffd}\u{fffd}"));
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    for raw in ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
        is(&answer_to(Reply::Raw(raw.into())).await, None, "Invalid HTTP response");
    }
    let bad_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    is(&answer_to(Reply::Raw(bad_chunk.into())).await, Some(200), "Invalid HTTP response body");
}

#[tokio::test]
async fn a_connection_that_broke_does_not_spoil_the_next_request() {
    let (client, receiver) = (client(), Receiver::start(Script::sequence([Reply::ResetAfterHeaders, Reply::ok()])));
    is(&post(&client, &receiver.url()).await, Some(200), "Connection reset");
    is(&post(&client, &receiver.url()).await, Some(200), "");
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_late_answer_within_the_time_out_counts() {
    let answer = answer_to(Reply::delay(Duration::from_millis(150), Reply::status(204))).await;
    is(&answer, Some(204), "");
    assert!(answer.duration >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_body_is_cut_between_characters() {
    let answer = answer_to(Reply::ok().with_body("x€".repeat(10_000))).await;
    is(&answer, Some(200), "");
    assert_eq!(answer.body, "x€".repeat(BODY_MAX / 4));
    let answer = answer_to(Reply::ok().with_body("€".repeat(10_000))).await;
    assert_eq!(answer.body, "€".repeat(BODY_MAX / 3));
}

#[tokio::test]
async fn a_gzip_answer_is_unpacked_and_a_broken_one_leaves_the_status() {
    const UNPACKED: &[u8] =
        &[31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 43, 205, 43, 72, 76, 206, 78, 77, 1, 0, 150, 98, 47, 202, 8, 0, 0, 0];
    let gzip = |body: &[u8]| Reply::status(200).with_header("Content-Encoding", "gzip").with_body(body);
    let answer = answer_to(gzip(UNPACKED)).await;
    is(&answer, Some(200), "");
    assert_eq!(answer.body, "unpacked");
    is(&answer_to(gzip(b"no gzip at all")).await, Some(200), "Response body cannot be unpacked");
}

#[tokio::test]
async fn a_closed_port_refuses_the_connection() {
    let url = Receiver::start(Reply::ok()).url();
    // The receiver is gone, but its runtime may still be closing the port.
    let port_is_open = || std::net::TcpStream::connect(url.trim_start_matches("http://").trim_end_matches("/hook"));
    while port_is_open().is_ok() {
        tokio::task::yield_now().await;
    }
    is(&post(&client(), &url).await, None, "Connection refused");
}

#[tokio::test]
async fn a_receiver_without_tls_fails_the_handshake() {
    for (said, error) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "TLS handshake failed: the receiver does not speak TLS"),
        (b"", "TLS handshake failed: connection closed"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Read first: closing before that would be a reset.
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(said).await.unwrap();
        };
        let (answer, ()) = tokio::join!(async { post(&client(), &url).await }, server);
        is(&answer, None, error);
    }
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_is_a_connect_time_out() {
    // The system takes the connection, and nobody behind it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let answer = post_within(&client(), &url, Duration::from_secs(5)).await;
    is(&answer, None, "Connect timed out");
    assert!(answer.duration < Duration::from_secs(5));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = Receiver::start(Reply::ok());
    let receiver = Receiver::start(Reply::Redirect(target.url()));
    let answer = post(&client(), &receiver.url()).await;
    is(&answer, Some(302), "");
    assert_eq!((receiver.received().len(), target.received().len()), (1, 0));
}

#[tokio::test]
async fn fifty_posts_in_turn_share_one_connection() {
    let (client, receiver) = (client(), Receiver::start(Reply::ok()));
    for _ in 0..50 {
        is(&post(&client, &receiver.url()).await, Some(200), "");
    }
    assert_eq!((receiver.received().len(), receiver.connections()), (50, 1));
}

#[tokio::test]
async fn a_request_arrives_as_it_was_given_and_carries_nothing_of_ours() {
    let receiver = Receiver::start(Reply::ok());
    let answer = post(&client(), &receiver.url()).await;
    let request = &receiver.wait_for(1).await[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str(), request.body.as_slice()),
        ("POST", "/hook", &b"{}"[..])
    );
    assert_eq!(request.header("x-inkode-event"), Some("scan.created"));
    let mut names: Vec<_> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    assert_eq!(names, ["content-length", "host", "x-inkode-event"]);
    assert_eq!(answer.remote_addr, Some(receiver.address().to_string()));
}

#[tokio::test]
async fn a_header_that_is_not_fit_for_http_makes_no_request() {
    let receiver = Receiver::start(Reply::ok());
    let url = HttpUrl::parse(&receiver.url(), Rules { allow_http: true, max_chars: 2000 }).unwrap();
    for header in [("X-Note", "two\r\nlines".to_owned()), ("X Note", String::new())] {
        let request = Request { url: &url, headers: &[header], body: Vec::new(), timeout: TIMEOUT };
        is(&client().post(request, now()).await, None, "Invalid request headers");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn proxies_in_the_environment_are_not_used() {
    let proxy = Receiver::start(Reply::ok());
    // Another story of this binary, in a process of its own, for an environment cannot be changed safely.
    let module = module_path!().split_once("::").unwrap().1;
    let story = format!("{module}::fifty_posts_in_turn_share_one_connection");
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env(name, format!("http://{}", proxy.address()));
    }
    let output = child.env_remove("NO_PROXY").env_remove("no_proxy").args(["--exact", &story]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(proxy.connections(), 0);
}

/// A resolver that gives its answers in turn and then none.
struct Scripted(Mutex<VecDeque<Vec<IpAddr>>>);

impl Scripted {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        Self(Mutex::new(answers.iter().map(parse).collect()))
    }
}

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, _: &'a str) -> LookUp<'a> {
        let answer = self.0.lock().unwrap().pop_front();
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

#[tokio::test]
async fn a_name_that_turned_private_since_it_was_registered_is_refused_at_the_connect() {
    let receiver = Receiver::start(Reply::ok());
    let url =
        HttpUrl::parse(&receiver.url_at("hooks.example.com"), Rules { allow_http: true, max_chars: 2000 }).unwrap();
    let guard = Guard::new(Policy::default(), Arc::new(Scripted::new(&[&["93.184.216.34"], &["127.0.0.1"]])));
    guard.check(&url).await.expect("public when it is registered");
    let answer = post(&Client::new(guard).unwrap(), url.as_str()).await;
    is(&answer, None, "resolves to private/internal IP 127.0.0.1");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn the_address_that_was_judged_is_dialled_and_the_name_is_asked_for_once() {
    let receiver = Receiver::start(Reply::ok());
    let client = client_with(true, Scripted::new(&[&["127.0.0.1"]]));
    for _ in 0..3 {
        is(&post(&client, &receiver.url_at("hooks.example.com")).await, Some(200), "");
    }
    let host = format!("hooks.example.com:{}", receiver.address().port());
    assert_eq!(receiver.received()[0].header("host"), Some(host.as_str()));
}

#[tokio::test]
async fn a_name_without_an_address_does_not_resolve() {
    for answers in [&[][..], &[&[][..]][..]] {
        let client = client_with(false, Scripted::new(answers));
        is(&post(&client, "http://hooks.example.com/").await, None, "Name does not resolve");
    }
}

#[tokio::test]
async fn a_private_address_in_the_url_is_refused_before_a_connect() {
    let receiver = Receiver::start(Reply::ok());
    let client = client_with(false, SystemResolver);
    for host in ["127.0.0.1", "0x7f000001", "[::ffff:127.0.0.1]"] {
        let answer = post(&client, &receiver.url_at(host)).await;
        assert!(answer.error.starts_with("resolves to private/internal IP "), "{answer:?}");
        assert_eq!(answer.status, None);
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn retry_after_is_read_in_seconds_and_in_three_kinds_of_date() {
    for (value, seconds) in [
        ("120", Some(120)),
        ("0", Some(0)),
        ("99999999999999999999999", Some(u64::MAX)),
        ("Tue, 03 Feb 2026 04:10:06 GMT", Some(300)),
        ("Tuesday, 03-Feb-26 04:10:06 GMT", Some(300)),
        ("Tue Feb  3 04:10:06 2026", Some(300)),
        ("Mon, 02 Feb 2026 04:05:06 GMT", Some(0)),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
    ] {
        let answer = answer_to(Reply::status(503).with_header("Retry-After", value)).await;
        is(&answer, Some(503), "");
        // A date is counted from the end of the call.
        let wanted = seconds.map(Duration::from_secs);
        let at_end = wanted.map(|wait| if wait.as_secs() == 300 { wait - answer.duration } else { wait });
        assert_eq!(answer.retry_after.map(|wait| wait.as_millis()), at_end.map(|wait| wait.as_millis()), "{value:?}");
    }
    assert_eq!(answer_to(Reply::status(503)).await.retry_after, None);
}
