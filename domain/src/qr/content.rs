//! What a QR code is about, checked, and the text by which scanners know it: each kind by the rules of its own format.

mod event;
mod vcard;

use serde::{Deserialize, Serialize};

pub use self::{
    event::Event,
    vcard::{Vcard, Version},
};
use crate::{link, user::EmailAddress};

/// The longest text, in characters: what the largest symbol holds of digits.
pub const TEXT_MAX: usize = 7089;
/// The longest field of a card, a message's subject and such, in characters.
pub const FIELD_MAX: usize = 200;
/// The longest body, note or description, in characters.
pub const BODY_MAX: usize = 1000;

/// What a code is about. Rows keep it as JSON, so names change by addition only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// An address to open.
    Url(String),
    /// Any text.
    Text(String),
    /// A person or an organisation.
    Vcard(Box<Vcard>),
    /// A wireless network.
    Wifi(Wifi),
    /// A mail to write.
    Email(Email),
    /// A message to send.
    Sms(Sms),
    /// A number to call.
    Phone(String),
    /// A place.
    Geo(Geo),
    /// Something in a calendar.
    Event(Box<Event>),
}

/// A kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Kind {
    Url,
    Text,
    Vcard,
    Wifi,
    Email,
    Sms,
    Phone,
    Geo,
    Event,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::Url, Self::Text, Self::Vcard, Self::Wifi, Self::Email, Self::Sms, Self::Phone, Self::Geo, Self::Event];

    /// Its name, outside and in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Url => "URL",
            Self::Text => "TEXT",
            Self::Vcard => "VCARD",
            Self::Wifi => "WIFI",
            Self::Email => "EMAIL",
            Self::Sms => "SMS",
            Self::Phone => "PHONE",
            Self::Geo => "GEO",
            Self::Event => "EVENT",
        }
    }
}

/// A wireless network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wifi {
    /// Its name (SSID): 1 to 32 bytes.
    pub ssid: String,
    /// How it is protected.
    pub security: Security,
    /// What one must know to join.
    pub password: Option<String>,
    /// Whether it does not tell its name.
    pub hidden: bool,
}

/// How a wireless network is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// WPA, WPA2 or WPA3 with a password.
    Wpa,
    /// WEP.
    Wep,
    /// Not at all.
    None,
}

/// A mail to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    /// To whom.
    pub to: String,
    /// Who gets a copy.
    pub cc: Option<String>,
    /// What about.
    pub subject: Option<String>,
    /// What it says.
    pub body: Option<String>,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sms {
    /// To which number.
    pub phone: String,
    /// What it says.
    pub message: Option<String>,
}

/// A place (WGS 84).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Geo {
    /// North of the equator, in degrees.
    pub latitude: f64,
    /// East of Greenwich, in degrees.
    pub longitude: f64,
    /// Above the ellipsoid, in metres.
    pub altitude: Option<f64>,
}

/// A rule that a field breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The field's path within the content: `wifi.ssid`.
    pub field: String,
    /// The rule, to stand after the field's name.
    pub rule: String,
}

/// Collects what is broken.
#[derive(Default)]
struct Check(Vec<Broken>);

impl Check {
    fn rule(&mut self, field: &str, broken: Option<impl Into<String>>) {
        self.0.extend(broken.map(|rule| Broken { field: field.to_owned(), rule: rule.into() }));
    }

    /// A text of `least` to `most` characters. Postgres keeps every character but U+0000.
    fn text(&mut self, field: &str, text: &str, least: usize, most: usize) {
        let fits = (least..=most).contains(&text.chars().count()) && !text.contains('\0');
        let rule = match least {
            0 => format!("must be at most {most} characters"),
            _ => format!("must be {least} to {most} characters"),
        };
        self.rule(field, (!fits).then_some(rule));
    }

    /// The same of one line, if it is there.
    fn line(&mut self, field: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.text(field, text, 0, FIELD_MAX);
        self.rule(field, text.contains(['\r', '\n']).then_some("must be one line"));
    }

    fn phone(&mut self, field: &str, text: Option<&str>) {
        let wrong = text.is_some_and(|text| number(text).is_none());
        self.rule(field, wrong.then_some("must be a phone number: 2 to 20 digits, with or without a + before them"));
    }

    fn email(&mut self, field: &str, text: Option<&str>) {
        let wrong = text.is_some_and(|text| text.parse::<EmailAddress>().is_err() || text.trim() != text);
        self.rule(field, wrong.then_some("must be an e-mail address"));
    }

    fn url(&mut self, field: &str, text: Option<&str>) {
        self.rule(field, text.and_then(|text| link::check_destination(text).err()));
    }
}

impl Content {
    /// What kind it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Url(_) => Kind::Url,
            Self::Text(_) => Kind::Text,
            Self::Vcard(_) => Kind::Vcard,
            Self::Wifi(_) => Kind::Wifi,
            Self::Email(_) => Kind::Email,
            Self::Sms(_) => Kind::Sms,
            Self::Phone(_) => Kind::Phone,
            Self::Geo(_) => Kind::Geo,
            Self::Event(_) => Kind::Event,
        }
    }

    /// The rules that it breaks; none where [`Content::text`] makes sense.
    pub fn broken(&self) -> Vec<Broken> {
        let mut check = Check::default();
        match self {
            Self::Url(url) => check.url("url", Some(url)),
            Self::Text(text) => check.text("text", text, 1, TEXT_MAX),
            Self::Vcard(card) => card.check(&mut check),
            Self::Wifi(wifi) => wifi.check(&mut check),
            Self::Email(mail) => {
                check.email("email.to", Some(&mail.to));
                check.email("email.cc", mail.cc.as_deref());
                check.line("email.subject", mail.subject.as_deref());
                check.text("email.body", mail.body.as_deref().unwrap_or_default(), 0, BODY_MAX);
            }
            Self::Sms(sms) => {
                check.phone("sms.phone", Some(&sms.phone));
                check.text("sms.message", sms.message.as_deref().unwrap_or_default(), 0, BODY_MAX);
            }
            Self::Phone(phone) => check.phone("phone", Some(phone)),
            Self::Geo(geo) => {
                let outside = |value: f64, most: f64| !(-most..=most).contains(&value);
                check.rule("geo.latitude", outside(geo.latitude, 90.0).then_some("must be from -90 to 90"));
                check.rule("geo.longitude", outside(geo.longitude, 180.0).then_some("must be from -180 to 180"));
                let far = geo.altitude.is_some_and(|metres| outside(metres, 100_000.0));
                check.rule("geo.altitude", far.then_some("must be from -100000 to 100000"));
            }
            Self::Event(event) => event.check(&mut check),
        }
        check.0
    }

    /// The text that the code carries. `made_at` is when this content was given, in milliseconds since 1970: calendars ask
    /// for it.
    pub fn text(&self, made_at: i64) -> String {
        match self {
            Self::Url(text) | Self::Text(text) => text.clone(),
            Self::Vcard(card) => card.text(),
            Self::Wifi(wifi) => wifi.text(),
            Self::Email(mail) => mail.text(),
            // Not RFC 5724's `sms:`: fewer phones know what stands behind its `?`.
            Self::Sms(sms) => {
                format!("SMSTO:{}:{}", plain_number(&sms.phone), sms.message.as_deref().unwrap_or_default())
            }
            Self::Phone(phone) => format!("tel:{}", plain_number(phone)),
            Self::Geo(geo) => geo.text(),
            Self::Event(event) => event.text(made_at),
        }
    }
}

/// The digits of a phone number, and the `+` before them (RFC 3966 without its visual separators).
fn number(text: &str) -> Option<String> {
    let (plus, rest) = text.strip_prefix('+').map_or(("", text), |rest| ("+", rest));
    let visual = [' ', '-', '.', '(', ')', '/'];
    if text.len() > 40 || !rest.chars().all(|c| c.is_ascii_digit() || visual.contains(&c)) {
        return None;
    }
    let digits = rest.replace(visual, "");
    (2..=20).contains(&digits.len()).then(|| format!("{plus}{digits}"))
}

fn plain_number(text: &str) -> String {
    number(text).unwrap_or_default()
}

impl Wifi {
    fn check(&self, check: &mut Check) {
        let length = self.ssid.len();
        let fits = (1..=32).contains(&length) && !self.ssid.contains(char::is_control);
        check.rule("wifi.ssid", (!fits).then_some("must be 1 to 32 bytes without control characters"));
        let password = self.password.as_deref().unwrap_or_default();
        let printable = password.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let hex = password.bytes().all(|byte| byte.is_ascii_hexdigit());
        let broken = match self.security {
            // IEEE 802.11: a pass phrase, or the key itself.
            Security::Wpa if printable && (8..=63).contains(&password.len()) || hex && password.len() == 64 => None,
            Security::Wpa => Some("must be 8 to 63 ASCII characters, or 64 hexadecimal digits"),
            Security::Wep if printable && [5, 13].contains(&password.len()) => None,
            Security::Wep if hex && [10, 26].contains(&password.len()) => None,
            Security::Wep => Some("must be 5 or 13 ASCII characters, or 10 or 26 hexadecimal digits"),
            Security::None if password.is_empty() => None,
            Security::None => Some("must not be given for an open network"),
        };
        check.rule("wifi.password", broken);
    }

    /// As Android, iOS and ZXing read it. No quotes around what looks like hexadecimal digits: today's phones would take
    /// them for a part of it.
    fn text(&self) -> String {
        let escaped = |text: &str| {
            let mut out = String::with_capacity(text.len());
            for c in text.chars() {
                if matches!(c, '\\' | ';' | ',' | '"' | ':') {
                    out.push('\\');
                }
                out.push(c);
            }
            out
        };
        let security = match self.security {
            Security::Wpa => "WPA",
            Security::Wep => "WEP",
            Security::None => "nopass",
        };
        let password = self.password.as_deref().filter(|_| self.security != Security::None);
        let password = password.map(|password| format!("P:{};", escaped(password))).unwrap_or_default();
        let hidden = if self.hidden { "H:true;" } else { "" };
        format!("WIFI:T:{security};S:{};{password}{hidden};", escaped(&self.ssid))
    }
}

impl Email {
    /// RFC 6068.
    fn text(&self) -> String {
        let mut text = format!("mailto:{}", escaped_address(&self.to));
        let fields = [
            ("cc", self.cc.as_deref().map(escaped_address)),
            ("subject", self.subject.as_deref().map(percent)),
            // Line breaks are CR LF there.
            ("body", self.body.as_deref().map(|body| percent(&body.replace("\r\n", "\n").replace('\n', "\r\n")))),
        ];
        for (n, (name, value)) in fields
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_ref().filter(|v| !v.is_empty())?)))
            .enumerate()
        {
            text.push(if n == 0 { '?' } else { '&' });
            text.push_str(&format!("{name}={value}"));
        }
        text
    }
}

/// The `@` stands for itself.
fn escaped_address(address: &str) -> String {
    percent(address).replace("%40", "@")
}

/// Everything but RFC 3986's unreserved characters as `%XX`. Even `+`, which some readers take for a blank.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl Geo {
    /// RFC 5870. Rust writes a number without an exponent, in as few digits as tell it apart.
    fn text(&self) -> String {
        // RFC 5870, 3.4.2: no minus before zero.
        let plain = |value: f64| if value == 0.0 { 0.0 } else { value };
        let altitude = self.altitude.map(|metres| format!(",{}", plain(metres))).unwrap_or_default();
        format!("geo:{},{}{altitude}", plain(self.latitude), plain(self.longitude))
    }
}

/// Content lines as vCards and iCalendar have them (RFC 2426, 6350 and 5545): CR LF at the end, and none longer than 75
/// bytes: what follows stands behind a blank on the next line.
struct Lines(String);

impl Lines {
    const MOST: usize = 75;

    fn push(&mut self, line: &str) {
        let mut used = 0;
        for c in line.chars() {
            if used + c.len_utf8() > Self::MOST {
                self.0.push_str("\r\n ");
                used = 1;
            }
            self.0.push(c);
            used += c.len_utf8();
        }
        self.0.push_str("\r\n");
    }

    /// A line if there is anything to say.
    fn some(&mut self, name: &str, value: Option<&str>, spelled: impl Fn(&str) -> String) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.push(&format!("{name}:{}", spelled(value)));
        }
    }
}

/// A text value of a vCard or of iCalendar.
fn escaped_text(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,");
    text.replace("\r\n", "\\n").replace(['\r', '\n'], "\\n")
}
