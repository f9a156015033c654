//! `POST /api/public/conversions`: what a visitor of a link or QR code did, told by the page that they were led to, or
//! by the server behind it.

mod shape;

use std::num::NonZeroU32;

use domain::{
    change::{Change, Converted, Happened},
    conversion::{self, Conversion, Source, allowed_origins, read_origin},
    id::ConversionId,
    org,
    route::{self, Route},
};
use jobs::store::Tx;
use poem::{
    Request,
    http::{StatusCode, header},
};
use poem_openapi::{ApiResponse, OpenApi, payload::Json};
use sqlx::PgConnection;
use uuid::Uuid;

use self::shape::{Asked, ConversionInput, ConversionRecorded, Workspace};
use crate::{
    app::App,
    cookie, cors,
    failure::Failure,
    input::Input,
    redirect::{access, tries::too_many, visitor},
    server::{Tag, request_id},
    surface::{Failed, Own},
};

/// How many conversions of one link or QR code one address may tell at once, and per minute after that. A server tells
/// for all its visitors, and so do all who share an address.
pub const TELLS: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// The cookie that says who a visitor is, one for all of an installation's links and codes.
const COOKIE: &str = "ink_visitor";
/// For how long a browser keeps it, in seconds: a year.
const KEPT_S: u32 = 31_536_000;

/// The answer to what was told; the cookie is given to whoever came without one.
#[derive(Debug, ApiResponse)]
enum Recorded {
    /// It is recorded.
    #[oai(status = 201)]
    New(Json<ConversionRecorded>, #[oai(header = "Set-Cookie")] Option<String>),
    /// It was recorded before, with the same `dedupeKey`.
    #[oai(status = 200)]
    Known(Json<ConversionRecorded>, #[oai(header = "Set-Cookie")] Option<String>),
}

/// The route of conversions.
#[derive(Debug)]
pub struct ConversionApi(pub App);

#[OpenApi(prefix_path = "/api/public", tag = "Tag::Public")]
impl ConversionApi {
    /// Record a conversion
    ///
    /// Taken from pages of every origin that the link leads to and of those that the workspace allows
    /// (`/api/conversion-origins`), and from servers, which send no `Origin`. Browsers send the cookie along where it
    /// is asked for (`credentials: "include"`).
    #[oai(path = "/conversions", method = "post", operation_id = "recordConversion")]
    async fn record(&self, request: &Request, input: Input<ConversionInput>) -> Result<Recorded, Failed<Own>> {
        let (app, asked, now) = (&self.0, input.value.read()?, self.0.clock.now());
        let mut tx = app.store.begin().await?;
        let source = find(&mut tx, &asked).await?;
        admit(app, &mut tx, request, &source).await?;
        let (cookie, set_cookie) = visitor_of(app, request);
        let branch = match &source.route {
            Some(route) => branch(app, &mut tx, request, route).await?,
            None => String::new(),
        };
        let new = Conversion {
            id: ConversionId::new(now, &app.chance),
            org_id: source.org_id,
            target: source.target,
            at: now,
            visitor_id: conversion::visitor(source.org_id, cookie),
            branch,
            told: asked.told,
        };
        let id = conversion::record(&mut tx, &new).await?;
        let duplicate = id != new.id;
        if !duplicate {
            publish(app, &mut tx, new, request_id(request)).await?;
        }
        tx.commit().await?;
        let recorded = Json(ConversionRecorded { id: id.to_string().into(), duplicate });
        Ok(if duplicate { Recorded::Known(recorded, set_cookie) } else { Recorded::New(recorded, set_cookie) })
    }
}

/// What the conversion is of; a link of another workspace is none of this one's.
async fn find(conn: &mut PgConnection, asked: &Asked) -> Result<Source, Failure> {
    let unknown = || Failure::not_found(asked.source_type.title());
    let org_id = match &asked.org {
        Workspace::Ours(id) => *id,
        Workspace::Issuers(id) => org::find_by_external_id(conn, id).await?.ok_or_else(unknown)?.id,
    };
    let id = asked.source_type.read(&asked.source_id).ok_or_else(unknown)?;
    conversion::hold_source(conn, org_id, asked.source_type, id).await?.ok_or_else(unknown)
}

/// Refuses pages that have nothing to do with the link, and whoever tells too much of it.
async fn admit(app: &App, conn: &mut PgConnection, request: &Request, source: &Source) -> Result<(), Failure> {
    let taken = app.tellers.take(source.target.row().1, access::address(app, request));
    if let Some(header) = request.headers().get(header::ORIGIN) {
        let refused = || {
            let message =
                "Conversions of it are taken from pages that it leads to and from origins that its workspace allows.";
            Failure::new(StatusCode::FORBIDDEN, "origin_not_allowed", message)
        };
        let origin = header.to_str().ok().and_then(read_origin).ok_or_else(refused)?;
        if !source.leads_to(&origin) && !allowed_origins(conn, source.org_id).await?.contains(&origin) {
            return Err(refused());
        }
        cors::admit(request);
    }
    // Behind the origin, so that a page can read how long it must wait.
    taken.map_err(|seconds| too_many("Too many conversions of it from one address.", seconds))
}

/// Who the visitor is, and the cookie that says so from now on, if they came without one.
fn visitor_of(app: &App, request: &Request) -> (Uuid, Option<String>) {
    if let Some(known) = cookie::find(request, COOKIE).and_then(read_visitor) {
        return (known, None);
    }
    let fresh = uuid::Builder::from_random_bytes(app.chance.bytes()).into_uuid();
    // A page of another site is sent a cookie back only with `None`, which browsers take only with `Secure`.
    let site = if app.settings.public_url.starts_with("https://") { "None; Secure" } else { "Lax" };
    (fresh, Some(format!("{COOKIE}={fresh}; Path=/; Max-Age={KEPT_S}; HttpOnly; SameSite={site}")))
}

/// Reads a cookie of ours: a random UUID, spelled as we spell it.
fn read_visitor(text: &str) -> Option<Uuid> {
    let visitor = Uuid::try_parse(text).ok()?;
    (visitor.get_version_num() == 4 && visitor.to_string() == text).then_some(visitor)
}

/// Which rule or variant leads the visitor on. It is chosen anew, as nothing is kept of who was led where; the number
/// of their visit is not known any more, and the last one's stands for it.
async fn branch(app: &App, conn: &mut PgConnection, request: &Request, route: &Route) -> Result<String, Failure> {
    let mut number = None;
    if route.needs().number {
        number = Some(route::counted(conn, route.org_id, route.led_by()).await?);
    }
    Ok(visitor::choose(app, request, route, number).branch.to_owned())
}

/// Tells those who listen.
async fn publish(
    app: &App,
    tx: &mut Tx<'_>,
    conversion: Conversion,
    request_id: Option<String>,
) -> Result<(), Failure> {
    let now = conversion.at;
    let happened =
        Happened { org_id: conversion.org_id, change: Change::Created, at: now, subject: Converted(conversion) };
    jobs::change::publish(tx, &[happened], request_id.as_deref(), now, &app.chance).await?;
    Ok(())
}
