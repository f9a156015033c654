//! What a caller asks of a link, checked: every field that breaks a rule is named, and only then is anything stored.

use chrono::{DateTime, Utc};
use domain::{
    caller::Caller,
    chance::Chance,
    code::Code,
    id::{LabelId, LinkId, QrId},
    link::{Link, TITLE_MAX, batch::CODE_RULE, check_destination},
    link_health::Health,
    routing::Routing,
    utm::{self, Utm},
};
use poem_openapi::types::MaybeUndefined;
use sqlx::types::Json;
use uuid::Uuid;

use super::shape::{ShortLinkInput, ShortLinkPatch, UtmFields};
use crate::{
    app::App,
    failure::{Failure, FieldError},
    inkode::asked::{
        broken_code, broken_domain, broken_folder, broken_most, broken_password, broken_tags, check_times, domain_name,
        folder_id, given, length, opened, password_hash, tag_ids,
    },
};

/// A change, checked as far as it can be without the link.
pub(super) struct Change {
    destination: Option<String>,
    domain: Option<String>,
    fallback_destination: Option<Option<String>>,
    health_check: Option<bool>,
    slug: Option<Code>,
    title: Option<String>,
    utm: Option<Option<Utm>>,
    routing: Option<Option<Routing>>,
    password_hash: Option<Option<String>>,
    active: Option<bool>,
    starts_at: Option<Option<DateTime<Utc>>>,
    expires_at: Option<Option<DateTime<Utc>>>,
    max_visits: Option<Option<i64>>,
    folder_id: Option<Option<LabelId>>,
    tag_ids: Option<Vec<Uuid>>,
    qr_code_id: Option<QrId>,
    archived: Option<bool>,
}

/// Checks a new link; it has its id and no code yet where none was chosen.
pub(super) async fn new(app: &App, caller: &Caller, input: ShortLinkInput) -> Result<Link, Failure> {
    let now = app.clock.now();
    let change = change(
        app,
        ShortLinkPatch {
            destination: Some(input.destination),
            domain: given(input.domain),
            fallback_destination: given(input.fallback_destination),
            health_check: input.health_check,
            slug: input.slug,
            title: input.title,
            utm: given(input.utm),
            routing: given(input.routing),
            password: given(input.password),
            active: input.active,
            starts_at: given(input.starts_at),
            expires_at: given(input.expires_at),
            max_visits: given(input.max_visits),
            folder_id: given(input.folder_id),
            tag_ids: input.tag_ids,
            qr_code_id: input.qr_code_id,
            archived: None,
        },
    )
    .await?;
    let mut link = Link::new(LinkId::new(now, &app.chance), caller.org_id, now);
    link.created_by = Some(caller.user_id);
    change.apply(&mut link, now, &app.chance)?;
    Ok(link)
}

/// Checks a change.
pub(super) async fn change(app: &App, mut patch: ShortLinkPatch) -> Result<Change, Failure> {
    let routing = opened(std::mem::take(&mut patch.routing)).map(|fields| fields.map(Routing::from));
    let mut wrong = broken(&patch);
    let of_routing = routing.iter().flatten().flat_map(Routing::broken);
    wrong.extend(of_routing.map(|(path, rule)| FieldError::new(format!("routing.{path}"), rule)));
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong));
    }
    Ok(Change {
        destination: patch.destination.map(Into::into),
        domain: domain_name(patch.domain),
        fallback_destination: opened(patch.fallback_destination).map(|text| text.map(Into::into)),
        health_check: patch.health_check,
        slug: patch.slug.and_then(|slug| slug.parse().ok()),
        title: patch.title.map(Into::into),
        utm: opened(patch.utm).map(|utm| utm.map(Utm::from)),
        routing,
        password_hash: password_hash(app, patch.password).await?,
        active: patch.active,
        starts_at: opened(patch.starts_at),
        expires_at: opened(patch.expires_at),
        max_visits: opened(patch.max_visits),
        folder_id: folder_id(patch.folder_id),
        tag_ids: patch.tag_ids.as_deref().map(tag_ids),
        qr_code_id: patch.qr_code_id.and_then(|id| id.parse().ok()),
        archived: patch.archived,
    })
}

/// The rules that a change breaks by itself.
fn broken(patch: &ShortLinkPatch) -> Vec<FieldError> {
    let mut wrong = vec![];
    let mut rule = |field: &str, broken: Option<String>| {
        wrong.extend(broken.map(|message| FieldError::new(field, message)));
    };
    rule("destination", patch.destination.as_deref().and_then(|text| check_destination(text).err()));
    rule("domain", broken_domain(&patch.domain));
    if let MaybeUndefined::Value(text) = &patch.fallback_destination {
        rule("fallbackDestination", check_destination(text).err());
    }
    rule("slug", broken_code(patch.slug.as_deref()));
    rule("title", patch.title.as_deref().and_then(|text| length(text, 0, TITLE_MAX)));
    if let MaybeUndefined::Value(fields) = &patch.utm {
        for (name, value) in named(fields) {
            rule(&format!("utm.{name}"), value.and_then(|text| length(text, 0, utm::VALUE_MAX)));
        }
    }
    rule("password", broken_password(&patch.password));
    rule("maxVisits", broken_most(&patch.max_visits));
    rule("folderId", broken_folder(&patch.folder_id));
    rule("qrCodeId", patch.qr_code_id.as_deref().and_then(|id| id.parse::<QrId>().err()).map(|_| CODE_RULE.into()));
    wrong.extend(patch.tag_ids.as_deref().map(broken_tags).unwrap_or_default());
    wrong
}

fn named(fields: &UtmFields) -> [(&'static str, Option<&str>); 5] {
    [
        ("source", fields.source.as_deref()),
        ("medium", fields.medium.as_deref()),
        ("campaign", fields.campaign.as_deref()),
        ("term", fields.term.as_deref()),
        ("content", fields.content.as_deref()),
    ]
}

impl Change {
    /// Makes the change in `link`; checks what the link as a whole must keep to.
    pub(super) fn apply(self, link: &mut Link, now: DateTime<Utc>, chance: &Chance) -> Result<(), Failure> {
        if let Some(destination) = self.destination {
            // What was known is known of the other one.
            if destination != link.destination {
                link.health = link.health.take().map(|_| Json(Health::unknown(now)));
            }
            link.destination = destination;
        }
        if let Some(domain) = self.domain {
            link.domain = domain;
        }
        link.fallback_destination = self.fallback_destination.unwrap_or(link.fallback_destination.take());
        if let Some(wanted) = self.health_check {
            link.health = wanted.then(|| link.health.take().unwrap_or_else(|| Json(Health::unknown(now))));
        }
        if let Some(slug) = self.slug {
            link.slug = slug.as_str().to_owned();
        }
        if let Some(title) = self.title {
            link.title = title;
        }
        if let Some(utm) = self.utm {
            link.utm = utm.filter(|utm| *utm != Utm::default()).map(Json);
        }
        if let Some(routing) = self.routing {
            let mut routing = routing.filter(|routing| !routing.is_empty());
            if let Some(routing) = &mut routing {
                routing.complete(link.routing.as_deref(), chance);
            }
            link.routing = routing.map(Json);
        }
        if let Some(hash) = self.password_hash {
            link.password_hash = hash;
            link.password_version += 1;
        }
        link.active = self.active.unwrap_or(link.active);
        link.starts_at = self.starts_at.unwrap_or(link.starts_at);
        link.expires_at = self.expires_at.unwrap_or(link.expires_at);
        link.max_visits = self.max_visits.unwrap_or(link.max_visits);
        link.folder_id = self.folder_id.unwrap_or(link.folder_id);
        if let Some(tags) = self.tag_ids {
            link.tag_ids = tags;
        }
        if let Some(id) = self.qr_code_id.filter(|id| !link.qr_ids.contains(&id.0)) {
            link.qr_ids.push(id.0);
        }
        if let Some(archived) = self.archived {
            link.archived_at = archived.then(|| link.archived_at.unwrap_or(now));
        }
        link.updated_at = now;
        check_times(link.starts_at, link.expires_at)
    }
}
