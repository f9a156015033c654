//! Notifications on the wire.

use chrono::NaiveTime;
use chrono_tz::Tz;
use domain::{
    id::NotificationId,
    notification::{self, Mode, Preferences, Seen},
};
use poem_openapi::{Enum, Object, types::Example};
use serde::Deserialize;

use crate::{
    failure::{Failure, FieldError},
    input,
    text::{self, Text},
    timestamp::Timestamp,
};

/// The most notifications that one request names.
const IDS_MAX: usize = 100;
const EXAMPLE: &str = "ntf_01KJQ6PSG0EC78V5NZFZCHSTM3";

/// Something that happened in a workspace.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub(super) struct Notification {
    /// Its id.
    id: Text<text::NotificationId>,
    /// What it is about.
    kind: Text<text::NotificationKind>,
    /// One line.
    title: String,
    /// A sentence or some; may be empty.
    text: String,
    /// Where the workspace shows more, without its host.
    path: String,
    /// When it happened.
    created_at: Timestamp,
    /// When you read it; absent until then.
    read_at: Option<Timestamp>,
}

impl Example for Notification {
    fn example() -> Self {
        Self {
            id: EXAMPLE.into(),
            kind: "link.health_failing".into(),
            title: "The destination of https://ink.example/summer does not answer".into(),
            text: "https://shop.example/summer (timed out after 10 s)".into(),
            path: "/links/link_01KJQ6PSG0EC78V5NZFZCHSTM3".into(),
            created_at: "2026-03-02T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().expect("a moment").into(),
            read_at: None,
        }
    }
}

impl From<notification::Notification> for Notification {
    fn from(row: notification::Notification) -> Self {
        Self {
            id: row.id.to_string().into(),
            kind: row.kind.into(),
            title: row.title,
            text: row.text,
            path: row.path,
            created_at: row.created_at.into(),
            read_at: row.read_at.map(Into::into),
        }
    }
}

/// A page of notifications, newest first.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct NotificationPage {
    /// The notifications.
    pub(super) items: Vec<Notification>,
    /// How many you have not read, on all pages.
    pub(super) unread_count: i64,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::NotificationId>>,
}

/// Which notifications were read: some, or all up to one.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ReadInput {
    /// These, at most 100. Those that are none of yours are left out.
    #[oai(validator(min_items = 1, max_items = 100))]
    ids: Option<Vec<Text<text::NotificationId>>>,
    /// This one and all older ones, in place of `ids`.
    up_to: Option<Text<text::NotificationId>>,
}

impl Example for ReadInput {
    fn example() -> Self {
        Self { ids: None, up_to: Some(EXAMPLE.into()) }
    }
}

impl ReadInput {
    pub(super) fn read(self) -> Result<Seen, Failure> {
        let id = |field: String, id: &str| {
            id.parse::<NotificationId>().map_err(|_| FieldError::new(field, "must be the id of a notification"))
        };
        match (self.ids, self.up_to) {
            (None, Some(up_to)) => id("upTo".into(), &up_to).map(Seen::UpTo).map_err(|e| Failure::invalid(vec![e])),
            (Some(ids), None) if (1..=IDS_MAX).contains(&ids.len()) => {
                let (mut found, mut wrong) = (vec![], vec![]);
                for (n, text) in ids.iter().enumerate() {
                    match id(format!("ids[{n}]"), text) {
                        Ok(id) => found.push(id),
                        Err(error) => wrong.push(error),
                    }
                }
                if wrong.is_empty() { Ok(Seen::Ids(found)) } else { Err(Failure::invalid(wrong)) }
            }
            (Some(_), None) => Err(Failure::field("ids", format!("must be 1 to {IDS_MAX}"))),
            _ => Err(Failure::field("ids", "must be given, or upTo in its place")),
        }
    }
}

/// What is left to read.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct NotificationsRead {
    /// How many notifications you have not read.
    pub(super) unread_count: i64,
}

impl Example for NotificationsRead {
    fn example() -> Self {
        Self { unread_count: 3 }
    }
}

/// How often mails tell of notifications.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(super) enum NotificationMode {
    /// Within minutes: one mail for all that came since the last.
    Immediate,
    /// At eight in the morning, where you live.
    Daily,
    /// On Monday at eight in the morning.
    Weekly,
    /// Never: they are in the workspace only.
    Off,
}

impl From<NotificationMode> for Mode {
    fn from(mode: NotificationMode) -> Self {
        match mode {
            NotificationMode::Immediate => Self::Immediate,
            NotificationMode::Daily => Self::Daily,
            NotificationMode::Weekly => Self::Weekly,
            NotificationMode::Off => Self::Off,
        }
    }
}

impl From<Mode> for NotificationMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Immediate => Self::Immediate,
            Mode::Daily => Self::Daily,
            Mode::Weekly => Self::Weekly,
            Mode::Off => Self::Off,
        }
    }
}

/// Hours without mail, by the clock where you live. With an end before their beginning they go over midnight.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub(super) struct QuietHours {
    /// Their beginning.
    from: Text<text::TimeOfDay>,
    /// Their end, another time; what waited is told then.
    to: Text<text::TimeOfDay>,
}

impl Example for QuietHours {
    fn example() -> Self {
        Self { from: "22:00".into(), to: "07:00".into() }
    }
}

/// How a member wants to be told.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub(super) struct NotificationPreferences {
    /// How often mails tell of notifications.
    mode: NotificationMode,
    /// When no mail comes; absent if it may at any time.
    quiet_hours: Option<QuietHours>,
    /// Whether the weekly digest of the workspace comes.
    weekly_digest: bool,
    /// Where you live, as IANA calls the time zone; the same in all your workspaces.
    time_zone: Text<text::TimeZone>,
}

impl Example for NotificationPreferences {
    fn example() -> Self {
        Self {
            mode: NotificationMode::Daily,
            quiet_hours: Some(QuietHours::example()),
            weekly_digest: true,
            time_zone: "Europe/Berlin".into(),
        }
    }
}

impl NotificationPreferences {
    pub(super) fn new(preferences: &Preferences, zone: Tz) -> Self {
        let spell = |time: NaiveTime| time.format("%H:%M").to_string().into();
        Self {
            mode: preferences.mode.into(),
            quiet_hours: preferences.quiet.map(|quiet| QuietHours { from: spell(quiet.from), to: spell(quiet.to) }),
            weekly_digest: preferences.weekly_digest,
            time_zone: zone.name().into(),
        }
    }
}

/// How you want to be told, whole.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct NotificationPreferencesInput {
    /// How often mails tell of notifications.
    #[serde(deserialize_with = "input::required_word")]
    mode: NotificationMode,
    /// When no mail is to come; at any time it may if not given.
    quiet_hours: Option<QuietHours>,
    /// Whether the weekly digest of the workspace comes; `true` if not given.
    weekly_digest: Option<bool>,
    /// Where you live, as IANA calls the time zone; what it was before if not given.
    time_zone: Option<Text<text::TimeZone>>,
}

impl Example for NotificationPreferencesInput {
    fn example() -> Self {
        Self {
            mode: NotificationMode::Daily,
            quiet_hours: Some(QuietHours::example()),
            weekly_digest: Some(true),
            time_zone: Some("Europe/Berlin".into()),
        }
    }
}

impl NotificationPreferencesInput {
    /// The wishes, and the time zone where one is given.
    pub(super) fn read(self) -> Result<(Preferences, Option<Tz>), Failure> {
        let mut wrong = vec![];
        let mut rule = |field: &str, broken: bool, rule: &str| {
            wrong.extend(broken.then(|| FieldError::new(field, rule)));
        };
        let time = |text: &str| NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| text.len() == 5);
        let quiet = self.quiet_hours.map(|quiet| (time(&quiet.from), time(&quiet.to)));
        if let Some((from, to)) = quiet {
            rule("quietHours.from", from.is_none(), "must be a time of day such as 22:00");
            rule("quietHours.to", to.is_none(), "must be a time of day such as 07:00");
            rule("quietHours.to", from.is_some() && from == to, "must be another time than from");
        }
        let zone: Option<Option<Tz>> = self.time_zone.map(|zone| zone.parse().ok());
        rule("timeZone", zone == Some(None), "must be a time zone that IANA knows, such as Europe/Berlin");
        if !wrong.is_empty() {
            return Err(Failure::invalid(wrong));
        }
        let quiet = quiet.and_then(|(from, to)| Some(notification::QuietHours { from: from?, to: to? }));
        let weekly_digest = self.weekly_digest.unwrap_or(true);
        Ok((Preferences { mode: self.mode.into(), quiet, weekly_digest }, zone.flatten()))
    }
}
