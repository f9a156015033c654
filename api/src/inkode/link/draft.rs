//! What a caller asks of a link, checked: every field that breaks a rule is named, and only then is anything stored.

use chrono::{DateTime, Utc};
use domain::{
    caller::Caller,
    code::{self, Code, Target},
    http_url::{HttpUrl, Rules},
    id::{LabelId, LinkId, OrgId},
    label::{self, Kind},
    link::{DESTINATION_MAX, Link, TAGS_MAX, TITLE_MAX},
    org,
    password::{self, PASSWORD_MAX},
    utm::{self, Utm},
};
use poem_openapi::types::MaybeUndefined;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::shape::{ShortLinkInput, ShortLinkPatch, UtmFields};
use crate::{
    app::App,
    failure::{Failure, FieldError},
    text::{self, Text},
};

/// The longest text that is searched for, in characters.
const SEARCH_MAX: usize = 200;
/// How many codes are tried where nobody chose one.
const TRIES: usize = 8;

/// A session's organisation is the only one it sees. It may be named by our id or by the session issuer's.
pub(super) async fn check_org(app: &App, caller: &Caller, asked: Option<&str>) -> Result<(), Failure> {
    let Some(asked) = asked else { return Ok(()) };
    match asked.parse::<OrgId>() {
        Ok(id) if id == caller.org_id => Ok(()),
        Ok(_) => Err(Failure::not_found("workspace of yours")),
        Err(_) => {
            let mut conn = app.store.pool().acquire().await?;
            let org = org::find(&mut conn, caller.org_id).await?;
            let named = org.is_some_and(|org| org.external_id.as_deref() == Some(asked));
            if named { Ok(()) } else { Err(Failure::field("orgId", "must be the id of the session's workspace")) }
        }
    }
}

/// A text that a list is searched for.
pub(super) fn search(text: String) -> Result<String, Failure> {
    match length(&text, 0, SEARCH_MAX) {
        None => Ok(text),
        Some(rule) => Err(Failure::field("search", rule)),
    }
}

/// Reads a folder's id.
pub(super) fn folder(id: &str) -> Result<LabelId, Failure> {
    Kind::Folder.read(id).map_err(|_| Failure::field("folderId", "must be the id of a folder"))
}

/// Reads a tag's id.
pub(super) fn tag(field: &str, id: &str) -> Result<LabelId, Failure> {
    Kind::Tag.read(id).map_err(|_| Failure::field(field, "must be the id of a tag"))
}

/// A change, checked as far as it can be without the link.
pub(super) struct Change {
    destination: Option<String>,
    slug: Option<Code>,
    title: Option<String>,
    utm: Option<Option<Utm>>,
    password_hash: Option<Option<String>>,
    active: Option<bool>,
    starts_at: Option<Option<DateTime<Utc>>>,
    expires_at: Option<Option<DateTime<Utc>>>,
    max_visits: Option<Option<i64>>,
    folder_id: Option<Option<LabelId>>,
    tag_ids: Option<Vec<Uuid>>,
    archived: Option<bool>,
}

/// Checks a new link; it has its id and no code yet where none was chosen.
pub(super) async fn new(app: &App, caller: &Caller, input: ShortLinkInput) -> Result<Link, Failure> {
    let now = app.clock.now();
    let given = |value: Option<_>| value.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value);
    let change = change(
        app,
        ShortLinkPatch {
            destination: Some(input.destination),
            slug: input.slug,
            title: input.title,
            utm: input.utm.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value),
            password: input.password.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value),
            active: input.active,
            starts_at: given(input.starts_at),
            expires_at: given(input.expires_at),
            max_visits: input.max_visits.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value),
            folder_id: input.folder_id.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value),
            tag_ids: input.tag_ids,
            archived: None,
        },
    )
    .await?;
    let mut link = Link {
        id: LinkId::new(now, &app.chance),
        org_id: caller.org_id,
        domain: String::new(),
        slug: String::new(),
        destination: String::new(),
        title: String::new(),
        utm: None,
        password_hash: None,
        password_version: 0,
        active: true,
        starts_at: None,
        expires_at: None,
        max_visits: None,
        folder_id: None,
        tag_ids: vec![],
        created_by: Some(caller.user_id),
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    change.apply(&mut link, now)?;
    Ok(link)
}

/// Checks a change.
pub(super) async fn change(app: &App, patch: ShortLinkPatch) -> Result<Change, Failure> {
    let wrong = broken(&patch);
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong));
    }
    let tags = |tags: Vec<Text<text::TagId>>| tags.iter().filter_map(|tag| Some(Kind::Tag.read(tag).ok()?.0)).collect();
    Ok(Change {
        destination: patch.destination.map(Into::into),
        slug: patch.slug.and_then(|slug| slug.parse().ok()),
        title: patch.title.map(Into::into),
        utm: opened(patch.utm).map(|utm| utm.map(Utm::from)),
        password_hash: match opened(patch.password) {
            Some(Some(password)) => Some(Some(hash(app, password.into()).await?)),
            Some(None) => Some(None),
            None => None,
        },
        active: patch.active,
        starts_at: opened(patch.starts_at),
        expires_at: opened(patch.expires_at),
        max_visits: opened(patch.max_visits),
        folder_id: opened(patch.folder_id).map(|id| id.and_then(|id| Kind::Folder.read(&id).ok())),
        tag_ids: patch.tag_ids.map(tags),
        archived: patch.archived,
    })
}

/// The rules that a change breaks by itself.
fn broken(patch: &ShortLinkPatch) -> Vec<FieldError> {
    let mut wrong = vec![];
    let mut rule = |field: &str, broken: Option<String>| {
        wrong.extend(broken.map(|message| FieldError::new(field, message)));
    };
    rule("destination", patch.destination.as_deref().and_then(|text| destination(text).err()));
    rule("slug", patch.slug.as_deref().and_then(|text| Some(text.parse::<Code>().err()?.to_string())));
    rule("title", patch.title.as_deref().and_then(|text| length(text, 0, TITLE_MAX)));
    if let MaybeUndefined::Value(fields) = &patch.utm {
        for (name, value) in named(fields) {
            rule(&format!("utm.{name}"), value.and_then(|text| length(text, 0, utm::VALUE_MAX)));
        }
    }
    if let MaybeUndefined::Value(password) = &patch.password {
        rule("password", length(password, 1, PASSWORD_MAX));
    }
    let none = matches!(patch.max_visits, MaybeUndefined::Value(most) if most < 1);
    rule("maxVisits", none.then(|| "must be at least 1".into()));
    if let MaybeUndefined::Value(id) = &patch.folder_id {
        rule("folderId", folder(id).err().map(|_| "must be the id of a folder".into()));
    }
    if let Some(tags) = &patch.tag_ids {
        rule("tagIds", (tags.len() > TAGS_MAX).then(|| format!("must be at most {TAGS_MAX}")));
        for (n, tag) in tags.iter().enumerate() {
            let broken = match Kind::Tag.read(tag) {
                Err(_) => Some("must be the id of a tag".into()),
                Ok(_) if tags[..n].contains(tag) => Some("must not be given twice".into()),
                Ok(_) => None,
            };
            rule(&format!("tagIds[{n}]"), broken);
        }
    }
    wrong
}

/// The rule of a text's length, if it breaks it. Postgres keeps every character but U+0000.
fn length(text: &str, least: usize, most: usize) -> Option<String> {
    let fits = (least..=most).contains(&text.chars().count()) && !text.contains('\0');
    let rule = if least == 0 {
        format!("must be at most {most} characters")
    } else {
        format!("must be {least} to {most} characters")
    };
    (!fits).then_some(rule)
}

/// Its work would hold up every other request of the thread.
async fn hash(app: &App, password: String) -> Result<String, Failure> {
    let chance = app.chance.clone();
    tokio::task::spawn_blocking(move || password::hash(&password, &chance)).await.map_err(Failure::internal)
}

fn opened<T>(value: MaybeUndefined<T>) -> Option<Option<T>> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

fn destination(text: &str) -> Result<(), String> {
    // A fragment is the browser's own affair, and names a place like anything else.
    let plain = text.split('#').next().unwrap_or(text);
    if text.chars().count() > DESTINATION_MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("must be at most {DESTINATION_MAX} characters without white space"));
    }
    HttpUrl::parse(plain, Rules { allow_http: true, max_chars: DESTINATION_MAX }).map(drop).map_err(|e| e.to_string())
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
    pub(super) fn apply(self, link: &mut Link, now: DateTime<Utc>) -> Result<(), Failure> {
        if let Some(destination) = self.destination {
            link.destination = destination;
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
        if let Some(archived) = self.archived {
            link.archived_at = archived.then(|| link.archived_at.unwrap_or(now));
        }
        link.updated_at = now;
        match (link.starts_at, link.expires_at) {
            (Some(starts), Some(expires)) if starts >= expires => {
                Err(Failure::field("expiresAt", "must be after startsAt"))
            }
            _ => Ok(()),
        }
    }
}

/// Stores a new link with its code and tells the processes that redirect.
pub(super) async fn store(app: &App, conn: &mut PgConnection, mut link: Link) -> Result<Link, Failure> {
    check_labels(conn, &link, &Link { folder_id: None, tag_ids: vec![], ..link.clone() }).await?;
    if link.slug.is_empty() {
        link.slug = free_code(app, conn, &link).await?;
    } else {
        take_code(conn, &link).await?;
    }
    domain::link::insert(conn, &link).await?;
    domain::route::tell_changed(conn, &link.domain, &link.slug).await?;
    Ok(link)
}

/// Takes the code that a link has.
pub(super) async fn take_code(conn: &mut PgConnection, link: &Link) -> Result<(), Failure> {
    let code = link.slug.parse().map_err(Failure::internal)?;
    match code::take(conn, &link.domain, &code, link.org_id, Target::Link(link.id)).await? {
        true => Ok(()),
        false => Err(Failure::conflict("slug_taken", format!("The slug {} is taken.", link.slug))),
    }
}

async fn free_code(app: &App, conn: &mut PgConnection, link: &Link) -> Result<String, Failure> {
    for _ in 0..TRIES {
        let code = Code::random(&app.chance);
        if code::take(conn, &link.domain, &code, link.org_id, Target::Link(link.id)).await? {
            return Ok(code.as_str().to_owned());
        }
    }
    Err(Failure::internal("no free code was found"))
}

/// Refuses a folder or a tag that is new to the link and is none of the organisation's, or put away.
pub(super) async fn check_labels(conn: &mut PgConnection, link: &Link, before: &Link) -> Result<(), Failure> {
    let mut wrong = vec![];
    if let Some(folder) = link.folder_id.filter(|_| link.folder_id != before.folder_id)
        && label::lock_known(conn, link.org_id, Kind::Folder, &[folder]).await?.is_empty()
    {
        wrong.push(FieldError::new("folderId", "must be a folder of yours that is not archived"));
    }
    let fresh: Vec<LabelId> =
        link.tag_ids.iter().filter(|id| !before.tag_ids.contains(id)).map(|id| LabelId(*id)).collect();
    if !fresh.is_empty() {
        let known = label::lock_known(conn, link.org_id, Kind::Tag, &fresh).await?;
        let unknown = link.tag_ids.iter().enumerate().filter(|(_, id)| {
            let id = LabelId(**id);
            fresh.contains(&id) && !known.contains(&id)
        });
        wrong.extend(
            unknown
                .map(|(n, _)| FieldError::new(format!("tagIds[{n}]"), "must be a tag of yours that is not archived")),
        );
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::invalid(wrong)) }
}
