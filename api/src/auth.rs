//! Who asks: a session, or an API key with a prefix that the surface accepts.
//!
//! A route names its gate in its signature (`Auth<Session>`, `Auth<InkrKey>`), so the OpenAPI file and the check cannot
//! disagree.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use domain::{
    api_key::{self, ApiKeyPrefix},
    caller::Caller,
    member, oauth,
    session::{SessionClaims, SessionError, SessionKeys, SessionVerifier, load_keys},
};
use jobs::{job::NewJob, queue, session_key::FetchSessionKeys};
use poem::{Request, RequestBody, Result, http::Method, http::header::AUTHORIZATION};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};
use tokio::{sync::RwLock, time::Instant};

use crate::{app::App, cookie, failure::Failure};

/// Where a proof of identity is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// `Authorization: Bearer …`
    Bearer,
    /// A header of that name.
    Header(&'static str),
    /// The cookie `__session`, or `__session_<suffix>`.
    SessionCookie,
}

/// A security scheme: a row for the OpenAPI file, and how to look for it.
#[derive(Debug)]
pub struct Scheme {
    /// Its name in the OpenAPI file.
    pub name: &'static str,
    /// What it is, for people.
    pub description: &'static str,
    /// Where it is carried.
    pub carrier: Carrier,
    /// The key prefixes it accepts; none: it carries a session.
    pub prefixes: &'static [ApiKeyPrefix],
}

/// Every scheme of the API.
pub const SCHEMES: [Scheme; 10] = [
    Scheme {
        name: "sessionToken",
        description: "A workspace session (RS256 JWT) as Bearer token.",
        carrier: Carrier::Bearer,
        prefixes: &[],
    },
    // After the token: what a script sends on purpose goes before what a browser sends with everything.
    Scheme {
        name: "sessionCookie",
        description: "A workspace session of the sign-in service, in the `__session` cookie. Unsafe methods need a same-origin `Origin` header.",
        carrier: Carrier::SessionCookie,
        prefixes: &[],
    },
    Scheme {
        name: "apiKeyBearer",
        description: "An API key of any prefix as Bearer token.",
        carrier: Carrier::Bearer,
        prefixes: &ApiKeyPrefix::ALL,
    },
    Scheme {
        name: "apiKeyHeader",
        description: "An API key of any prefix.",
        carrier: Carrier::Header("X-API-Key"),
        prefixes: &ApiKeyPrefix::ALL,
    },
    Scheme {
        name: "libraryToken",
        description: "An OAuth access token (`oat_…`) of a program that a member let in, or an `ink_` API key, as Bearer token.",
        carrier: Carrier::Bearer,
        prefixes: &[ApiKeyPrefix::Ink],
    },
    Scheme {
        name: "libraryKey",
        description: "An `ink_` API key.",
        carrier: Carrier::Header("X-API-Key"),
        prefixes: &[ApiKeyPrefix::Ink],
    },
    Scheme {
        name: "iloveqrKey",
        description: "An iloveQR API key, `ilqr_…`.",
        carrier: Carrier::Header("X-API-Key"),
        prefixes: &[ApiKeyPrefix::Ilqr],
    },
    Scheme {
        name: "inklinkKey",
        description: "An InkLink API key, `secret_live_…`; also taken from `x-api-key`.",
        carrier: Carrier::Header("api-key"),
        prefixes: &[ApiKeyPrefix::SecretLive],
    },
    Scheme {
        name: "inkrKey",
        description: "An Inkr API key, `inkr_…`, as Bearer token.",
        carrier: Carrier::Bearer,
        prefixes: &[ApiKeyPrefix::Inkr],
    },
    Scheme {
        name: "qrstudioToken",
        description: "A QR Code Agency session (JWT) or API key (`smk_…`) as Bearer token.",
        carrier: Carrier::Bearer,
        prefixes: &[ApiKeyPrefix::Smk],
    },
];

/// The schemes that open a route, any one of them.
pub trait Gate: Send + Sync + 'static {
    /// Their names in [`SCHEMES`].
    const SCHEMES: &'static [&'static str];
    /// More places to look for a key than the OpenAPI file names.
    const ALSO: &'static [Carrier] = &[];
    /// Whether a session opens it.
    const SESSION: bool = false;
    /// Whether an access token of a program opens it.
    const OAUTH: bool = false;
}

/// An access token of a program, or an `ink_` key.
#[derive(Debug)]
pub struct Library;

impl Gate for Library {
    const SCHEMES: &'static [&'static str] = &["libraryToken", "libraryKey"];
    const OAUTH: bool = true;
}

macro_rules! gates {
    ($($(#[$doc:meta])* $name:ident: $schemes:expr, also $also:expr, session $session:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl Gate for $name {
            const SCHEMES: &'static [&'static str] = &$schemes;
            const ALSO: &'static [Carrier] = &$also;
            const SESSION: bool = $session;
        }
    )*};
}

gates! {
    /// A workspace session.
    Session: ["sessionCookie", "sessionToken"], also [], session true;
    /// An API key of any prefix.
    AnyKey: ["apiKeyBearer", "apiKeyHeader"], also [], session false;
    /// iloveQR's key.
    IloveqrKey: ["iloveqrKey"], also [], session false;
    /// InkLink's key.
    InklinkKey: ["inklinkKey"], also [Carrier::Header("x-api-key")], session false;
    /// Inkr's key.
    InkrKey: ["inkrKey"], also [], session false;
    /// QR Code Agency's session or key.
    QrstudioToken: ["qrstudioToken"], also [], session true;
}

/// The caller of a page: a workspace session, and nothing else.
pub(crate) async fn session_of(app: &App, request: &Request) -> Result<Caller, Failure> {
    let caller = authenticate::<Session>(app, request).await?;
    app.limiter.take(&caller).1?;
    Ok(caller)
}

/// The caller that passed the gate `G`.
#[derive(Debug)]
pub struct Auth<G>(pub Caller, PhantomData<G>);

impl<'a, G: Gate> ApiExtractor<'a> for Auth<G> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        for scheme in SCHEMES.iter().filter(|scheme| G::SCHEMES.contains(&scheme.name)) {
            let (ty, name, key_in, bearer) = match scheme.carrier {
                Carrier::Bearer => ("http", None, None, Some("bearer")),
                Carrier::Header(header) => ("apiKey", Some(header), Some("header"), None),
                Carrier::SessionCookie => ("apiKey", Some("__session"), Some("cookie"), None),
            };
            registry.create_security_scheme(
                scheme.name,
                MetaSecurityScheme {
                    ty,
                    description: Some(scheme.description),
                    name,
                    key_in,
                    scheme: bearer,
                    bearer_format: bearer.filter(|_| scheme.prefixes.is_empty()).map(|_| "JWT"),
                    flows: None,
                    openid_connect_url: None,
                },
            );
        }
    }

    fn security_schemes() -> Vec<&'static str> {
        G::SCHEMES.to_vec()
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let app = request.data::<App>().expect("the server puts the app into every request");
        let caller = authenticate::<G>(app, request).await?;
        let (left, taken) = app.limiter.take(&caller);
        request.extensions().get::<Arc<std::sync::Mutex<Option<crate::rate::Left>>>>().inspect(|slot| {
            *slot.lock().expect("no panic under the lock") = Some(left);
        });
        taken?;
        if caller.suspended && !goes_on(request.method().as_str(), request.uri().path()) {
            return Err(Failure::suspended().into());
        }
        Ok(Self(caller, PhantomData))
    }
}

/// What goes on while a plan is suspended, beside what reads and what deletes: what only looks, and what stops something. By
/// the beginning of paths and their end.
const GO_ON: [(&str, &str); 3] =
    [("/api/links/", "/explain"), ("/api/webhooks/replays/", "/pause"), ("/api/webhooks/replays/", "/cancel")];
/// The same behind `/api/org/{orgId}/`, by the beginning: what has to do with paying, and with being told.
const GO_ON_OF_ORG: [&str; 2] = ["billing", "notification"];

/// Whether callers of an organisation whose plan is suspended may ask this. `path` may be that of a route.
pub(crate) fn goes_on(method: &str, path: &str) -> bool {
    let of_org = || path.strip_prefix("/api/org/").and_then(|rest| Some(rest.split_once('/')?.1));
    let told = || of_org().is_some_and(|what| GO_ON_OF_ORG.iter().any(|start| what.starts_with(start)));
    let listed = || GO_ON.iter().any(|(start, end)| path.starts_with(start) && path.ends_with(end));
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE") || listed() || told()
}

async fn authenticate<G: Gate>(app: &App, request: &Request) -> Result<Caller, Failure> {
    let schemes = || SCHEMES.iter().filter(|scheme| G::SCHEMES.contains(&scheme.name));
    let prefixes: Vec<ApiKeyPrefix> = schemes().flat_map(|scheme| scheme.prefixes.iter().copied()).collect();
    let carriers = schemes().map(|scheme| scheme.carrier).chain(G::ALSO.iter().copied());
    for carrier in carriers {
        let Some(text) = carried(request, carrier) else { continue };
        if G::OAUTH && oauth::is_access_token(text) {
            let mut conn = app.store.pool().acquire().await?;
            let owner = oauth::find_owner(&mut conn, text, app.clock.now()).await?;
            let gone = || Failure::unauthorized("The access token is not valid, has expired or was revoked.");
            return owner.map(Caller::from_oauth).ok_or_else(gone);
        }
        if let Some(prefix) = ApiKeyPrefix::of_secret(text) {
            if !prefixes.contains(&prefix) {
                return Err(Failure::unauthorized("This kind of API key does not open this route."));
            }
            let mut conn = app.store.pool().acquire().await?;
            let owner = api_key::find_by_secret(&mut conn, text).await?;
            return owner.map(Caller::from_api_key).ok_or_else(|| Failure::unauthorized("The API key is not valid."));
        }
        if G::SESSION {
            if carrier == Carrier::SessionCookie {
                check_origin(app, request)?;
            }
            return session(app, text).await;
        }
        return Err(Failure::unauthorized("The API key is not valid."));
    }
    let wanted: Vec<&str> = schemes().map(|scheme| scheme.description).collect();
    Err(Failure::unauthorized(format!("The request carries no proof of identity. Wanted: {}", wanted.join(" Or: "))))
}

/// What a request carries there.
pub(crate) fn carried(request: &Request, carrier: Carrier) -> Option<&str> {
    match carrier {
        Carrier::Header(name) => request.headers().get(name)?.to_str().ok(),
        Carrier::Bearer => {
            let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        }
        Carrier::SessionCookie => cookie::all(request)
            .find(|(name, _)| *name == "__session" || name.starts_with("__session_"))
            .map(|(_, token)| token),
    }
}

/// A browser sends the cookie along whoever asks it to; an unsafe method counts only from our own pages.
fn check_origin(app: &App, request: &Request) -> Result<(), Failure> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let origin = request.headers().get("origin").and_then(|value| value.to_str().ok());
    if origin == Some(app.settings.public_url.as_str()) {
        return Ok(());
    }
    Err(Failure::forbidden("A session cookie is only accepted from this site: the Origin header must be its own."))
}

async fn session(app: &App, token: &str) -> Result<Caller, Failure> {
    let claims = app.sessions.verify(app, token).await?;
    if let Some(actor) = &claims.impersonator {
        tracing::info!(session.subject = claims.subject, session.actor = actor, "impersonated session");
    }
    let Some(org) = &claims.org else {
        return Err(Failure::forbidden("The session has no active organisation."));
    };
    let no_member = || Failure::unauthorized("The session's user is no member of its organisation.");
    if claims.subject.contains('\0') || org.external_id.contains('\0') {
        // Postgres would not even look for it.
        return Err(no_member());
    }
    let mut conn = app.store.pool().acquire().await?;
    let membership = member::find_by_subject(&mut conn, &claims.subject, &org.external_id).await?;
    membership.map(|membership| Caller::from_session(&membership)).ok_or_else(no_member)
}

/// Verifies session tokens with the operator's key, or with the issuer's keys that the workers fetch into Postgres.
#[derive(Clone)]
pub struct Sessions {
    issuer: Option<String>,
    authorized_parties: Vec<String>,
    fixed: Option<SessionKeys>,
    fetched: Arc<RwLock<Option<(SessionKeys, Instant)>>>,
}

/// How long fetched keys are believed without a look into the table.
const KEYS_KEPT: Duration = Duration::from_secs(60);

impl Sessions {
    /// Sessions of `issuer`; without `fixed` keys, those in the table count.
    pub fn new(fixed: Option<SessionKeys>, issuer: Option<String>, authorized_parties: Vec<String>) -> Self {
        Self { issuer, authorized_parties, fixed, fetched: Arc::default() }
    }

    /// Whether any key is known.
    pub async fn has_keys(&self, app: &App) -> bool {
        self.fixed.is_some() || self.keys(app, false).await.is_ok_and(|keys| !keys.is_empty())
    }

    async fn verify(&self, app: &App, token: &str) -> Result<SessionClaims, Failure> {
        let now = app.clock.now();
        let keys = match &self.fixed {
            Some(keys) => keys.clone(),
            None => self.keys(app, false).await?,
        };
        match self.verifier(keys).verify(token, now) {
            Err(SessionError::UnknownKey(kid)) if self.fixed.is_none() => {
                // The issuer may have a new key: look again, and have the workers fetch, at most once a minute.
                let keys = self.keys(app, true).await?;
                if let Ok(claims) = self.verifier(keys).verify(token, now) {
                    return Ok(claims);
                }
                let mut tx = app.store.begin().await?;
                let job = NewJob::new(domain::id::OrgId::SYSTEM, &FetchSessionKeys {}, now, &app.chance);
                queue::enqueue_once(&mut tx, job, &format!("unknown-key/{}", now.timestamp() / 60)).await?;
                tx.commit().await?;
                tracing::info!(kid, "a session names an unknown key; fetching the issuer's keys");
                Err(Failure::unauthorized("The session's key is not known yet; try again in a few seconds."))
            }
            Err(error) => {
                tracing::debug!(%error, "session refused");
                Err(Failure::unauthorized("The session is not valid or has expired."))
            }
            Ok(claims) => Ok(claims),
        }
    }

    fn verifier(&self, keys: SessionKeys) -> SessionVerifier {
        SessionVerifier { keys, issuer: self.issuer.clone(), authorized_parties: self.authorized_parties.clone() }
    }

    async fn keys(&self, app: &App, anew: bool) -> Result<SessionKeys, Failure> {
        if !anew
            && let Some((keys, at)) = &*self.fetched.read().await
            && at.elapsed() < KEYS_KEPT
        {
            return Ok(keys.clone());
        }
        let mut conn = app.store.pool().acquire().await?;
        let keys = load_keys(&mut conn).await?;
        *self.fetched.write().await = Some((keys.clone(), Instant::now()));
        Ok(keys)
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
