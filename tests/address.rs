//! The address guard: every way to spell a host, names with several answers, and the rules for what embeds what.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use domain::{
    address::{self, Guard, Kind, LookUp, Policy, Refusal, Resolve, SystemResolver, refusal},
    http_url::{HttpUrl, Rules},
};
use proptest::prelude::*;

/// A resolver that gives its answers in turn and then none.
struct Scripted(Mutex<VecDeque<io::Result<Vec<IpAddr>>>>);

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, host: &'a str) -> LookUp<'a> {
        let answer = self.0.lock().unwrap().pop_front();
        Box::pin(async move { answer.unwrap_or_else(|| panic!("asked for {host} once too often")) })
    }
}

fn guard_with(policy: Policy, answers: &[&[&str]]) -> Guard {
    let answers = answers.iter().map(|ips| Ok(ips.iter().map(|ip| ip.parse().unwrap()).collect()));
    Guard::new(policy, Arc::new(Scripted(Mutex::new(answers.collect()))))
}

fn guard(answers: &[&[&str]]) -> Guard {
    guard_with(Policy::default(), answers)
}

fn url(text: &str) -> HttpUrl {
    HttpUrl::parse(text, Rules { allow_http: true, max_chars: 2000 }).unwrap()
}

fn kind(verdict: Result<Vec<IpAddr>, Refusal>) -> String {
    match verdict {
        Ok(_) => "allowed".to_owned(),
        Err(Refusal::Internal { kind, .. }) => kind.to_string(),
        Err(other) => other.to_string(),
    }
}

#[tokio::test]
async fn every_spelling_of_a_host_is_judged_by_the_address_it_means() {
    let rows = include_str!("address/spellings.txt").lines().filter(|row| !row.is_empty() && !row.starts_with('#'));
    let mut wrong = Vec::new();
    for row in rows {
        let (host, wanted) = row.split_once(char::is_whitespace).unwrap();
        let text = format!("http://{host}/hook");
        let got = match HttpUrl::parse(&text, Rules { allow_http: true, max_chars: 2000 }) {
            Err(_) => "invalid".to_owned(),
            Ok(url) => {
                let resolver = Scripted(Mutex::new([Ok(Vec::new())].into()));
                let verdict = address::check(&url, Policy::default(), &resolver).await;
                let was_asked = resolver.0.lock().unwrap().is_empty();
                if was_asked { "asked".to_owned() } else { kind(verdict) }
            }
        };
        if got != wanted.trim() {
            wrong.push(format!("{host}: wanted {}, got {got}", wanted.trim()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_refused_registration_says_what_qr_code_agency_documents() {
    let refused = guard(&[]).check(&url("https://10.0.0.5/hook")).await.unwrap_err();
    assert_eq!(refused.registering(), "refusing to register webhook: resolves to private/internal IP 10.0.0.5");

    let refused = guard(&[&["10.0.0.5"]]).check(&url("https://hooks.example/")).await.unwrap_err();
    assert_eq!(refused.registering(), "refusing to register webhook: resolves to private/internal IP 10.0.0.5");
}

#[tokio::test]
async fn a_name_with_public_addresses_gives_them_in_the_resolver_s_order() {
    let found = guard(&[&["2606:4700::1", "93.184.216.34"]]).check(&url("https://hooks.example/")).await.unwrap();
    assert_eq!(found, ["2606:4700::1".parse::<IpAddr>().unwrap(), "93.184.216.34".parse().unwrap()]);
}

#[tokio::test]
async fn one_private_address_among_public_ones_refuses_the_name() {
    for answer in [["93.184.216.34", "192.168.0.9"], ["192.168.0.9", "93.184.216.34"]] {
        let refused = guard(&[&answer]).check(&url("https://hooks.example/")).await.unwrap_err();
        assert_eq!(refused.to_string(), "resolves to private/internal IP 192.168.0.9");
    }
    let refused = guard(&[&["2606:4700::1", "fd00::9"]]).resolve("hooks.example").await.unwrap_err();
    assert!(matches!(refused, Refusal::Internal { kind: Kind::UniqueLocal, .. }));
}

#[tokio::test]
async fn a_name_that_changes_its_answer_between_check_and_connect_is_judged_again() {
    let guard = guard(&[&["93.184.216.34"], &["127.0.0.1"], &["93.184.216.35"]]);
    guard.check(&url("https://rebind.example/")).await.unwrap();

    let refused = guard.resolve("rebind.example").await.unwrap_err();
    assert_eq!(refused.to_string(), "resolves to private/internal IP 127.0.0.1");

    let dialled = guard.resolve("rebind.example").await.unwrap();
    assert_eq!(dialled, ["93.184.216.35".parse::<IpAddr>().unwrap()], "what was judged is what is dialled");
}

#[tokio::test]
async fn a_name_without_an_answer_is_refused_with_its_name() {
    let refused = guard(&[&[]]).check(&url("https://empty.example/")).await.unwrap_err();
    assert_eq!(refused.to_string(), "host name empty.example has no address");

    let fails = Scripted(Mutex::new([Err(io::Error::other("NXDOMAIN"))].into()));
    let refused = address::check(&url("https://gone.example/"), Policy::default(), &fails).await.unwrap_err();
    assert_eq!(refused.to_string(), "host name gone.example does not resolve");
    assert_eq!(std::error::Error::source(&refused).unwrap().to_string(), "NXDOMAIN");
}

#[tokio::test]
async fn before_each_send_an_address_is_judged_and_a_name_left_to_the_dialler() {
    let guard = guard(&[]);
    guard.check_literal(&url("https://hooks.example/")).unwrap();
    guard.check_literal(&url("https://93.184.216.34/")).unwrap();
    guard.check_literal(&url("https://0x7f.1/")).unwrap_err();
    guard.check_literal(&url("https://[::ffff:10.0.0.5]/")).unwrap_err();
}

#[tokio::test]
async fn in_development_every_address_passes() {
    let guard = guard_with(Policy { allow_private: true }, &[&["127.0.0.1"], &["10.0.0.5", "::1"]]);
    guard.check(&url("http://127.0.0.1:9000/")).await.unwrap();
    guard.check_literal(&url("http://[fd00::1]/")).unwrap();
    guard.check(&url("http://localhost:9000/")).await.unwrap();
    assert_eq!(guard.resolve("receiver.internal").await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_system_s_resolver_knows_the_own_machine() {
    let found = SystemResolver.resolve("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(|ip| ip.is_loopback()), "{found:?}");

    let guard = Guard::new(Policy::default(), Arc::new(SystemResolver));
    let refused = guard.resolve("2130706433").await.unwrap_err();
    assert_eq!(refused.to_string(), "resolves to private/internal IP 127.0.0.1", "the C library's spellings too");
}

/// The forms of IPv6 that carry an IPv4 address and never pass, whatever stands inside.
fn refused_forms(v4: Ipv4Addr) -> Vec<Ipv6Addr> {
    let low = u128::from(v4.to_bits());
    let inverted = u128::from(!v4.to_bits());
    let high = |prefix: u128| prefix << 96;
    let public: u128 = 0x0808_0808;
    [
        0xffff << 32 | low,
        low,
        0xffff << 48 | low,
        high(0x0064_ff9b) | 1 << 80 | low,
        0x2002 << 112 | low << 80 | 1,
        high(0x2001_0000) | low << 64 | !public & 0xffff_ffff,
        high(0x2001_0000) | public << 64 | inverted,
        high(0x2606_4700) | 0x5efe << 32 | low,
        high(0x2606_4700) | 0x0200_5efe << 32 | low,
    ]
    .map(Ipv6Addr::from_bits)
    .to_vec()
}

fn nat64(v4: Ipv4Addr) -> IpAddr {
    Ipv6Addr::from_bits(0x0064_ff9b << 96 | u128::from(v4.to_bits())).into()
}

/// Any IPv4 address, half of them in networks that are refused.
fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    let network = prop::sample::select(vec![
        (0x0000_0000, 8),
        (0x0a00_0000, 8),
        (0x6440_0000, 10),
        (0x7f00_0000, 8),
        (0xa9fe_0000, 16),
        (0xac10_0000, 12),
        (0xc000_0000, 24),
        (0xc000_0200, 24),
        (0xc0a8_0000, 16),
        (0xc612_0000, 15),
        (0xc633_6400, 24),
        (0xcb00_7100, 24),
        (0xe000_0000, 3),
    ]);
    let refused = (network, any::<u32>()).prop_map(|((net, prefix), host): ((u32, u32), u32)| net | host >> prefix);
    prop_oneof![refused, any::<u32>()].prop_map(Ipv4Addr::from_bits)
}

proptest! {
    #[test]
    fn an_address_inside_another_is_judged_as_it_would_be_alone(v4 in any_v4()) {
        let alone = refusal(v4.into());
        prop_assert_eq!(refusal(nat64(v4)), alone);
        for form in refused_forms(v4) {
            let judged = refusal(form.into());
            prop_assert!(judged.is_some(), "{} passes", form);
            // `::` and `::1` are themselves before they are forms of 0.0.0.0 and 0.0.0.1.
            if alone.is_some() && form.to_bits() > 1 {
                prop_assert_eq!(judged, alone, "{}", form);
            }
        }
    }

    #[test]
    fn what_the_standard_library_knows_to_be_special_never_passes(v4 in any_v4(), v6 in any::<u128>()) {
        let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
            || v4.is_documentation() || v4.is_unspecified() || v4.is_multicast();
        prop_assert!(!special || refusal(v4.into()).is_some(), "{} passes", v4);

        for v6 in [v6, v6 >> 64, v6 | 0xfc << 120, v6 | 0xff << 120].map(Ipv6Addr::from_bits) {
            let may_pass = v6.segments()[0] & 0xe000 == 0x2000 || v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
            prop_assert!(may_pass || refusal(v6.into()).is_some(), "{} passes", v6);
        }
    }
}
