//! What is asked of a QR code, read and checked against the rules of its fields, and the code that comes of it.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use domain::{
    id::{LinkId, QrId},
    qr::{
        self, NAME_MAX, QrCode,
        content::Content,
        logo::{self, BYTES_MAX, InvalidLogo},
        style::{LOGO_PERCENT, QUIET_ZONE, Style},
    },
};
use poem_openapi::types::MaybeUndefined;
use sqlx::{PgConnection, types::Json};

use super::{
    draft::{Draft, proven},
    shape::QrCodePatch,
    style::QrStyleInput,
};
use crate::{
    app::App,
    failure::{Failure, FieldError},
    heavy,
    inkode::asked::{
        broken_code, broken_domain, broken_folder, broken_most, broken_password, broken_tags, check_times, domain_name,
        folder_id, length, opened, password_hash, tag_ids,
    },
};

/// A change of a code, checked and proven as the code was when it was asked for: whoever holds the code then need not wait
/// for the proof, unless the code is another by now.
pub(super) struct Update {
    asked: Asked,
    row: QrCode,
    draft: Draft,
}

impl Update {
    /// Checks a change of `row`.
    pub(super) async fn new(app: &App, row: QrCode, patch: QrCodePatch) -> Result<Self, Failure> {
        let asked = Asked::read(app, patch, row.is_dynamic()).await?;
        let draft = asked.clone().change(&row, app.clock.now())?;
        if looks_other(&draft, &row) {
            let logo = logo_of(&mut *app.store.pool().acquire().await?, &draft, &row).await?;
            proven(app, &draft.code, logo).await?;
        }
        Ok(Self { asked, row, draft })
    }

    /// Which code it is of.
    pub(super) fn id(&self) -> QrId {
        self.row.id
    }

    /// What it asks for.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The change of the code as it is under the lock.
    pub(super) async fn apply(self, app: &App, conn: &mut PgConnection, before: &QrCode) -> Result<Draft, Failure> {
        if *before == self.row {
            return Ok(self.draft);
        }
        let draft = self.asked.change(before, app.clock.now())?;
        if looks_other(&draft, before) {
            let logo = logo_of(conn, &draft, before).await?;
            proven(app, &draft.code, logo).await?;
        }
        Ok(draft)
    }
}

/// What is asked of a code, checked as far as it can be without the code.
#[derive(Clone)]
pub(super) struct Asked {
    name: Option<String>,
    content: Option<Option<Content>>,
    domain: Option<String>,
    short_code: Option<String>,
    link_id: Option<Option<LinkId>>,
    style: QrStyleInput,
    logo: Option<Option<Vec<u8>>>,
    password_hash: Option<Option<String>>,
    active: Option<bool>,
    starts_at: Option<Option<DateTime<Utc>>>,
    expires_at: Option<Option<DateTime<Utc>>>,
    max_scans: Option<Option<i64>>,
    folder_id: Option<Option<domain::id::LabelId>>,
    tag_ids: Option<Vec<uuid::Uuid>>,
    archived: Option<bool>,
}

impl Asked {
    /// Checks a change of a code that leads through a code, or that does not.
    pub(super) async fn read(app: &App, mut patch: QrCodePatch, dynamic: bool) -> Result<Self, Failure> {
        let mut wrong = broken(&patch);
        if !dynamic {
            wrong.extend(only_dynamic(&patch));
        }
        let (content, broken) = content(opened(std::mem::take(&mut patch.content)), dynamic);
        wrong.extend(broken);
        let mut style = patch.style.unwrap_or_default();
        let logo = match opened(std::mem::take(&mut style.logo)) {
            Some(Some(data)) => kept(&data).await?.map_err(|rule| wrong.push(FieldError::new("style.logo", rule))).ok(),
            Some(None) => Some(None),
            None => None,
        };
        if !wrong.is_empty() {
            return Err(Failure::invalid(wrong));
        }
        Ok(Self {
            name: patch.name.map(Into::into),
            content,
            domain: domain_name(patch.domain),
            short_code: patch.short_code.map(Into::into),
            link_id: opened(patch.link_id).map(|id| id.and_then(|id| id.parse().ok())),
            style,
            logo,
            password_hash: password_hash(app, patch.password).await?,
            active: patch.active,
            starts_at: opened(patch.starts_at),
            expires_at: opened(patch.expires_at),
            max_scans: opened(patch.max_scans),
            folder_id: folder_id(patch.folder_id),
            tag_ids: patch.tag_ids.as_deref().map(tag_ids),
            archived: patch.archived,
        })
    }

    /// The link that the code is to lead through, where it is another now.
    pub(super) fn link_id(&self) -> Option<LinkId> {
        self.link_id.flatten()
    }

    /// The short code that it is to have, where somebody chose another.
    pub(super) fn short_code(&self) -> Option<&str> {
        self.short_code.as_deref()
    }

    /// Whether it may be taken back from where it was put away.
    pub(super) fn restores(&self) -> bool {
        self.archived == Some(false)
    }

    /// `before` with the change; checks what the code as a whole must keep to.
    pub(super) fn change(self, before: &QrCode, now: DateTime<Utc>) -> Result<Draft, Failure> {
        let mut code = before.clone();
        code.name = self.name.unwrap_or(code.name);
        if let Some(content) = self.content {
            // The same content again keeps its text, and so its picture.
            let same = content.as_ref() == before.content.as_deref();
            if let (Some(content), false, Some(_)) = (&content, same, &code.payload) {
                code.payload = Some(content.text(now.timestamp_millis()));
            }
            code.content = content.map(Json);
        }
        if code.is_dynamic() {
            code.domain = self.domain.or(code.domain);
        }
        code.short_code = self.short_code.or(code.short_code);
        code.link_id = self.link_id.unwrap_or(code.link_id);
        code.style = Json(styled(*before.style, &self.style));
        if let Some(logo) = &self.logo {
            code.has_logo = logo.is_some();
        }
        if let Some(hash) = self.password_hash {
            code.password_hash = hash;
            code.password_version += 1;
        }
        code.active = self.active.unwrap_or(code.active);
        code.starts_at = self.starts_at.unwrap_or(code.starts_at);
        code.expires_at = self.expires_at.unwrap_or(code.expires_at);
        code.max_scans = self.max_scans.unwrap_or(code.max_scans);
        code.folder_id = self.folder_id.unwrap_or(code.folder_id);
        code.tag_ids = self.tag_ids.unwrap_or(code.tag_ids);
        if let Some(archived) = self.archived {
            code.archived_at = archived.then(|| code.archived_at.unwrap_or(now));
        }
        code.updated_at = now;
        if code.content.is_none() && code.link_id.is_none() {
            let rule = if code.is_dynamic() { "must have a URL, or linkId a link" } else { "is required" };
            return Err(Failure::field("content", rule));
        }
        check_times(code.starts_at, code.expires_at)?;
        Ok(Draft { code, logo: self.logo })
    }
}

/// The rules that a change breaks by itself, but for its content and logo.
fn broken(patch: &QrCodePatch) -> Vec<FieldError> {
    let mut wrong = vec![];
    let mut rule = |field: &str, broken: Option<String>| {
        wrong.extend(broken.map(|message| FieldError::new(field, message)));
    };
    rule("name", patch.name.as_deref().and_then(|text| length(text, 0, NAME_MAX)));
    rule("domain", broken_domain(&patch.domain));
    rule("shortCode", broken_code(patch.short_code.as_deref()));
    if let MaybeUndefined::Value(id) = &patch.link_id {
        rule("linkId", id.parse::<LinkId>().is_err().then(|| "must be the id of a link".into()));
    }
    if let Some(style) = &patch.style {
        for (field, text) in [("style.foreground", &style.foreground), ("style.background", &style.background)] {
            let broken = text.as_deref().and_then(|text| text.parse::<domain::colour::Colour>().err());
            rule(field, broken.map(|rule| rule.to_string()));
        }
        let within = |n: Option<u8>, range: std::ops::RangeInclusive<u8>| {
            let wrong = n.is_some_and(|n| !range.contains(&n));
            wrong.then(|| format!("must be from {} to {}", range.start(), range.end()))
        };
        rule("style.quietZone", within(style.quiet_zone, QUIET_ZONE));
        rule("style.logoPercent", within(style.logo_percent, LOGO_PERCENT));
    }
    rule("password", broken_password(&patch.password));
    rule("maxScans", broken_most(&patch.max_scans));
    rule("folderId", broken_folder(&patch.folder_id));
    wrong.extend(patch.tag_ids.as_deref().map(broken_tags).unwrap_or_default());
    wrong
}

/// What is asked of a static code that only a dynamic one has: whoever has its picture has all of it.
fn only_dynamic(patch: &QrCodePatch) -> impl Iterator<Item = FieldError> {
    let asked = [
        ("domain", patch.domain.is_value()),
        ("shortCode", patch.short_code.is_some()),
        ("linkId", patch.link_id.is_value()),
        ("password", patch.password.is_value()),
        ("active", patch.active == Some(false)),
        ("startsAt", patch.starts_at.is_value()),
        ("expiresAt", patch.expires_at.is_value()),
        ("maxScans", patch.max_scans.is_value()),
    ];
    let asked = asked.into_iter().filter(|(_, asked)| *asked);
    asked.map(|(field, _)| FieldError::new(field, "needs a dynamic code: a static one leads through none of ours"))
}

/// What is said of the content, and the rules that it breaks.
#[expect(clippy::option_option, reason = "a change says nothing, nothing more, or something")]
fn content(
    asked: Option<Option<super::content::QrContent>>,
    dynamic: bool,
) -> (Option<Option<Content>>, Vec<FieldError>) {
    let Some(asked) = asked else { return (None, vec![]) };
    let Some(asked) = asked else { return (Some(None), vec![]) };
    let wrong = |rule: &str| vec![FieldError::new("content", rule)];
    match asked.read() {
        None => (None, wrong("must have exactly one member")),
        Some(content) if dynamic && !matches!(content, Content::Url(_)) => {
            (None, wrong("of a dynamic code must be a url"))
        }
        Some(content) => {
            let broken = content.broken().into_iter();
            let broken = broken.map(|b| FieldError::new(format!("content.{}", b.field), b.rule)).collect();
            (Some(Some(content)), broken)
        }
    }
}

/// A logo's file out of its base64, made small.
async fn kept(data: &str) -> Result<Result<Option<Vec<u8>>, String>, Failure> {
    let plain = match data.split_once(',') {
        Some((kind, plain)) if ["data:image/png;base64", "data:image/jpeg;base64"].contains(&kind) => plain,
        _ => data,
    };
    if plain.len() > BYTES_MAX.div_ceil(3) * 4 {
        return Ok(Err(InvalidLogo::TooLarge.to_string()));
    }
    let Ok(file) = STANDARD.decode(plain) else { return Ok(Err("must be base64".into())) };
    let kept = heavy::run(move || logo::kept(&file)).await?;
    Ok(kept.map(Some).map_err(|rule| rule.to_string()))
}

fn styled(before: Style, asked: &QrStyleInput) -> Style {
    let colour = |text: &Option<crate::text::Text<crate::text::Colour>>| text.as_deref().and_then(|t| t.parse().ok());
    Style {
        foreground: colour(&asked.foreground).unwrap_or(before.foreground),
        background: colour(&asked.background).unwrap_or(before.background),
        quiet_zone: asked.quiet_zone.unwrap_or(before.quiet_zone),
        error_correction: asked.error_correction.map_or(before.error_correction, Into::into),
        shape: asked.shape.map_or(before.shape, Into::into),
        logo_percent: asked.logo_percent.unwrap_or(before.logo_percent),
    }
}

/// Whether the picture of `code` is another than that of `before`.
fn looks_other(draft: &Draft, before: &QrCode) -> bool {
    let code = &draft.code;
    draft.logo.is_some()
        || code.style != before.style
        || code.payload != before.payload
        || (&code.domain, &code.short_code) != (&before.domain, &before.short_code)
}

/// The logo that `draft` has: a new one, or the one of `before`.
async fn logo_of(conn: &mut PgConnection, draft: &Draft, before: &QrCode) -> Result<Option<Vec<u8>>, Failure> {
    match &draft.logo {
        Some(logo) => Ok(logo.clone()),
        None if before.has_logo => Ok(qr::logo(conn, before.org_id, before.id).await?),
        None => Ok(None),
    }
}
