//! `/api/folders` and `/api/tags`: what people order their links and codes by.

use domain::{
    caller::Caller,
    id::LabelId,
    label::{self, Kind, Label as Row, NAME_MAX},
};
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use serde::Deserialize;

use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    idempotency::{Begun, Created, Once},
    input::Input,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
    timestamp::Timestamp,
};

/// A new folder or tag.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct LabelInput {
    /// What it is called: 1 to 100 characters, yours once per kind in upper or lower case; white space around it does not count.
    name: Text<text::LabelName>,
}

impl poem_openapi::types::Example for LabelInput {
    fn example() -> Self {
        Self { name: "Campaigns".into() }
    }
}

/// What changes in a folder or tag; what is not given stays.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct LabelPatch {
    /// What it is called.
    name: Option<Text<text::LabelName>>,
    /// Whether it is put away: it is not offered any more, and keeps what it has.
    archived: Option<bool>,
}

impl poem_openapi::types::Example for LabelPatch {
    fn example() -> Self {
        Self { name: Some("Campaigns 2026".into()), archived: Some(false) }
    }
}

/// A folder or tag.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct Label {
    /// Its id.
    id: Text<text::AnyLabelId>,
    /// What it is called.
    name: String,
    /// Whether it is put away.
    archived: bool,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl From<Row> for Label {
    fn from(row: Row) -> Self {
        Self {
            id: row.kind.spell(row.id).into(),
            name: row.name,
            archived: row.archived_at.is_some(),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }
    }
}

/// All folders or tags, by name.
#[derive(Debug, Object)]
struct LabelList {
    /// Them.
    items: Vec<Label>,
}

/// The routes of folders and tags.
#[derive(Debug)]
pub struct LabelApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl LabelApi {
    /// List folders
    #[oai(path = "/folders", method = "get", operation_id = "listFolders")]
    async fn folders(
        &self,
        auth: Auth<Session>,
        /// With those that are put away; `false` if not given.
        archived: Query<Option<bool>>,
    ) -> Result<Json<LabelList>, Failed<Own>> {
        Ok(Json(self.list(&auth.0, Kind::Folder, archived.0).await?))
    }

    /// Create a folder
    #[oai(path = "/folders", method = "post", operation_id = "createFolder")]
    async fn create_folder(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<LabelInput>,
    ) -> Result<Created<Label>, Failed<Own>> {
        let once = Once { operation: "createFolder", key: key.0.as_deref(), hash: &input.hash };
        Ok(self.create(&auth.0, Kind::Folder, input.value, once).await?)
    }

    /// Rename, archive or restore a folder
    #[oai(path = "/folders/:id", method = "patch", operation_id = "updateFolder")]
    async fn update_folder(
        &self,
        auth: Auth<Session>,
        /// The folder.
        id: Path<Text<text::FolderId>>,
        input: Input<LabelPatch>,
    ) -> Result<Json<Label>, Failed<Own>> {
        Ok(Json(self.update(&auth.0, Kind::Folder, &id.0, input.value).await?))
    }

    /// List tags
    #[oai(path = "/tags", method = "get", operation_id = "listTags")]
    async fn tags(
        &self,
        auth: Auth<Session>,
        /// With those that are put away; `false` if not given.
        archived: Query<Option<bool>>,
    ) -> Result<Json<LabelList>, Failed<Own>> {
        Ok(Json(self.list(&auth.0, Kind::Tag, archived.0).await?))
    }

    /// Create a tag
    #[oai(path = "/tags", method = "post", operation_id = "createTag")]
    async fn create_tag(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<LabelInput>,
    ) -> Result<Created<Label>, Failed<Own>> {
        let once = Once { operation: "createTag", key: key.0.as_deref(), hash: &input.hash };
        Ok(self.create(&auth.0, Kind::Tag, input.value, once).await?)
    }

    /// Rename, archive or restore a tag
    #[oai(path = "/tags/:id", method = "patch", operation_id = "updateTag")]
    async fn update_tag(
        &self,
        auth: Auth<Session>,
        /// The tag.
        id: Path<Text<text::TagId>>,
        input: Input<LabelPatch>,
    ) -> Result<Json<Label>, Failed<Own>> {
        Ok(Json(self.update(&auth.0, Kind::Tag, &id.0, input.value).await?))
    }
}

impl LabelApi {
    async fn list(&self, caller: &Caller, kind: Kind, archived: Option<bool>) -> Result<LabelList, Failure> {
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = label::list(&mut conn, caller.org_id, kind, archived.unwrap_or(false)).await?;
        Ok(LabelList { items: rows.into_iter().map(Into::into).collect() })
    }

    async fn create(
        &self,
        caller: &Caller,
        kind: Kind,
        input: LabelInput,
        once: Once<'_>,
    ) -> Result<Created<Label>, Failure> {
        let name = named(&input.name)?;
        let mut creation = match once.begin(&self.0, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        let now = self.0.clock.now();
        let made = label::create(&mut creation.tx, caller.org_id, kind, name, now, &self.0.chance).await?;
        creation.finish(&made.ok_or_else(|| taken(kind))?.into()).await
    }

    async fn update(&self, caller: &Caller, kind: Kind, id: &str, patch: LabelPatch) -> Result<Label, Failure> {
        let id = read(kind, id)?;
        let name = patch.name.as_deref().map(named).transpose()?;
        let now = self.0.clock.now();
        let mut tx = self.0.store.begin().await?;
        let found = label::lock(&mut tx, caller.org_id, kind, id).await?;
        let mut row = found.ok_or_else(|| Failure::not_found(kind.name()))?;
        if let Some(name) = name {
            row.name = name.to_owned();
        }
        if let Some(archived) = patch.archived {
            row.archived_at = archived.then(|| row.archived_at.unwrap_or(now));
        }
        row.updated_at = now;
        if !label::update(&mut tx, caller.org_id, &row).await? {
            return Err(taken(kind));
        }
        tx.commit().await?;
        Ok(row.into())
    }
}

/// Reads the id of a label in a path.
fn read(kind: Kind, id: &str) -> Result<LabelId, Failure> {
    kind.read(id).map_err(|_| Failure::not_found(kind.name()))
}

fn named(name: &str) -> Result<&str, Failure> {
    let trimmed = name.trim_matches(['\t', '\n', '\u{b}', '\u{c}', '\r', ' ']);
    let fits = name.chars().count() <= NAME_MAX && !trimmed.is_empty() && !name.contains('\0');
    if fits { Ok(trimmed) } else { Err(Failure::field("name", format!("must be 1 to {NAME_MAX} characters"))) }
}

fn taken(kind: Kind) -> Failure {
    Failure::conflict("name_taken", format!("Another {} has this name.", kind.name()))
}
