//! What public pages send and get.

use domain::{code::Code, id, password::PASSWORD_MAX};
use poem_openapi::{Object, types::Example};
use serde::Deserialize;

use crate::{
    failure::{Failure, FieldError},
    text::{self, Text},
};

/// A code and its password. The code is named by itself or by the id of its link or QR code.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProtectedCodeInput {
    /// The code.
    pub(super) code: Option<Text<text::Slug>>,
    /// The domain of the code, where it is not the installation's own.
    pub(super) domain: Option<Text<text::Host>>,
    /// The link or QR code, in place of the code.
    #[serde(alias = "linkId", alias = "qrId")]
    pub(super) id: Option<Text<text::CodeOwnerId>>,
    /// Its password.
    pub(super) password: Text<text::Password>,
}

impl Example for ProtectedCodeInput {
    fn example() -> Self {
        Self { code: Some("summer24".into()), domain: None, id: None, password: "sesame".into() }
    }
}

impl ProtectedCodeInput {
    /// Every field that breaks a rule.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let mut wrong = vec![];
        let mut rule = |field: &str, message: Option<String>| {
            wrong.extend(message.map(|message| FieldError::new(field, message)));
        };
        rule("code", self.code.as_deref().and_then(|code| Some(code.parse::<Code>().err()?.to_string())));
        let named = usize::from(self.code.is_some()) + usize::from(self.id.is_some());
        rule("code", (named != 1).then(|| "must be given, or id in its place".into()));
        let host =
            |text: &str| text.len() <= 253 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
        let is_host = self.domain.as_deref().is_none_or(|domain| !domain.is_empty() && host(domain));
        rule("domain", (!is_host).then(|| "must be the name of a host".into()));
        let is_id = self
            .id
            .as_deref()
            .is_none_or(|id| (id.starts_with("link_") || id.starts_with("qr_")) && id::read_any(id).is_ok());
        rule("id", (!is_id).then(|| "must be the id of a link or a QR code".into()));
        let fits = (1..=PASSWORD_MAX).contains(&self.password.chars().count());
        rule("password", (!fits).then(|| format!("must be 1 to {PASSWORD_MAX} characters")));
        if wrong.is_empty() { Ok(()) } else { Err(Failure::invalid(wrong)) }
    }
}

/// Where to go with the cookie.
#[derive(Debug, Object)]
pub(super) struct ProtectedCodeOpened {
    /// The code's address, which leads on from now for a day, or until the password is another.
    pub(super) url: Text<text::Url>,
}
