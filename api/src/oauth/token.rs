//! What programs ask: tokens for a code or a refresh token, and the end of what a token belongs to (RFC 7009).

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    id::OauthClientId,
    oauth::{self, ACCESS_S, Client, Refused, Tokens},
};
use poem::{
    IntoResponse, Request, Response,
    http::{StatusCode, header},
};
use serde_json::json;

use super::{Params, Refusal, Stop, answer, app};
use crate::failure::Failure;

/// `POST /oauth/token`
pub(super) async fn exchange(mut request: Request) -> Result<Response, Failure> {
    told(try_exchange(&mut request).await)
}

/// `POST /oauth/revoke`
pub(super) async fn revoke(mut request: Request) -> Result<Response, Failure> {
    told(try_revoke(&mut request).await)
}

fn told(answer: Result<Response, Stop>) -> Result<Response, Failure> {
    match answer {
        Ok(response) => Ok(response),
        Err(Stop::Refused(refusal)) => Ok(refusal.into_response()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

async fn try_exchange(request: &mut Request) -> Result<Response, Stop> {
    let params = Params::of_form(request).await?;
    let client = authenticate(request, &params).await?;
    let (app, grant) = (app(request), params.need("grant_type")?);
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let tokens = match grant {
        "authorization_code" => {
            let (code, verifier) = (params.need("code")?, params.need("code_verifier")?);
            let redirect = params.get("redirect_uri");
            oauth::redeem(&mut tx, client.id, code, redirect, verifier, now, &app.chance).await?
        }
        "refresh_token" => {
            let token = params.need("refresh_token")?;
            oauth::refresh(&mut tx, client.id, token, now, &app.chance).await?
        }
        _ => {
            let known = "grant_type must be authorization_code or refresh_token.";
            return Err(Refusal::new("unsupported_grant_type", known).into());
        }
    };
    // A refusal too: it may have ended a grant.
    tx.commit().await?;
    let Tokens { access, refresh, scopes } = tokens.map_err(|Refused(why)| Refusal::new("invalid_grant", why))?;
    let body = json!({"access_token": access, "token_type": "Bearer", "expires_in": ACCESS_S, "refresh_token": refresh,
                      "scope": scopes.join(" ")});
    Ok(answer(StatusCode::OK, &body))
}

async fn try_revoke(request: &mut Request) -> Result<Response, Stop> {
    let params = Params::of_form(request).await?;
    let client = authenticate(request, &params).await?;
    let (app, token) = (app(request), params.need("token")?);
    let mut tx = app.store.begin().await?;
    if !oauth::revoke(&mut tx, client.id, token, app.clock.now()).await? {
        return Err(Refusal::new("invalid_grant", "The token is another program's.").into());
    }
    tx.commit().await?;
    Ok(Response::builder().header(header::CACHE_CONTROL, "no-store").finish())
}

/// The program that asks, by its id and secret in the `Authorization` header or in the form.
async fn authenticate(request: &Request, params: &Params) -> Result<Client, Stop> {
    let basic = request.header(header::AUTHORIZATION);
    let wrong = |why: &str| Refusal {
        status: StatusCode::UNAUTHORIZED,
        basic: basic.is_some(),
        ..Refusal::new("invalid_client", why)
    };
    let (id, secret) = match basic {
        Some(value) => credentials(value).ok_or_else(|| wrong("The Authorization header is no Basic one."))?,
        None => {
            let given = params.get("client_id").zip(params.get("client_secret"));
            let (id, secret) = given.ok_or_else(|| wrong("The program must give its client_id and client_secret."))?;
            (id.to_owned(), secret.to_owned())
        }
    };
    if basic.is_some() && (params.get("client_secret").is_some() || params.get("client_id").is_some_and(|of| of != id))
    {
        return Err(Refusal::invalid("The program must name itself in the Authorization header or in the form.").into());
    }
    let Ok(id) = id.parse::<OauthClientId>() else { return Err(wrong("No program has this id and secret.").into()) };
    let mut conn = app(request).store.pool().acquire().await?;
    let client = oauth::find_client(&mut conn, id).await?.filter(|client| client.is_secret(&secret));
    client.ok_or_else(|| wrong("No program has this id and secret.").into())
}

/// Id and secret of a Basic header, each encoded as in a form (RFC 6749, 2.3.1).
fn credentials(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let bytes = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    let plain = |encoded: &str| {
        let pair = format!("v={encoded}");
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((plain(id)?, plain(secret)?))
}
