//! One look at an address: bounded in time and bytes whatever the other end does, and what TLS shows.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use domain::{
    address::{Guard, Policy, SystemResolver},
    http_url::{HttpUrl, Rules},
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use workers::http::{Client, Look, LookRequest};

use crate::support::{Receiver, TestApp, receiver::Reply};

const CERTIFICATE: &[u8] = include_bytes!("../support/keys/tls.pem");
const EXPIRED: &[u8] = include_bytes!("../support/keys/tls.expired.pem");
const KEY: &[u8] = include_bytes!("../support/keys/tls.key.pem");

fn guard() -> Guard {
    Guard::new(Policy { allow_private: true }, Arc::new(SystemResolver))
}

async fn look(client: &Client, method: &'static str, url: &str) -> Look {
    let url = HttpUrl::parse(url, Rules { allow_http: true, max_chars: 2000 }).unwrap();
    let request = LookRequest { method, url: &url, agent: "Story/1", timeout: Duration::from_millis(400) };
    client.look(request, "2026-02-03T04:05:06Z".parse().unwrap()).await
}

#[tokio::test]
async fn a_look_ends_in_time_and_reads_no_body() {
    let client = Client::new(guard()).unwrap();
    for (reply, status, error) in [
        (Reply::Hang, None, "Read timed out"),
        (Reply::SlowHeaders, None, "Read timed out"),
        (Reply::HugeHeaders, None, "Response headers too large"),
        (Reply::InformationalFlood, None, "Too many interim responses"),
        (Reply::CloseWithoutAnswer, None, "Connection closed before the response was complete"),
        (Reply::EndlessBody, Some(200), ""),
        (Reply::GzipBomb, Some(200), ""),
        (Reply::Drip, Some(200), ""),
        (Reply::BrokenBody, Some(200), ""),
    ] {
        let name = format!("{reply:?}");
        let receiver = Receiver::start(reply);
        let start = Instant::now();
        let seen = look(&client, "GET", &receiver.url()).await;
        assert_eq!((seen.status, seen.error.as_str()), (status, error), "{name}");
        assert!(start.elapsed() < Duration::from_millis(800), "{name} took {:?}", start.elapsed());
    }
    let redirects = Receiver::start(Reply::status(307).with_header("Location", "/é").with_header("Retry-After", "7"));
    let seen = look(&client, "HEAD", &redirects.url()).await;
    assert_eq!((seen.status, seen.location.as_deref()), (Some(307), Some("/é")), "and it follows no redirect");
    assert_eq!((seen.retry_after, redirects.received().len()), (Some(Duration::from_secs(7)), 1));
}

/// A door with TLS in front of `receiver`, which shows `certificate`.
async fn door(certificate: &[u8], receiver: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut stream), Ok(mut inside)) =
                    (acceptor.accept(stream).await, TcpStream::connect(receiver).await)
                else {
                    return;
                };
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut inside).await;
            });
        }
    });
    address
}

/// A client that trusts the stories' certificates.
fn trusting() -> Client {
    let mut roots = RootCertStore::empty();
    for certificate in [CERTIFICATE, EXPIRED] {
        roots.add(CertificateDer::from_pem_slice(certificate).unwrap()).unwrap();
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::with_tls(guard(), tls)
}

#[tokio::test]
async fn the_end_of_a_certificate_is_seen_and_one_that_has_ended_is_a_failure() {
    let mut app = TestApp::start().await;
    let org = app.org("acme").await;
    app.context.http = trusting();
    let receiver = Receiver::start(Reply::status(200));
    let (valid, over) = (door(CERTIFICATE, receiver.address()).await, door(EXPIRED, receiver.address()).await);
    let end: DateTime<Utc> = "2126-10-29T01:56:56Z".parse().unwrap();
    let https = |door: SocketAddr| format!("https://localhost:{}/", door.port());
    let first = super::link(&app, &org, &https(valid), serde_json::json!({})).await;
    let second = super::link(&app, &org, &https(over), serde_json::json!({})).await;
    // Plain, and leads to the door: its certificate counts.
    let to_door = Receiver::start(Reply::Redirect(https(valid)));
    let third = super::link(&app, &org, &to_door.url(), serde_json::json!({})).await;
    super::check(&app, 5).await;
    let first = super::health(&app, &org, &first).await;
    assert_eq!((&first["state"], super::at(&first["tlsExpiresAt"])), (&"healthy".into(), end));
    assert_eq!(super::at(&super::health(&app, &org, &third).await["tlsExpiresAt"]), end);
    let second = super::health(&app, &org, &second).await;
    assert_eq!(
        (&second["failures"], &second["reason"]),
        (&1.into(), &"TLS handshake failed: certificate expired".into())
    );
}
