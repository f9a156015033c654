//! `/api/canva`: what a workspace has to show, for Canva's app and for programs with a key. It only reads. Limits and sizes
//! beyond their bounds are moved to them and not refused, as the Inkode document has it.

mod shape;

use domain::{
    api_key::Scope,
    barcode,
    caller::Caller,
    id::{BarcodeId, LabelId},
    label, oauth, org, qr, user,
};
use poem::Request;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
    payload::Json,
};
use sqlx::PgConnection;

use self::shape::{
    CanvaBarcodes, CanvaConnection, CanvaFolder, CanvaFolders, CanvaMe, CanvaQrCodes, CanvaUser, CanvaWorkspace,
    ConnectionType,
};
use crate::{
    app::App,
    auth::{Auth, Library},
    failure::Failure,
    inkode::{asked, barcode as drawing, qr as qr_drawing},
    picture::{Picture, PictureFormat},
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
};

/// How many things a list has: the least, the most, and where nobody says.
const LIMITS: (i64, i64, i64) = (1, 50, 50);
/// How wide pictures are in pixels: the least and the most.
const SIZES: (i64, i64) = (256, 2048);

/// The routes of the library.
#[derive(Debug)]
pub struct CanvaApi(pub App);

#[OpenApi(prefix_path = "/api/canva", tag = "Tag::Canva")]
impl CanvaApi {
    /// Get whom the token or key speaks for
    #[oai(path = "/me", method = "get", operation_id = "getCanvaMe")]
    async fn me(&self, auth: Auth<Library>) -> Result<Json<CanvaMe>, Failed<Own>> {
        let caller = allowed(&auth)?;
        let mut conn = self.0.store.pool().acquire().await?;
        Ok(Json(me(&mut conn, caller).await?))
    }

    /// List the workspace's folders
    #[oai(path = "/folders", method = "get", operation_id = "listCanvaFolders")]
    async fn folders(&self, auth: Auth<Library>) -> Result<Json<CanvaFolders>, Failed<Own>> {
        let caller = allowed(&auth)?;
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = label::list(&mut conn, caller.org_id, label::Kind::Folder, false).await?;
        let total = rows.len() as i64;
        let folder = |row: label::Label| CanvaFolder { id: row.kind.spell(row.id).into(), name: row.name };
        Ok(Json(CanvaFolders { items: rows.into_iter().map(folder).collect(), total }))
    }

    /// List the workspace's QR codes
    ///
    /// Those that are switched on and not put away, newest first.
    #[oai(path = "/qr", method = "get", operation_id = "listCanvaQrCodes")]
    async fn qr_codes(
        &self,
        auth: Auth<Library>,
        /// A part of name or code.
        search: Query<Option<Text<text::Search>>>,
        /// Only QR codes in this folder.
        #[oai(name = "folderId")]
        folder_id: Query<Option<Text<text::FolderId>>>,
        /// How many at most: 1 to 50, 50 if not given. What is beyond is moved to the nearest.
        limit: Query<Option<i64>>,
    ) -> Result<Json<CanvaQrCodes>, Failed<Own>> {
        let (caller, asked) = (allowed(&auth)?, Wanted::read(search.0, folder_id.0, limit.0)?);
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = qr::library(&mut conn, caller.org_id, asked.search.as_deref(), asked.folder_id, asked.limit).await?;
        Ok(Json(rows.into()))
    }

    /// Get a QR code as PNG
    #[oai(path = "/qr/:id/image", method = "get", operation_id = "getCanvaQrCodeImage")]
    async fn qr_code_image(
        &self,
        request: &Request,
        auth: Auth<Library>,
        /// The QR code.
        id: Path<Text<text::QrId>>,
        /// Its width in pixels: 256 to 2048, 1024 if not given. What is beyond is moved to the nearest.
        size: Query<Option<i64>>,
    ) -> Result<Picture<false>, Failed<Own>> {
        let size = size_of(size.0, qr_drawing::SIZE);
        Ok(Picture::new(
            qr_drawing::picture(&self.0, allowed(&auth)?, &id.0, PictureFormat::Png, size).await?,
            PictureFormat::Png,
            request,
        ))
    }

    /// List the workspace's barcodes
    ///
    /// Those that are switched on and not put away, newest first.
    #[oai(path = "/barcode", method = "get", operation_id = "listCanvaBarcodes")]
    async fn barcodes(
        &self,
        auth: Auth<Library>,
        /// A part of name or value.
        search: Query<Option<Text<text::Search>>>,
        /// Only barcodes in this folder.
        #[oai(name = "folderId")]
        folder_id: Query<Option<Text<text::FolderId>>>,
        /// How many at most: 1 to 50, 50 if not given. What is beyond is moved to the nearest.
        limit: Query<Option<i64>>,
    ) -> Result<Json<CanvaBarcodes>, Failed<Own>> {
        let (caller, asked) = (allowed(&auth)?, Wanted::read(search.0, folder_id.0, limit.0)?);
        let mut conn = self.0.store.pool().acquire().await?;
        let search = asked.search.as_deref();
        Ok(Json(barcode::library(&mut conn, caller.org_id, search, asked.folder_id, asked.limit).await?.into()))
    }

    /// Get a barcode as PNG
    #[oai(path = "/barcode/:id/image", method = "get", operation_id = "getCanvaBarcodeImage")]
    async fn barcode_image(
        &self,
        request: &Request,
        auth: Auth<Library>,
        /// The barcode.
        id: Path<Text<text::BarcodeId>>,
        /// Its width in pixels: 256 to 2048, 800 if not given. What is beyond is moved to the nearest.
        size: Query<Option<i64>>,
    ) -> Result<Picture<false>, Failed<Own>> {
        let caller = allowed(&auth)?;
        let no_barcode = || Failure::not_found("barcode");
        let id = id.0.parse::<BarcodeId>().map_err(|_| no_barcode())?;
        let mut conn = self.0.store.pool().acquire().await?;
        let row = barcode::find(&mut conn, caller.org_id, id).await?.ok_or_else(no_barcode)?;
        drop(conn);
        let bytes = drawing::draw(row, PictureFormat::Png, size_of(size.0, drawing::SIZE)).await?;
        Ok(Picture::new(bytes, PictureFormat::Png, request))
    }
}

/// What a list is asked for.
struct Wanted {
    search: Option<String>,
    folder_id: Option<LabelId>,
    limit: i64,
}

impl Wanted {
    fn read(
        search: Option<Text<text::Search>>,
        folder_id: Option<Text<text::FolderId>>,
        limit: Option<i64>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            search: search.map(|text| asked::search(text.into())).transpose()?,
            folder_id: folder_id.as_deref().map(asked::folder).transpose()?,
            limit: limit.unwrap_or(LIMITS.2).clamp(LIMITS.0, LIMITS.1),
        })
    }
}

/// The caller, if the token or key is for the library.
fn allowed(auth: &Auth<Library>) -> Result<&Caller, Failure> {
    auth.0.require_scope(Scope::LibraryRead)?;
    Ok(&auth.0)
}

fn size_of(asked: Option<i64>, plain: u32) -> u32 {
    let within = asked.unwrap_or(plain.into()).clamp(SIZES.0, SIZES.1);
    u32::try_from(within).unwrap_or(plain)
}

async fn me(conn: &mut PgConnection, caller: &Caller) -> Result<CanvaMe, Failure> {
    use domain::caller::Via;
    let gone = || Failure::unauthorized("The membership behind this token or key has just ended.");
    let org = org::find(conn, caller.org_id).await?.ok_or_else(gone)?;
    let person = user::find(conn, caller.org_id, caller.user_id).await?.ok_or_else(gone)?;
    let (r#type, id, found) = match caller.via {
        Via::Oauth { id } => {
            let found = oauth::find_connection(conn, caller.org_id, id).await?;
            (ConnectionType::Oauth, id.to_string(), found.map(|found| (found.name, found.created_at)))
        }
        Via::ApiKey { id, .. } => {
            (ConnectionType::ApiKey, id.to_string(), domain::api_key::find_name(conn, caller.org_id, id).await?)
        }
        // No session passes the gate.
        Via::Session => return Err(gone()),
    };
    let (name, created_at) = found.ok_or_else(gone)?;
    let scopes = caller.scopes.iter().map(|scope| scope.name().into()).collect();
    Ok(CanvaMe {
        workspace: CanvaWorkspace {
            id: org.id.to_string().into(),
            slug: org.slug.as_str().to_owned(),
            name: org.name,
            plan: org.plan.name().to_owned(),
        },
        user: CanvaUser {
            id: person.id.to_string().into(),
            name: person.name,
            email: person.email.as_str().to_owned(),
            role: caller.role.name().to_owned(),
        },
        connection: CanvaConnection { r#type, id, name, scopes, created_at: created_at.into() },
    })
}
