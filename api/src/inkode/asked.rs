//! What links, codes and barcodes are asked alike: the workspace, a search, a folder, tags, texts of a length, a code and its
//! domain, a password, and from when to when they last.

use chrono::{DateTime, Utc};
use domain::{
    caller::Caller,
    code::Code,
    downgrade,
    id::{LabelId, OrgId},
    label::{self, Kind},
    link::{TAGS_MAX, batch::DOMAIN_RULE},
    org,
    own_domain::read_name,
    password::{self, PASSWORD_MAX},
    plan::Quota,
    quota,
};
use poem_openapi::types::MaybeUndefined;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    app::App,
    failure::{Failure, FieldError},
    heavy,
    text::{self, Text},
};

/// The longest text that is searched for, in characters.
const SEARCH_MAX: usize = 200;
const FOLDER_RULE: &str = "must be the id of a folder";
/// How many codes are tried where nobody chose one.
pub(super) const CODE_TRIES: usize = 8;

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
pub(crate) fn search(text: String) -> Result<String, Failure> {
    match length(&text, 0, SEARCH_MAX) {
        None => Ok(text),
        Some(rule) => Err(Failure::field("search", rule)),
    }
}

/// Reads a folder's id.
pub(crate) fn folder(id: &str) -> Result<LabelId, Failure> {
    Kind::Folder.read(id).map_err(|_| Failure::field("folderId", FOLDER_RULE))
}

/// Reads a tag's id.
pub(super) fn tag(field: &str, id: &str) -> Result<LabelId, Failure> {
    Kind::Tag.read(id).map_err(|_| Failure::field(field, "must be the id of a tag"))
}

/// The rules that the tags of a thing break.
pub(super) fn broken_tags(tags: &[Text<text::TagId>]) -> Vec<FieldError> {
    let mut wrong = vec![];
    if tags.len() > TAGS_MAX {
        wrong.push(FieldError::new("tagIds", format!("must be at most {TAGS_MAX}")));
    }
    for (n, tag) in tags.iter().enumerate() {
        let broken = match Kind::Tag.read(tag) {
            Err(_) => "must be the id of a tag",
            Ok(_) if tags[..n].contains(tag) => "must not be given twice",
            Ok(_) => continue,
        };
        wrong.push(FieldError::new(format!("tagIds[{n}]"), broken));
    }
    wrong
}

/// The ids of tags, as rows have them.
pub(super) fn tag_ids(tags: &[Text<text::TagId>]) -> Vec<Uuid> {
    tags.iter().filter_map(|tag| Some(Kind::Tag.read(tag).ok()?.0)).collect()
}

/// The rule of a text's length, if it breaks it. Postgres keeps every character but U+0000.
pub(crate) fn length(text: &str, least: usize, most: usize) -> Option<String> {
    let fits = (least..=most).contains(&text.chars().count()) && !text.contains('\0');
    let rule = if least == 0 {
        format!("must be at most {most} characters")
    } else {
        format!("must be {least} to {most} characters")
    };
    (!fits).then_some(rule)
}

/// The rule that a code breaks, if somebody chose one.
pub(super) fn broken_code(asked: Option<&str>) -> Option<String> {
    Some(asked?.parse::<Code>().err()?.to_string())
}

/// The rule that the domain of a code breaks.
pub(super) fn broken_domain(asked: &MaybeUndefined<Text<text::DomainName>>) -> Option<String> {
    let wrong = read_name(asked.value()?).is_none();
    wrong.then(|| DOMAIN_RULE.into())
}

/// The rule that a password breaks.
pub(super) fn broken_password(asked: &MaybeUndefined<Text<text::Password>>) -> Option<String> {
    length(asked.value()?, 1, PASSWORD_MAX)
}

/// The rule that a number of visits breaks, after which a thing ends.
pub(super) fn broken_most(asked: &MaybeUndefined<i64>) -> Option<String> {
    (*asked.value()? < 1).then(|| "must be at least 1".into())
}

/// The rule that a folder's id breaks.
pub(super) fn broken_folder(asked: &MaybeUndefined<Text<text::FolderId>>) -> Option<String> {
    folder(asked.value()?).is_err().then(|| FOLDER_RULE.into())
}

/// The domain of a code, as rows have it: empty for the installation's own.
pub(super) fn domain_name(asked: MaybeUndefined<Text<text::DomainName>>) -> Option<String> {
    opened(asked).map(|name| name.and_then(|name| read_name(&name)).unwrap_or_default())
}

/// A folder's id, as rows have it.
pub(super) fn folder_id(asked: MaybeUndefined<Text<text::FolderId>>) -> Option<Option<LabelId>> {
    opened(asked).map(|id| id.and_then(|id| folder(&id).ok()))
}

/// The hash of a password.
pub(super) async fn password_hash(
    app: &App,
    asked: MaybeUndefined<Text<text::Password>>,
) -> Result<Option<Option<String>>, Failure> {
    let password = match opened(asked) {
        Some(Some(password)) => password,
        Some(None) => return Ok(Some(None)),
        None => return Ok(None),
    };
    let chance = app.chance.clone();
    Ok(Some(Some(heavy::run(move || password::hash(&password, &chance)).await?)))
}

/// Refuses a thing whose time is over before it begins.
pub(super) fn check_times(starts_at: Option<DateTime<Utc>>, expires_at: Option<DateTime<Utc>>) -> Result<(), Failure> {
    match (starts_at, expires_at) {
        (Some(starts), Some(expires)) if starts >= expires => {
            Err(Failure::field("expiresAt", "must be after startsAt"))
        }
        _ => Ok(()),
    }
}

/// What a change says of a thing that can be absent: nothing, that it goes, or what it is.
pub(super) fn opened<T>(value: MaybeUndefined<T>) -> Option<Option<T>> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

/// What a new thing says of the same, where null says as much as nothing.
pub(super) fn given<T>(value: Option<T>) -> MaybeUndefined<T> {
    value.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value)
}

/// Refuses one more thing where the plan has no room for it; `count` tells how many are in use. The organisation's row is
/// held until the transaction ends.
pub(super) async fn check_room(
    conn: &mut PgConnection,
    caller: &Caller,
    quota: Quota,
    count: impl AsyncFnOnce(&mut PgConnection, OrgId) -> Result<i64, sqlx::Error>,
) -> Result<(), Failure> {
    if let Some(most) = quota::lock(conn, caller.org_id, caller.plan, quota).await? {
        quota::room(quota, most, count(conn, caller.org_id).await?, 1)?;
    }
    Ok(())
}

/// Refuses a change of a thing that is beyond the plan.
pub(crate) async fn check_edge(
    conn: &mut PgConnection,
    caller: &Caller,
    quota: Quota,
    id: Uuid,
) -> Result<(), Failure> {
    match downgrade::edge(conn, caller.org_id, quota).await? {
        Some(edge) => Ok(edge.check(id)?),
        None => Ok(()),
    }
}

/// The folder and the tags of a thing.
pub(super) type Labels<'a> = (Option<LabelId>, &'a [Uuid]);

/// Refuses a folder or a tag that is new to a thing and is none of the organisation's, or put away.
pub(super) async fn check_labels(
    conn: &mut PgConnection,
    org_id: OrgId,
    (folder, tags): Labels<'_>,
    (folder_before, tags_before): Labels<'_>,
) -> Result<(), Failure> {
    let mut wrong = vec![];
    if let Some(fresh) = folder.filter(|_| folder != folder_before)
        && label::lock_known(conn, org_id, Kind::Folder, &[fresh]).await?.is_empty()
    {
        wrong.push(FieldError::new("folderId", Kind::Folder.rule()));
    }
    let fresh: Vec<LabelId> = tags.iter().filter(|id| !tags_before.contains(id)).map(|id| LabelId(*id)).collect();
    if !fresh.is_empty() {
        let known = label::lock_known(conn, org_id, Kind::Tag, &fresh).await?;
        let unknown = |id: &Uuid| fresh.contains(&LabelId(*id)) && !known.contains(&LabelId(*id));
        let places = tags.iter().enumerate().filter(|(_, id)| unknown(id));
        wrong.extend(places.map(|(n, _)| FieldError::new(format!("tagIds[{n}]"), Kind::Tag.rule())));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::invalid(wrong)) }
}
