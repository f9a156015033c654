//! `/api/public`: for pages that are nobody's surface. Nobody proves who they are here; what is asked is counted by address.

mod conversion;
mod shape;
mod unsubscribe;

use domain::{code, id};
use jobs::store::{ANSWER, within};
use poem::{Request, http::StatusCode};
use poem_openapi::{ApiResponse, OpenApi, payload::Json};

pub use self::conversion::{ConversionApi, TELLS};
use self::shape::{ProtectedCodeInput, ProtectedCodeOpened};
pub use self::unsubscribe::UnsubscribeApi;
use crate::{
    app::App,
    failure::Failure,
    input::Input,
    redirect::{
        access::{self, Tried},
        tries::too_many,
    },
    server::Tag,
    surface::{Failed, Own},
};

/// The answer to the right password.
#[derive(Debug, ApiResponse)]
enum Opened {
    /// The code leads on for whoever has the cookie.
    #[oai(status = 200)]
    Right(Json<ProtectedCodeOpened>, #[oai(header = "Set-Cookie")] Option<String>),
}

/// The routes of public pages.
#[derive(Debug)]
pub struct PublicApi(pub App);

#[OpenApi(prefix_path = "/api/public", tag = "Tag::Public")]
impl PublicApi {
    /// Show the password of a protected link or QR code
    ///
    /// The cookie that comes with the answer counts on the host that was asked: ask the one on which the code stands.
    #[oai(path = "/access", method = "post", operation_id = "openProtectedCode")]
    async fn access(&self, request: &Request, input: Input<ProtectedCodeInput>) -> Result<Opened, Failed<Own>> {
        let (app, asked) = (&self.0, input.value);
        asked.check()?;
        let password = asked.password.to_string();
        let (domain, code) = self.code_of(asked).await?;
        let unknown = || Failure::new(StatusCode::NOT_FOUND, "not_found", "No code leads anywhere there.");
        let found = app.routes.find(&domain, &code).await.map_err(|error| {
            tracing::warn!(%error, "a code could not be looked up");
            Failure::unavailable()
        })?;
        let route = found.filter(|route| route.is_open(app.clock.now())).ok_or_else(unknown)?;
        match access::tried(app, &route, access::address(app, request), password).await {
            Tried::Right(cookie) => {
                let url = access::url(app, request, &domain, &code).into();
                let cookie = cookie.and_then(|cookie| cookie.to_str().ok().map(str::to_owned));
                Ok(Opened::Right(Json(ProtectedCodeOpened { url }), cookie))
            }
            Tried::Wrong => Err(Failure::unauthorized("That is not the password.").into()),
            Tried::TooMany(seconds) => Err(too_many("Too many tries of this code's password.", seconds).into()),
        }
    }
}

impl PublicApi {
    /// The domain and the code that is meant.
    async fn code_of(&self, asked: ProtectedCodeInput) -> Result<(String, String), Failure> {
        let app = &self.0;
        let own =
            |domain: &str| app.settings.short_host.as_deref().is_some_and(|host| host.eq_ignore_ascii_case(domain));
        if let Some(code) = asked.code {
            let domain = asked.domain.map(String::from).filter(|domain| !own(domain)).unwrap_or_default();
            return Ok((domain.to_ascii_lowercase(), code.into()));
        }
        let unknown = || Failure::not_found("link or QR code");
        let target = asked.id.as_deref().and_then(|id| id::read_any(id).ok()).ok_or_else(unknown)?;
        let find = async { code::find(&mut *app.store.pool().acquire().await?, target).await };
        within(ANSWER, find).await?.ok_or_else(unknown)
    }
}
