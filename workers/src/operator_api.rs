//! Asking HTTP APIs that the operator has chosen: Resend's and Stripe's. The guard of [`crate::http`] is for addresses that
//! customers choose.

use std::time::Duration;

use reqwest::header::HeaderMap;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client that sends `headers` with each request, follows nobody elsewhere, and waits no longer than 30 s.
#[expect(
    clippy::disallowed_methods,
    reason = "goes to the operator's own APIs only, bounded in time here and in bytes there"
)]
pub(crate) fn operator_client(headers: HeaderMap) -> reqwest::Client {
    // The process has one TLS provider; whoever needs it first installs it.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    reqwest::Client::builder()
        .user_agent(concat!("inkfleet/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build()
        .expect("a TLS provider is installed and no setting of the client can fail")
}
