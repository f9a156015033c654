//! What a caller asks of a barcode, checked: every field that breaks a rule is named, what no scanner would read is refused,
//! and only then is anything stored.

use chrono::{DateTime, Utc};
use domain::{
    barcode::{
        BAR_HEIGHT, Barcode, EXTERNAL_ID_MAX, Integration, Kind, NAME_MAX, PROVIDER_MAX, QUIET_MAX, Style, URL_MAX,
        normal, prove,
    },
    caller::Caller,
    colour::Colour,
    http_url::{HttpUrl, Rules},
    id::BarcodeId,
};
use poem_openapi::types::MaybeUndefined;
use sqlx::types::Json;

use super::shape::{BarcodeInput, BarcodeIntegrationInput, BarcodePatch, BarcodeStyleInput};
use crate::{
    app::App,
    failure::{Failure, FieldError},
    heavy,
    inkode::asked::{broken_folder, broken_tags, folder_id, given, length, opened, tag_ids},
    text::{self, Text},
};

/// A new barcode, checked.
pub(super) async fn new(app: &App, caller: &Caller, input: BarcodeInput) -> Result<Barcode, Failure> {
    let now = app.clock.now();
    let blank = Barcode {
        id: BarcodeId::new(now, &app.chance),
        org_id: caller.org_id,
        name: String::new(),
        kind: Kind::Code128,
        value: String::new(),
        style: Json(Style::default()),
        active: true,
        folder_id: None,
        tag_ids: vec![],
        integration: None,
        created_by: Some(caller.user_id),
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    let patch = BarcodePatch {
        r#type: Some(input.r#type),
        value: Some(input.value),
        name: input.name,
        style: given(input.style),
        active: input.active,
        folder_id: given(input.folder_id),
        tag_ids: input.tag_ids,
        integration: given(input.integration),
        archived: None,
    };
    changed(&blank, patch, now).await
}

/// `before` with a change, checked.
pub(super) async fn changed(before: &Barcode, patch: BarcodePatch, now: DateTime<Utc>) -> Result<Barcode, Failure> {
    let (kind, value) = symbol(before, &patch);
    let mut wrong = broken(&patch);
    wrong.extend(kind.as_ref().err().cloned());
    wrong.extend(value.as_ref().err().cloned());
    let (Ok(kind), Ok(value), true) = (kind, value, wrong.is_empty()) else { return Err(Failure::invalid(wrong)) };
    let mut barcode = Barcode { kind, value, updated_at: now, ..before.clone() };
    if let Some(name) = patch.name {
        barcode.name = name.into();
    }
    if let Some(style) = opened(patch.style) {
        barcode.style = Json(style.map_or_else(Style::default, |style| styled(&before.style, &style)));
    }
    barcode.active = patch.active.unwrap_or(barcode.active);
    barcode.folder_id = folder_id(patch.folder_id).unwrap_or(barcode.folder_id);
    if let Some(tags) = patch.tag_ids {
        barcode.tag_ids = tag_ids(&tags);
    }
    if let Some(asked) = opened(patch.integration) {
        barcode.integration = asked.map(|asked| bound(before, asked, now));
    }
    if let Some(archived) = patch.archived {
        barcode.archived_at = archived.then(|| barcode.archived_at.unwrap_or(now));
    }
    let drawn = |of: &Barcode| (of.kind, of.value.clone(), of.style.0.clone());
    if drawn(&barcode) != drawn(before) {
        let (kind, value, style) = drawn(&barcode);
        heavy::run(move || prove(kind, &value, &style)).await??;
    }
    Ok(barcode)
}

type Checked<T> = Result<T, FieldError>;

/// Kind and value after a change.
fn symbol(before: &Barcode, patch: &BarcodePatch) -> (Checked<Kind>, Checked<String>) {
    let kind = match &patch.r#type {
        None => Ok(before.kind),
        Some(name) => name.parse::<Kind>().map_err(|rule| FieldError::new("type", rule.to_string())),
    };
    let value = match (&kind, &patch.value) {
        (Ok(kind), Some(text)) => normal(*kind, text).map_err(|rule| FieldError::new("value", rule.to_string())),
        // The same text may mean something else as another kind: only what is whole in both stays.
        (Ok(kind), None) if normal(*kind, &before.value).is_ok_and(|value| value == before.value) => {
            Ok(before.value.clone())
        }
        (Ok(_), None) => Err(FieldError::new("value", "must be given with this type: the present one is none of it")),
        (Err(_), _) => Ok(String::new()),
    };
    (kind, value)
}

/// The rules that the other fields break.
fn broken(patch: &BarcodePatch) -> Vec<FieldError> {
    let mut wrong = vec![];
    let mut rule = |field: &str, broken: Option<String>| {
        wrong.extend(broken.map(|message| FieldError::new(field, message)));
    };
    rule("name", patch.name.as_deref().and_then(|text| length(text, 0, NAME_MAX)));
    if let MaybeUndefined::Value(style) = &patch.style {
        let colour = |text: &MaybeUndefined<Text<text::Colour>>| match text {
            MaybeUndefined::Value(text) => text.parse::<Colour>().err().map(|rule| rule.to_string()),
            _ => None,
        };
        let within = |number: MaybeUndefined<u32>, least: u32, most: u32| match number {
            MaybeUndefined::Value(n) if !(least..=most).contains(&n) => Some(format!("must be from {least} to {most}")),
            _ => None,
        };
        rule("style.foreground", colour(&style.foreground));
        rule("style.background", colour(&style.background));
        rule("style.quietZone", within(style.quiet_zone, 0, QUIET_MAX));
        rule("style.barHeight", within(style.bar_height, BAR_HEIGHT.0, BAR_HEIGHT.1));
    }
    rule("folderId", broken_folder(&patch.folder_id));
    if let MaybeUndefined::Value(asked) = &patch.integration {
        rule("integration.provider", provider(&asked.provider));
        rule("integration.externalId", length(&asked.external_id, 1, EXTERNAL_ID_MAX));
        rule("integration.url", asked.url.as_deref().and_then(address));
    }
    wrong.extend(patch.tag_ids.as_deref().map(broken_tags).unwrap_or_default());
    wrong
}

fn provider(text: &str) -> Option<String> {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = text.len() <= PROVIDER_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b".-_".contains(&b));
    (!fits).then(|| {
        format!("must be 1 to {PROVIDER_MAX} lower-case letters, digits, dots, hyphens or underscores, and begin with a letter or digit")
    })
}

fn address(text: &str) -> Option<String> {
    let plain = text.split('#').next().unwrap_or(text);
    if text.chars().count() > URL_MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some(format!("must be at most {URL_MAX} characters without white space"));
    }
    HttpUrl::parse(plain, Rules { allow_http: true, max_chars: URL_MAX }).err().map(|rule| rule.to_string())
}

/// `before` with a change; what is null becomes what it is by itself.
fn styled(before: &Style, asked: &BarcodeStyleInput) -> Style {
    let plain = Style::default();
    let colour = |asked: &MaybeUndefined<Text<text::Colour>>, before: Colour, plain: Colour| match asked {
        MaybeUndefined::Undefined => before,
        MaybeUndefined::Null => plain,
        MaybeUndefined::Value(text) => text.parse().unwrap_or(before),
    };
    Style {
        foreground: colour(&asked.foreground, before.foreground, plain.foreground),
        background: colour(&asked.background, before.background, plain.background),
        quiet_zone: opened(asked.quiet_zone).unwrap_or(before.quiet_zone),
        bar_height: opened(asked.bar_height).map_or(before.bar_height, |asked| asked.unwrap_or(plain.bar_height)),
    }
}

/// What a barcode stands for; the same thing as before since the same time.
fn bound(before: &Barcode, asked: BarcodeIntegrationInput, now: DateTime<Utc>) -> Integration {
    let (provider, external_id): (String, String) = (asked.provider.into(), asked.external_id.into());
    let same = before.integration.as_ref().filter(|b| b.provider == provider && b.external_id == external_id);
    let at = same.map_or(now, |same| same.at);
    Integration { provider, external_id, url: asked.url.map(Into::into), at }
}
