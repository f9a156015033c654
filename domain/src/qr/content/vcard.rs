//! A card: vCard 3.0 (RFC 2426), which every phone reads, or 4.0 (RFC 6350).

use serde::{Deserialize, Serialize};

use super::{BODY_MAX, Check, Lines, escaped_text, number};

/// A person or an organisation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "they are what they are called")]
pub struct Vcard {
    pub version: Version,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub organization: Option<String>,
    pub title: Option<String>,
    pub phone: Option<String>,
    pub mobile: Option<String>,
    pub email: Option<String>,
    pub url: Option<String>,
    pub street: Option<String>,
    pub city: Option<String>,
    pub region: Option<String>,
    pub postal_code: Option<String>,
    pub country: Option<String>,
    pub note: Option<String>,
}

/// Which vCard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// RFC 2426.
    #[default]
    #[serde(rename = "3.0")]
    Three,
    /// RFC 6350.
    #[serde(rename = "4.0")]
    Four,
}

impl Vcard {
    pub(super) fn check(&self, check: &mut Check) {
        for (field, text) in [
            ("firstName", &self.first_name),
            ("lastName", &self.last_name),
            ("organization", &self.organization),
            ("title", &self.title),
            ("street", &self.street),
            ("city", &self.city),
            ("region", &self.region),
            ("postalCode", &self.postal_code),
            ("country", &self.country),
        ] {
            check.line(&format!("vcard.{field}"), text.as_deref());
        }
        check.phone("vcard.phone", self.phone.as_deref());
        check.phone("vcard.mobile", self.mobile.as_deref());
        check.email("vcard.email", self.email.as_deref());
        check.url("vcard.url", self.url.as_deref());
        check.text("vcard.note", self.note.as_deref().unwrap_or_default(), 0, BODY_MAX);
        let nobody = self.formatted_name().is_empty();
        check.rule("vcard", nobody.then_some("must have a firstName, a lastName or an organization"));
    }

    /// What it is filed under: the person, or else the organisation.
    fn formatted_name(&self) -> String {
        let parts = [&self.first_name, &self.last_name].map(|part| part.as_deref().unwrap_or_default().trim());
        let person = parts.join(" ");
        match person.trim() {
            "" => self.organization.as_deref().unwrap_or_default().trim().to_owned(),
            person => person.to_owned(),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut lines = Lines(String::new());
        let escaped = |text: &Option<String>| escaped_text(text.as_deref().unwrap_or_default());
        lines.push("BEGIN:VCARD");
        lines.push(match self.version {
            Version::Three => "VERSION:3.0",
            Version::Four => "VERSION:4.0",
        });
        lines.push(&format!("N:{};{};;;", escaped(&self.last_name), escaped(&self.first_name)));
        lines.push(&format!("FN:{}", escaped_text(&self.formatted_name())));
        lines.some("ORG", self.organization.as_deref(), escaped_text);
        lines.some("TITLE", self.title.as_deref(), escaped_text);
        let plain = |text: &str| number(text).unwrap_or_default();
        let uri = |text: &str| format!("tel:{}", plain(text));
        match self.version {
            Version::Three => {
                lines.some("TEL;TYPE=WORK,VOICE", self.phone.as_deref(), plain);
                lines.some("TEL;TYPE=CELL", self.mobile.as_deref(), plain);
                lines.some("EMAIL;TYPE=INTERNET", self.email.as_deref(), escaped_text);
            }
            Version::Four => {
                lines.some("TEL;VALUE=uri;TYPE=\"work,voice\"", self.phone.as_deref(), uri);
                lines.some("TEL;VALUE=uri;TYPE=cell", self.mobile.as_deref(), uri);
                lines.some("EMAIL", self.email.as_deref(), escaped_text);
            }
        }
        // A URI is no text value: nothing is escaped in it.
        lines.some("URL", self.url.as_deref(), str::to_owned);
        let address = [&self.street, &self.city, &self.region, &self.postal_code, &self.country].map(escaped);
        if address.iter().any(|part| !part.is_empty()) {
            let kind = if self.version == Version::Three { ";TYPE=WORK" } else { ";TYPE=work" };
            lines.push(&format!("ADR{kind}:;;{}", address.join(";")));
        }
        lines.some("NOTE", self.note.as_deref(), escaped_text);
        lines.push("END:VCARD");
        lines.0
    }
}
