//! Opens connections: the guard is the resolver, so a name is looked up once, every address judged, and those judged
//! are dialled; then TLS, all within one time.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use chrono::{DateTime, Utc};
use domain::address::{Guard, Refusal};
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream, builderstates::WantsSchemes};
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use tokio::{net::TcpStream, time::timeout};
use tower::Service;
use x509_cert::{Certificate, der::Decode};

use super::{CONNECT_TIMEOUT, paced::Paced};

type Connecting<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Asks the guard; its [`Refusal`] stands in the chain of the client's error.
#[derive(Debug, Clone)]
pub struct GuardedResolver(Guard);

impl Service<Name> for GuardedResolver {
    type Response = Addresses;
    type Error = Refusal;
    type Future = Connecting<Addresses, Refusal>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.0.clone();
        Box::pin(async move { Ok(Addresses(guard.resolve(name.as_str()).await?.into_iter())) })
    }
}

/// The addresses to dial, in turn.
#[derive(Debug)]
pub struct Addresses(vec::IntoIter<IpAddr>);

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        // The connector puts the URL's port in its place.
        self.0.next().map(|ip| SocketAddr::new(ip, 0))
    }
}

/// Opens connections to http and https URLs.
#[derive(Debug, Clone)]
pub struct Connector(HttpsConnector<HttpConnector<GuardedResolver>>);

impl Connector {
    /// A connector to what `guard` allows; fails if the machine has no root certificates.
    pub fn new(guard: Guard) -> io::Result<Self> {
        let tls = HttpsConnectorBuilder::new();
        Ok(Self::over(guard, tls.with_provider_and_native_roots(rustls::crypto::ring::default_provider())?))
    }

    /// A connector that trusts whom `tls` trusts.
    pub fn with_tls(guard: Guard, tls: rustls::ClientConfig) -> Self {
        Self::over(guard, HttpsConnectorBuilder::new().with_tls_config(tls))
    }

    fn over(guard: Guard, tls: HttpsConnectorBuilder<WantsSchemes>) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(GuardedResolver(guard));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided among the addresses, so that a dead one leaves time for the next.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self(tls.https_or_http().enable_http1().enable_http2().wrap_connector(tcp))
    }
}

/// When the certificate ends that a host has shown; every answer over its connection carries it.
#[derive(Debug, Clone, Copy)]
pub struct CertificateEnd(pub DateTime<Utc>);

fn certificate_end<T>(stream: &MaybeHttpsStream<T>) -> Option<CertificateEnd> {
    let MaybeHttpsStream::Https(stream) = stream else { return None };
    let shown = stream.inner().get_ref().1.peer_certificates()?.first()?;
    let certificate = Certificate::from_der(shown).ok()?;
    let end = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    DateTime::from_timestamp(end.as_secs().try_into().ok()?, 0).map(CertificateEnd)
}

impl Service<Uri> for Connector {
    type Response = Paced<MaybeHttpsStream<TokioIo<TcpStream>>>;
    type Error = BoxError;
    type Future = Connecting<Self::Response, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = timeout(CONNECT_TIMEOUT, self.0.call(target));
        Box::pin(async move {
            let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            let certificate = certificate_end(&stream);
            Ok(Paced::new(stream, certificate))
        })
    }
}
