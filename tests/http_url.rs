//! Webhook URLs: what is taken, what is refused with which sentence, and what is kept of the text.

use domain::http_url::{HttpUrl, Rules};
use url::Host;

const STRICT: Rules = Rules { allow_http: false, max_chars: 2000 };
const DEVELOPMENT: Rules = Rules { allow_http: true, max_chars: 2000 };

#[test]
fn an_https_url_is_taken_and_shown_as_it_was_given() {
    for text in [
        "https://hooks.example",
        "https://hooks.example/",
        "https://hooks.example:8443/in?token=a%20b&x=1",
        "https://hooks.example/a@b",
        "https://hooks.example?next=user@host",
        "HTTPS://Hooks.Example/Path",
        "https://bücher.example/ä",
        "https://[2606:4700::1]:8443/",
    ] {
        assert_eq!(HttpUrl::parse(text, STRICT).unwrap().as_str(), text);
    }
}

#[test]
fn host_port_and_scheme_are_what_a_client_will_dial() {
    let url = HttpUrl::parse("HTTPS://Bücher.Example/ä", STRICT).unwrap();
    assert_eq!(url.host(), Host::Domain("xn--bcher-kva.example"));
    assert_eq!((url.scheme(), url.port_or_default()), ("https", 443));
    assert_eq!(url.url().as_str(), "https://xn--bcher-kva.example/%C3%A4");

    let url = HttpUrl::parse("http://0x7f.1", DEVELOPMENT).unwrap();
    assert_eq!(url.host(), Host::<&str>::Ipv4([127, 0, 0, 1].into()));
    assert_eq!((url.scheme(), url.port_or_default()), ("http", 80));

    let url = HttpUrl::parse("http://[::1]:9000/", DEVELOPMENT).unwrap();
    assert_eq!((url.host(), url.port_or_default()), (Host::<&str>::Ipv6(1.into()), 9000));
}

#[test]
fn every_broken_rule_is_named() {
    let https = "must be an https:// URL";
    let space = "must not contain white space or control characters";
    let credentials = "must not contain a user name or password";
    let no_host = "must name a host";
    for (text, rule) in [
        ("", https),
        ("hooks.example", https),
        ("http://hooks.example/", https),
        ("ftp://hooks.example/", https),
        ("javascript:alert(1)", https),
        ("https:hooks.example", https),
        ("https:/hooks.example", https),
        ("https:\\\\hooks.example", https),
        ("ｈttps://hooks.example", https),
        (" https://hooks.example/", space),
        ("https://hooks.example/ ", space),
        ("https://hooks.example/a b", space),
        ("https://hooks.exa\tmple/", space),
        ("https://hooks.example/\n", space),
        ("https://hooks.example/\0", space),
        ("https://hooks.example/\u{a0}", space),
        ("https://hooks.example/\u{85}", space),
        ("https://user@hooks.example/", credentials),
        ("https://user:word@hooks.example/", credentials),
        ("https://:word@hooks.example/", credentials),
        ("https://@hooks.example/", credentials),
        ("https://93.184.216.34@127.0.0.1/", credentials),
        ("https://hooks.example/#part", "must not have a fragment"),
        ("https://hooks.example/#", "must not have a fragment"),
        ("https://public.example\\@internal.example/", "must not contain a backslash"),
        ("https://", no_host),
        ("https:///", no_host),
        ("https:///hooks.example/", no_host),
        ("https://?query", no_host),
        ("https://:443/", no_host),
        ("https://hooks.example:99999/", "must be a valid URL: invalid port number"),
        ("https://1.2.3.400/", "must be a valid URL: invalid IPv4 address"),
        ("https://[fe80::1%25eth0]/", "must be a valid URL: invalid IPv6 address"),
        ("https://hooks<.example/", "must be a valid URL: invalid international domain name"),
    ] {
        assert_eq!(HttpUrl::parse(text, STRICT).unwrap_err().to_string(), rule, "{text:?}");
    }
}

#[test]
fn plain_http_is_for_development_only() {
    assert!(HttpUrl::parse("http://hooks.example/", DEVELOPMENT).is_ok());
    assert!(HttpUrl::parse("https://hooks.example/", DEVELOPMENT).is_ok());
    let error = HttpUrl::parse("ftp://hooks.example/", DEVELOPMENT).unwrap_err();
    assert_eq!(error.to_string(), "must be an https:// or http:// URL");
}

#[test]
fn the_length_is_counted_in_characters_of_the_text() {
    let of_length = |length: usize| format!("https://hooks.example/{}", "ä".repeat(length - 22));
    assert!(HttpUrl::parse(&of_length(2000), STRICT).is_ok());
    let error = HttpUrl::parse(&of_length(2001), STRICT).unwrap_err();
    assert_eq!(error.to_string(), "must be at most 2000 characters");
}
