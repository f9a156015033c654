//! What a QR code is about, on the wire.

use domain::qr::content::{Content, Email, Event, Geo, Security, Sms, Vcard, Version, Wifi};
use poem_openapi::{Enum, Object};
use serde::Deserialize;

use crate::{
    input,
    text::{self, Text},
};

/// What a code is about: exactly one of these members.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self")]
pub(super) struct QrContent {
    /// An address to open. A dynamic code leads there.
    url: Option<Text<text::Destination>>,
    /// Any text.
    text: Option<Text<text::QrText>>,
    /// A person or an organisation, as a vCard.
    vcard: Option<QrVcard>,
    /// A wireless network to join.
    wifi: Option<QrWifi>,
    /// A mail to write (RFC 6068).
    email: Option<QrEmail>,
    /// A message to send.
    sms: Option<QrSms>,
    /// A number to call (RFC 3966).
    phone: Option<Text<text::PhoneNumber>>,
    /// A place (RFC 5870).
    geo: Option<QrGeo>,
    /// Something for the calendar (RFC 5545).
    event: Option<QrEvent>,
}

/// A person or an organisation: a first name, a last name or an organisation is needed.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", remote = "Self")]
struct QrVcard {
    /// Which vCard; `3.0` (RFC 2426) if not given, which every phone reads.
    #[serde(default, deserialize_with = "input::word")]
    version: Option<VcardVersion>,
    /// The first name.
    first_name: Option<Text<text::Line>>,
    /// The last name.
    last_name: Option<Text<text::Line>>,
    /// The organisation.
    organization: Option<Text<text::Line>>,
    /// What they are there.
    title: Option<Text<text::Line>>,
    /// The number at work.
    phone: Option<Text<text::PhoneNumber>>,
    /// The number of a mobile phone.
    mobile: Option<Text<text::PhoneNumber>>,
    /// The e-mail address.
    email: Option<Text<text::EmailAddress>>,
    /// The page.
    url: Option<Text<text::Destination>>,
    /// Street and number.
    street: Option<Text<text::Line>>,
    /// The town.
    city: Option<Text<text::Line>>,
    /// The state or province.
    region: Option<Text<text::Line>>,
    /// The postal code.
    postal_code: Option<Text<text::Line>>,
    /// The country.
    country: Option<Text<text::Line>>,
    /// What else there is to say.
    note: Option<Text<text::Body>>,
}

/// A version of vCard.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
enum VcardVersion {
    /// RFC 2426.
    #[oai(rename = "3.0")]
    #[serde(rename = "3.0")]
    Three,
    /// RFC 6350.
    #[oai(rename = "4.0")]
    #[serde(rename = "4.0")]
    Four,
}

/// A wireless network.
#[derive(Debug, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self")]
struct QrWifi {
    /// Its name, 1 to 32 bytes.
    ssid: Text<text::Ssid>,
    /// How it is protected; `wpa` if there is a password, and `none` if not.
    #[serde(default, deserialize_with = "input::word")]
    security: Option<WifiSecurity>,
    /// What one must know to join: 8 to 63 ASCII characters or 64 hexadecimal digits for WPA; 5 or 13, or 10 or 26, for WEP.
    password: Option<Text<text::WifiPassword>>,
    /// Whether it does not tell its name; `false` if not given.
    hidden: Option<bool>,
}

/// How a wireless network is protected.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum WifiSecurity {
    /// WPA, WPA2 or WPA3 with a password.
    Wpa,
    /// WEP.
    Wep,
    /// Not at all.
    None,
}

/// A mail to write.
#[derive(Debug, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self")]
struct QrEmail {
    /// To whom.
    to: Text<text::EmailAddress>,
    /// Who gets a copy.
    cc: Option<Text<text::EmailAddress>>,
    /// What about.
    subject: Option<Text<text::Line>>,
    /// What it says.
    body: Option<Text<text::Body>>,
}

/// A message to send.
#[derive(Debug, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self")]
struct QrSms {
    /// To which number.
    phone: Text<text::PhoneNumber>,
    /// What it says.
    message: Option<Text<text::Body>>,
}

/// A place, in degrees and metres (WGS 84).
#[derive(Debug, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self")]
struct QrGeo {
    /// North of the equator.
    #[oai(validator(minimum(value = "-90"), maximum(value = "90")))]
    latitude: f64,
    /// East of Greenwich.
    #[oai(validator(minimum(value = "-180"), maximum(value = "180")))]
    longitude: f64,
    /// Above the ellipsoid.
    #[oai(validator(minimum(value = "-100000"), maximum(value = "100000")))]
    altitude: Option<f64>,
}

/// Something for the calendar.
#[derive(Debug, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self")]
struct QrEvent {
    /// What it is called.
    title: Text<text::Title>,
    /// When it begins: an RFC 3339 time, or a date for whole days.
    start: Text<text::TimeOrDate>,
    /// When it ends: a time, or the last of its days.
    end: Option<Text<text::TimeOrDate>>,
    /// Where it is.
    location: Option<Text<text::Line>>,
    /// What else there is to say.
    description: Option<Text<text::Body>>,
}

input::objects!(QrContent QrVcard QrWifi QrEmail QrSms QrGeo QrEvent);

fn plain<F>(text: Option<Text<F>>) -> Option<String> {
    text.map(Into::into)
}

fn text<F>(plain: Option<String>) -> Option<Text<F>> {
    plain.map(Into::into)
}

impl QrContent {
    /// An address.
    pub(super) fn url(url: &str) -> Self {
        Self { url: Some(url.into()), ..Self::default() }
    }

    /// What it says; `None` unless it has exactly one member.
    pub(super) fn read(self) -> Option<Content> {
        let Self { url, text, vcard, wifi, email, sms, phone, geo, event } = self;
        let said = [
            url.map(|url| Content::Url(url.into())),
            text.map(|text| Content::Text(text.into())),
            vcard.map(|card| Content::Vcard(Box::new(card.into()))),
            wifi.map(|wifi| Content::Wifi(wifi.into())),
            email.map(|mail| {
                let (cc, subject, body) = (plain(mail.cc), plain(mail.subject), plain(mail.body));
                Content::Email(Email { to: mail.to.into(), cc, subject, body })
            }),
            sms.map(|sms| Content::Sms(Sms { phone: sms.phone.into(), message: plain(sms.message) })),
            phone.map(|number| Content::Phone(number.into())),
            geo.map(|QrGeo { latitude, longitude, altitude }| Content::Geo(Geo { latitude, longitude, altitude })),
            event.map(|event| {
                let QrEvent { title, start, end, location, description } = event;
                Content::Event(Box::new(Event {
                    title: title.into(),
                    start: start.into(),
                    end: plain(end),
                    location: plain(location),
                    description: plain(description),
                }))
            }),
        ];
        let mut said = said.into_iter().flatten();
        said.next().filter(|_| said.next().is_none())
    }
}

impl From<Content> for QrContent {
    fn from(content: Content) -> Self {
        let none = Self::default();
        match content {
            Content::Url(url) => Self { url: Some(url.into()), ..none },
            Content::Text(text) => Self { text: Some(text.into()), ..none },
            Content::Vcard(card) => Self { vcard: Some((*card).into()), ..none },
            Content::Wifi(wifi) => Self { wifi: Some(wifi.into()), ..none },
            Content::Email(mail) => {
                let (cc, subject, body) = (text(mail.cc), text(mail.subject), text(mail.body));
                Self { email: Some(QrEmail { to: mail.to.into(), cc, subject, body }), ..none }
            }
            Content::Sms(sms) => {
                Self { sms: Some(QrSms { phone: sms.phone.into(), message: text(sms.message) }), ..none }
            }
            Content::Phone(number) => Self { phone: Some(number.into()), ..none },
            Content::Geo(Geo { latitude, longitude, altitude }) => {
                Self { geo: Some(QrGeo { latitude, longitude, altitude }), ..none }
            }
            Content::Event(event) => {
                let event = *event;
                let event = QrEvent {
                    title: event.title.into(),
                    start: event.start.into(),
                    end: text(event.end),
                    location: text(event.location),
                    description: text(event.description),
                };
                Self { event: Some(event), ..none }
            }
        }
    }
}

impl From<QrVcard> for Vcard {
    fn from(card: QrVcard) -> Self {
        Self {
            version: match card.version {
                Some(VcardVersion::Four) => Version::Four,
                Some(VcardVersion::Three) | None => Version::Three,
            },
            first_name: plain(card.first_name),
            last_name: plain(card.last_name),
            organization: plain(card.organization),
            title: plain(card.title),
            phone: plain(card.phone),
            mobile: plain(card.mobile),
            email: plain(card.email),
            url: plain(card.url),
            street: plain(card.street),
            city: plain(card.city),
            region: plain(card.region),
            postal_code: plain(card.postal_code),
            country: plain(card.country),
            note: plain(card.note),
        }
    }
}

impl From<Vcard> for QrVcard {
    fn from(card: Vcard) -> Self {
        Self {
            version: Some(match card.version {
                Version::Three => VcardVersion::Three,
                Version::Four => VcardVersion::Four,
            }),
            first_name: text(card.first_name),
            last_name: text(card.last_name),
            organization: text(card.organization),
            title: text(card.title),
            phone: text(card.phone),
            mobile: text(card.mobile),
            email: text(card.email),
            url: text(card.url),
            street: text(card.street),
            city: text(card.city),
            region: text(card.region),
            postal_code: text(card.postal_code),
            country: text(card.country),
            note: text(card.note),
        }
    }
}

impl From<QrWifi> for Wifi {
    fn from(wifi: QrWifi) -> Self {
        let password = plain(wifi.password).filter(|password| !password.is_empty());
        let security = match wifi.security {
            Some(WifiSecurity::Wpa) => Security::Wpa,
            Some(WifiSecurity::Wep) => Security::Wep,
            Some(WifiSecurity::None) => Security::None,
            None if password.is_some() => Security::Wpa,
            None => Security::None,
        };
        Self { ssid: wifi.ssid.into(), security, password, hidden: wifi.hidden.unwrap_or(false) }
    }
}

impl From<Wifi> for QrWifi {
    fn from(wifi: Wifi) -> Self {
        let security = match wifi.security {
            Security::Wpa => WifiSecurity::Wpa,
            Security::Wep => WifiSecurity::Wep,
            Security::None => WifiSecurity::None,
        };
        Self {
            ssid: wifi.ssid.into(),
            security: Some(security),
            password: text(wifi.password),
            hidden: Some(wifi.hidden),
        }
    }
}
