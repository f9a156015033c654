//! Where a webhook is sent: an http(s) URL, parsed once and as the client will parse it (WHATWG URL Standard).
//!
//! Only the URL's own text is judged here; where its host leads is [`crate::address`]'s question.

use std::fmt;

use url::{Host, Url};

/// What a URL must keep to beside being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Takes http:// beside https://, for development.
    pub allow_http: bool,
    /// The longest text, in characters.
    pub max_chars: usize,
}

/// The rule that a text breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than the rules allow.
    #[error("must be at most {0} characters")]
    TooLong(usize),
    /// White space, which the standard would drop or escape, or a control character.
    #[error("must not contain white space or control characters")]
    Space,
    /// Another scheme, where only https is taken.
    #[error("must be an https:// URL")]
    NotHttps,
    /// Another scheme, where http is taken too.
    #[error("must be an https:// or http:// URL")]
    NotHttp,
    /// `\`, which the standard reads as `/` and other readers do not.
    #[error("must not contain a backslash")]
    Backslash,
    /// Something before an `@`.
    #[error("must not contain a user name or password")]
    Credentials,
    /// Something after a `#`.
    #[error("must not have a fragment")]
    Fragment,
    /// Nothing where the host should be.
    #[error("must name a host")]
    NoHost,
    /// Whatever else the standard refuses.
    #[error("must be a valid URL: {0}")]
    Invalid(url::ParseError),
}

/// A webhook target. Equal texts are equal targets; two spellings of one place are two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    text: String,
    url: Url,
}

impl HttpUrl {
    /// Reads `text`, which must keep to `rules`.
    pub fn parse(text: &str, rules: Rules) -> Result<Self, UrlError> {
        if text.chars().count() > rules.max_chars {
            return Err(UrlError::TooLong(rules.max_chars));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UrlError::Space);
        }
        let after_scheme = after_scheme(text, rules.allow_http)?;
        if text.contains('\\') {
            return Err(UrlError::Backslash);
        }
        if text.contains('#') {
            return Err(UrlError::Fragment);
        }
        let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        // The standard skips further slashes and would take the first part of the path for the host.
        if authority.is_empty() {
            return Err(UrlError::NoHost);
        }
        match Url::parse(text) {
            Ok(url) => Ok(Self { text: text.to_owned(), url }),
            Err(url::ParseError::EmptyHost) => Err(UrlError::NoHost),
            Err(error) => Err(UrlError::Invalid(error)),
        }
    }

    /// The text as it was given; what is stored and shown.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed form; what a client sends to.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The host: a name in lower case and ASCII, or an address however it was spelled.
    pub fn host(&self) -> Host<&str> {
        self.url.host().expect("an http(s) URL has a host")
    }

    /// The port, 443 for https and 80 for http where none is named.
    pub fn port_or_default(&self) -> u16 {
        self.url.port_or_known_default().expect("http and https have a port")
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// Whether the host is this machine, by its own word: what goes there crosses no network.
    pub fn is_local(&self) -> bool {
        match self.host() {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn after_scheme(text: &str, allow_http: bool) -> Result<&str, UrlError> {
    let rest = |scheme: &str| {
        let (head, tail) = text.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(tail)
    };
    match (rest("https://"), allow_http) {
        (Some(tail), _) => Ok(tail),
        (None, true) => rest("http://").ok_or(UrlError::NotHttp),
        (None, false) => Err(UrlError::NotHttps),
    }
}
