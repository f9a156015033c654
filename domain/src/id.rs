//! Identifiers: UUIDv7 (RFC 9562) in rows, a prefix and the ULID spelling of the same 128 bits outside.
//!
//! An id begins with the millisecond of its making, so rows are stored in order of time and the day of an event, a
//! delivery or an attempt can be read off its id.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use ulid::Ulid;
use uuid::Uuid;

use crate::chance::Chance;

/// A text that is no id of the wanted kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("is not an id of this kind")]
pub struct InvalidId;

/// A new time-ordered UUID for `now`.
pub fn new_uuid(now: DateTime<Utc>, chance: &Chance) -> Uuid {
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &chance.bytes()).into_uuid()
}

/// The smallest UUIDv7 of a moment: a bound for "from then on" over ids.
pub fn floor_uuid(at: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

/// The 26 characters (Crockford base 32) that stand for `uuid` outside.
pub fn spell(uuid: Uuid) -> String {
    Ulid::from(uuid.as_u128()).to_string()
}

/// Reads what [`spell`] wrote, after any prefix that ends in an underscore.
pub fn read_any(text: &str) -> Result<Uuid, InvalidId> {
    let (_, tail) = text.rsplit_once('_').ok_or(InvalidId)?;
    if tail.len() != 26 {
        return Err(InvalidId);
    }
    let ulid = Ulid::from_string(tail).map_err(|_| InvalidId)?;
    Ok(Uuid::from_u128(ulid.0))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What stands before the 26 characters, with its underscore.
            pub const PREFIX: &'static str = concat!($prefix, "_");

            /// A new id of the moment `now`.
            pub fn new(now: DateTime<Utc>, chance: &Chance) -> Self {
                Self(new_uuid(now, chance))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", Self::PREFIX, spell(self.0))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != Self::PREFIX.len() + 26 || !text.starts_with(Self::PREFIX) {
                    return Err(InvalidId);
                }
                read_any(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// An organisation, `org_…`.
    OrgId = "org";
    /// A person, `user_…`.
    UserId = "user";
    /// An API key's row, `key_…` (not the key itself).
    ApiKeyId = "key";
    /// A fact that happened once, `evt_…`.
    EventId = "evt";
    /// A webhook endpoint; outside, the dialect's own prefix stands before it (see `dialect::Dialect::endpoint_prefix`).
    EndpointId = "we";
    /// One event on its way to one endpoint, `del_…`.
    DeliveryId = "del";
    /// A replay of past deliveries, `rpl_…`.
    ReplayId = "rpl";
    /// Something that happened, as members are told of it, `ntf_…`.
    NotificationId = "ntf";
    /// A mail, `mail_…`.
    MailId = "mail";
    /// A folder or tag; outside, `fld_…` or `tag_…` (see `label::Kind`).
    LabelId = "lbl";
    /// A short link, `link_…`.
    LinkId = "link";
    /// A QR code, `qr_…`.
    QrId = "qr";
    /// An alert about visits, `alr_…`.
    AlertId = "alr";
    /// A conversion, `conv_…`.
    ConversionId = "conv";
    /// Who converts, as one organisation knows them, `visitor_…` (see `conversion::visitor`).
    VisitorId = "visitor";
    /// A barcode, `bar_…`.
    BarcodeId = "bar";
    /// A link page, `page_…`.
    LinkPageId = "page";
    /// An own domain, `dom_…`.
    OwnDomainId = "dom";
    /// A program that members let in by OAuth, `client_…`.
    OauthClientId = "client";
    /// What a member allowed such a program, `grant_…`.
    GrantId = "grant";
    /// Links that come from a file, `imp_…`.
    ImportId = "imp";
    /// A job in the queue, `job_…`.
    JobId = "job";
}

impl JobId {
    /// The millisecond of its making.
    pub fn made_at(self) -> DateTime<Utc> {
        let millis = i64::try_from(self.0.as_u128() >> 80).unwrap_or_default();
        DateTime::from_timestamp_millis(millis).unwrap_or_default()
    }
}

impl OrgId {
    /// The installation itself: sweeps, partitions and other work that belongs to no organisation.
    pub const SYSTEM: Self = Self(Uuid::nil());
}
