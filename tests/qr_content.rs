//! What QR codes say: the text that scanners know each kind of content by, and the rules that contents must keep to.

use domain::qr::content::{Content, Email, Event, Geo, Security, Sms, Vcard, Version, Wifi};

/// 2026-03-02T12:00:00Z.
const NOW: i64 = 1_772_452_800_000;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn wifi(ssid: &str, security: Security, password: Option<&str>) -> Content {
    Content::Wifi(Wifi { ssid: ssid.into(), security, password: password.map(Into::into), hidden: false })
}

fn event(start: &str, end: Option<&str>) -> Event {
    let end = end.map(Into::into);
    Event { title: "Party".into(), start: start.into(), end, location: None, description: None }
}

fn card() -> Vcard {
    Vcard {
        first_name: some("Zoë"),
        last_name: some("O'Brien; Jr."),
        organization: some("Acme, Inc."),
        phone: some("+1 (555) 010-0199"),
        mobile: some("0151 23456789"),
        email: some("zoe@acme.example"),
        url: some("https://acme.example/a,b;c"),
        street: some("1 Main St"),
        city: some("Springfield"),
        postal_code: some("12345"),
        note: some("first\r\nsec\\ond"),
        ..Vcard::default()
    }
}

#[test]
fn short_contents_are_spelled_as_their_formats_ask() {
    let mail = |subject: &str, body: &str| {
        Content::Email(Email { to: "a+b@x.example".into(), cc: None, subject: some(subject), body: some(body) })
    };
    for (content, text) in [
        (Content::Url("https://x.example/?a=ü".into()), "https://x.example/?a=ü"),
        (Content::Text(" as it is; \\ ".into()), " as it is; \\ "),
        (wifi("Home", Security::Wpa, Some("12345678")), "WIFI:T:WPA;S:Home;P:12345678;;"),
        (wifi(r#"a;b,c:d\e"f"#, Security::None, None), r#"WIFI:T:nopass;S:a\;b\,c\:d\\e\"f;;"#),
        (wifi("W", Security::Wep, Some("0123456789")), "WIFI:T:WEP;S:W;P:0123456789;;"),
        (mail("50% & more?", "one\ntwo"), "mailto:a%2Bb@x.example?subject=50%25%20%26%20more%3F&body=one%0D%0Atwo"),
        (mail("", ""), "mailto:a%2Bb@x.example"),
        (Content::Sms(Sms { phone: "+1 555 01".into(), message: some("a:b;c") }), "SMSTO:+155501:a:b;c"),
        (Content::Phone("(0 30) 12-34.5".into()), "tel:03012345"),
        (Content::Geo(Geo { latitude: -0.0, longitude: 1e-7, altitude: None }), "geo:0,0.0000001"),
        (Content::Geo(Geo { latitude: 52.5, longitude: -180.0, altitude: Some(-3.0) }), "geo:52.5,-180,-3"),
    ] {
        assert_eq!(content.broken(), [], "{content:?}");
        assert_eq!(content.text(NOW), text);
    }
}

#[test]
fn a_card_is_a_vcard_of_either_version() {
    let lines = [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "N:O'Brien\\; Jr.;Zoë;;;",
        "FN:Zoë O'Brien\\; Jr.",
        "ORG:Acme\\, Inc.",
        "TEL;TYPE=WORK,VOICE:+15550100199",
        "TEL;TYPE=CELL:015123456789",
        "EMAIL;TYPE=INTERNET:zoe@acme.example",
        "URL:https://acme.example/a,b;c",
        "ADR;TYPE=WORK:;;1 Main St;Springfield;;12345;",
        "NOTE:first\\nsec\\\\ond",
        "END:VCARD",
        "",
    ];
    assert_eq!(Content::Vcard(Box::new(card())).text(NOW), lines.join("\r\n"));
    let four = Vcard { version: Version::Four, ..card() };
    let text = Content::Vcard(Box::new(four)).text(NOW);
    for line in ["VERSION:4.0", "TEL;VALUE=uri;TYPE=\"work,voice\":tel:+15550100199", "EMAIL:zoe@acme.example"] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{text}");
    }
    let company = Vcard { organization: some("Acme"), ..Vcard::default() };
    assert!(Content::Vcard(Box::new(company)).text(NOW).contains("\r\nFN:Acme\r\n"), "everybody has a name");
}

#[test]
fn an_event_is_a_calendar_with_one_event() {
    let mut party = event("2026-06-01T18:00:00+02:00", Some("2026-06-01T23:30:00+02:00"));
    party.location = some("Köln, Altstadt");
    let text = Content::Event(Box::new(party.clone())).text(NOW);
    let (before, after) = text.split_once("UID:").unwrap();
    assert_eq!(before, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Inkfleet//QR code//EN\r\nBEGIN:VEVENT\r\n");
    let (uid, rest) = after.split_once("\r\n").unwrap();
    assert_eq!(uid.len(), 24);
    let lines = [
        "DTSTAMP:20260302T120000Z",
        "DTSTART:20260601T160000Z",
        "DTEND:20260601T213000Z",
        "SUMMARY:Party",
        "LOCATION:Köln\\, Altstadt",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ];
    assert_eq!(rest, lines.join("\r\n"));
    party.description = some("more");
    assert!(Content::Event(Box::new(party)).text(NOW).contains(uid), "the same event, told better");

    let days = Content::Event(Box::new(event("2026-12-30", Some("2026-12-31")))).text(NOW);
    assert!(days.contains("\r\nDTSTART;VALUE=DATE:20261230\r\nDTEND;VALUE=DATE:20270101\r\n"), "{days}");
}

/// RFC 5545, 3.1 and RFC 6350, 3.2: lines of at most 75 bytes, folded between characters.
#[test]
fn long_lines_are_folded_and_no_character_is_broken() {
    let note: String = "Größe 東京 🎈 ".repeat(30);
    let text = Content::Vcard(Box::new(Vcard { note: some(&note), ..card() })).text(NOW);
    assert!(text.split("\r\n").all(|line| line.len() <= 75), "{text}");
    assert!(text.replace("\r\n ", "").contains(&format!("\r\nNOTE:{note}\r\n")));
}

#[test]
fn every_rule_that_a_content_breaks_is_named_with_its_place() {
    let long = "x".repeat(201);
    let mail = |to: &str| Content::Email(Email { to: to.into(), cc: some("b"), subject: some("a\nb"), body: None });
    for (content, fields) in [
        (Content::Url("ftp://x.example".into()), vec!["url"]),
        (Content::Text(String::new()), vec!["text"]),
        (Content::Text("a\0".into()), vec!["text"]),
        (Content::Vcard(Box::default()), vec!["vcard"]),
        (
            Content::Vcard(Box::new(Vcard {
                title: some(&long),
                phone: some("call me"),
                email: some("@"),
                url: some("javascript:alert(1)"),
                ..card()
            })),
            vec!["vcard.title", "vcard.phone", "vcard.email", "vcard.url"],
        ),
        (wifi("", Security::Wpa, Some("1234567")), vec!["wifi.ssid", "wifi.password"]),
        (wifi(&"ä".repeat(17), Security::Wpa, None), vec!["wifi.ssid", "wifi.password"]),
        (wifi("a", Security::None, Some("x")), vec!["wifi.password"]),
        (wifi("a", Security::Wep, Some("123456")), vec!["wifi.password"]),
        (mail("a b@c"), vec!["email.to", "email.cc", "email.subject"]),
        (Content::Phone("+".into()), vec!["phone"]),
        (Content::Phone("1".repeat(21)), vec!["phone"]),
        (
            Content::Geo(Geo { latitude: 90.1, longitude: f64::NAN, altitude: None }),
            vec!["geo.latitude", "geo.longitude"],
        ),
        (Content::Event(Box::new(event("tomorrow", Some("2026-06-01")))), vec!["event.start"]),
        (Content::Event(Box::new(event("2026-06-01", Some("2026-05-31")))), vec!["event.end"]),
        (Content::Event(Box::new(event("2026-06-01", Some("2026-06-01T00:00:00Z")))), vec!["event.end"]),
        (Content::Event(Box::new(event("2026-06-01T00:00:00Z", Some("2026-06-01T00:00:00Z")))), vec!["event.end"]),
    ] {
        let named: Vec<String> = content.broken().into_iter().map(|broken| broken.field).collect();
        assert_eq!(named, fields, "{content:?}");
    }
}
