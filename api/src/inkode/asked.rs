//! What links, codes and barcodes are asked alike: the workspace, a search, a folder, tags, texts of a length.

use domain::{
    caller::Caller,
    id::{LabelId, OrgId},
    label::{self, Kind},
    link::TAGS_MAX,
    org, password,
    plan::Quota,
    quota,
};
use poem::http::StatusCode;
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

/// The same where it stands in the path: an address of another workspace, or of none, leads nowhere.
pub(super) async fn check_org_in_path(app: &App, caller: &Caller, asked: &str) -> Result<(), Failure> {
    check_org(app, caller, Some(asked)).await.map_err(|failure| match failure.status {
        StatusCode::BAD_REQUEST => Failure::not_found("workspace of yours"),
        _ => failure,
    })
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
    Kind::Folder.read(id).map_err(|_| Failure::field("folderId", "must be the id of a folder"))
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

/// The hash of a password.
pub(super) async fn hash(app: &App, password: String) -> Result<String, Failure> {
    let chance = app.chance.clone();
    heavy::run(move || password::hash(&password, &chance)).await
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
        wrong.push(FieldError::new("folderId", "must be a folder of yours that is not archived"));
    }
    let fresh: Vec<LabelId> = tags.iter().filter(|id| !tags_before.contains(id)).map(|id| LabelId(*id)).collect();
    if !fresh.is_empty() {
        let known = label::lock_known(conn, org_id, Kind::Tag, &fresh).await?;
        let unknown = |id: &Uuid| fresh.contains(&LabelId(*id)) && !known.contains(&LabelId(*id));
        let places = tags.iter().enumerate().filter(|(_, id)| unknown(id));
        wrong.extend(
            places.map(|(n, _)| FieldError::new(format!("tagIds[{n}]"), "must be a tag of yours that is not archived")),
        );
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::invalid(wrong)) }
}
