//! Who may ask for scheduled work: whoever knows `CRON_SECRET`.
//!
//! In the address it would stand in the logs of every proxy on the way; it is taken there because some schedulers can
//! send nothing else. Our own logs have paths without their queries.

use poem::{Request, RequestBody, Result};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::{
    app::App,
    auth::{Carrier, carried},
    failure::Failure,
};

/// Who may ask.
#[derive(Debug, Clone)]
pub enum Access {
    /// Who knows the secret.
    Secret(SecretString),
    /// Anybody: a development installation without a secret.
    Anybody,
    /// Nobody: no secret is configured.
    Nobody,
}

/// Where the secret may stand, with its name in the OpenAPI file.
const SCHEMES: [(&str, MetaSecurityScheme); 3] = [
    ("cronBearer", scheme("http", None, None, Some("bearer"), "`CRON_SECRET` as Bearer token.")),
    ("cronHeader", scheme("apiKey", Some(HEADER), Some("header"), None, "`CRON_SECRET` in a header.")),
    (
        "cronQuery",
        scheme(
            "apiKey",
            Some(PARAMETER),
            Some("query"),
            None,
            "`CRON_SECRET` in the address, for schedulers that can send no header: proxies on the way may log it.",
        ),
    ),
];
const HEADER: &str = "x-cron-secret";
const PARAMETER: &str = "secret";

const fn scheme(
    ty: &'static str,
    name: Option<&'static str>,
    key_in: Option<&'static str>,
    scheme: Option<&'static str>,
    description: &'static str,
) -> MetaSecurityScheme {
    let description = Some(description);
    MetaSecurityScheme {
        ty,
        description,
        name,
        key_in,
        scheme,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}

/// That the request carries the secret.
#[derive(Debug)]
pub(super) struct CronSecret;

impl<'a> ApiExtractor<'a> for CronSecret {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        for (name, scheme) in SCHEMES {
            registry.create_security_scheme(name, scheme);
        }
    }

    fn security_schemes() -> Vec<&'static str> {
        SCHEMES.iter().map(|(name, _)| *name).collect()
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let app = request.data::<App>().expect("the server puts the app into every request");
        match &app.settings.cron {
            Access::Anybody => Ok(Self),
            Access::Nobody => {
                Err(Failure::not_configured("CRON_SECRET is not set: scheduled work cannot be asked for.").into())
            }
            Access::Secret(secret) if is_carried(request, secret) => Ok(Self),
            Access::Secret(_) => {
                Err(Failure::unauthorized("The request does not carry the secret of CRON_SECRET.").into())
            }
        }
    }
}

/// Whether the secret stands in one of its places. By digests, whose comparison tells nothing of the secret by its time.
fn is_carried(request: &Request, secret: &SecretString) -> bool {
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    let wanted = digest(secret.expose_secret());
    let in_address = request.uri().query().into_iter().flat_map(|query| {
        url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == PARAMETER).map(|(_, value)| value)
    });
    let in_headers = [Carrier::Bearer, Carrier::Header(HEADER)];
    let in_headers = in_headers.into_iter().filter_map(|carrier| carried(request, carrier)).map(Into::into);
    in_headers.chain(in_address).any(|given: std::borrow::Cow<'_, str>| digest(&given) == wanted)
}
