//! The page on which a member lets a program in. What the page asks travels in its form, sealed for that member and for a
//! few minutes: nobody else can make one, and another site cannot send it in the member's name.

use chrono::Duration;
use domain::{
    api_key::Scope,
    caller::Caller,
    id::OauthClientId,
    oauth::{self, Client, NewCode, SCOPES},
    org, user,
};
use poem::{
    Request, Response,
    http::{StatusCode, header},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Params, Refusal, Stop, app, page};
use crate::{app::App, auth, failure::Failure};

/// For how long the page can be answered, in minutes.
const OPEN_MIN: i64 = 10;
/// The longest `state`, in bytes.
const STATE_MAX: usize = 2000;

/// What a program asks for.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    client_id: OauthClientId,
    /// The address as the request named it.
    named: Option<String>,
    /// The address.
    redirect: String,
    state: Option<String>,
    scopes: Vec<String>,
    challenge: String,
    /// Until when the page can be answered, in seconds since the epoch.
    until: i64,
}

/// `GET /oauth/authorize`
pub(super) async fn ask(request: Request) -> Result<Response, Failure> {
    let params = match Params::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        Ok(params) => params,
        Err(refusal) => return Ok(page::refused(&refusal.description)),
    };
    let app = app(&request);
    let (client, redirect) = match program(app, &params).await {
        Ok(found) => found,
        Err(Stop::Refused(refusal)) => return Ok(page::refused(&refusal.description)),
        Err(Stop::Failed(failure)) => return Err(failure),
    };
    let asked = match asked(app, &params, &client, &redirect) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(refuse(&redirect, params.get("state"), &refusal)),
    };
    let caller = match auth::session_of(app, &request).await {
        Ok(caller) => caller,
        Err(failure) => return stranger(&request, failure),
    };
    let mut conn = app.store.pool().acquire().await?;
    let (org, person) =
        (org::find(&mut conn, caller.org_id).await?, user::find(&mut conn, caller.org_id, caller.user_id).await?);
    let (Some(org), Some(person)) = (org, person) else { return Ok(page::refused("Your membership has just ended.")) };
    let ticket =
        app.sealing.seal(&serde_json::to_vec(&asked).map_err(Failure::internal)?, &context(&caller), &app.chance);
    Ok(page::consent(&client.name, &org.name, person.email.as_str(), &asked.scopes, &hex::encode(ticket), &redirect))
}

/// `POST /oauth/authorize`
pub(super) async fn decide(mut request: Request) -> Result<Response, Failure> {
    let params = match Params::of_form(&mut request).await {
        Ok(params) => params,
        Err(refusal) => return Ok(page::refused(&refusal.description)),
    };
    let app = app(&request);
    let caller = match auth::session_of(app, &request).await {
        Ok(caller) => caller,
        Err(failure) => return stranger(&request, failure),
    };
    let Some(asked) = params.get("ticket").and_then(|ticket| open(app, &caller, ticket)) else {
        return Ok(page::refused(
            "This page has expired, or was opened as somebody else. Begin again where you came from.",
        ));
    };
    let state = asked.state.as_deref();
    if params.get("decision") != Some("allow") {
        let denied = Refusal::new("access_denied", "The member did not allow it.");
        return Ok(refuse(&asked.redirect, state, &denied));
    }
    let new = NewCode {
        client_id: asked.client_id,
        org_id: caller.org_id,
        user_id: caller.user_id,
        redirect_uri: asked.named,
        scopes: asked.scopes.iter().filter_map(|name| Scope::by_name(name)).collect(),
        challenge: asked.challenge,
    };
    let mut tx = app.store.begin().await?;
    if oauth::find_client(&mut tx, new.client_id).await?.is_none() {
        return Ok(page::refused("This program may not ask any more."));
    }
    let code = oauth::issue_code(&mut tx, &new, app.clock.now(), &app.chance).await?;
    tx.commit().await?;
    Ok(back(&asked.redirect, &[("code", Some(&code)), ("state", state)]))
}

/// The program and where its members are sent back to. Until both are known nobody is sent anywhere (RFC 6749, 4.1.2.1).
async fn program(app: &App, params: &Params) -> Result<(Client, String), Stop> {
    let unknown = || Refusal::invalid("No program has this client_id.");
    let id = params.need("client_id")?.parse::<OauthClientId>().map_err(|_| unknown())?;
    let mut conn = app.store.pool().acquire().await?;
    let client = oauth::find_client(&mut conn, id).await?.ok_or_else(unknown)?;
    let redirect = client.redirect(params.get("redirect_uri")).map(str::to_owned);
    let redirect = redirect.ok_or_else(|| Refusal::invalid("redirect_uri is none of this program's addresses."))?;
    Ok((client, redirect))
}

fn asked(app: &App, params: &Params, client: &Client, redirect: &str) -> Result<Asked, Refusal> {
    if params.need("response_type")? != "code" {
        return Err(Refusal::new("unsupported_response_type", "response_type must be code."));
    }
    if params.get("state").is_some_and(|state| state.len() > STATE_MAX) {
        return Err(Refusal::invalid(format!("state must be at most {STATE_MAX} bytes.")));
    }
    // SHA-256 in base64url is 43 characters.
    let within = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let challenge = params.need("code_challenge")?;
    if params.get("code_challenge_method") != Some("S256") || challenge.len() != 43 || !challenge.bytes().all(within) {
        return Err(Refusal::invalid("code_challenge must be of the code_challenge_method S256."));
    }
    let names = params.get("scope").map(|scope| scope.split(' ').filter(|name| !name.is_empty()).collect::<Vec<_>>());
    let scopes: Vec<Scope> = match names {
        None => SCOPES.to_vec(),
        Some(names) => SCOPES.into_iter().filter(|scope| names.contains(&scope.name())).collect(),
    };
    let unknown = |name: &str| !SCOPES.iter().any(|scope| scope.name() == name);
    if scopes.is_empty() || params.get("scope").is_some_and(|scope| scope.split_ascii_whitespace().any(unknown)) {
        let known = SCOPES.map(Scope::name).join(" ");
        return Err(Refusal::new("invalid_scope", format!("scope must be of: {known}")));
    }
    Ok(Asked {
        client_id: client.id,
        named: params.get("redirect_uri").map(str::to_owned),
        redirect: redirect.to_owned(),
        state: params.get("state").map(str::to_owned),
        scopes: scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        challenge: challenge.to_owned(),
        until: (app.clock.now() + Duration::minutes(OPEN_MIN)).timestamp(),
    })
}

/// What a member's page asked, if it is theirs and its time is not over.
fn open(app: &App, caller: &Caller, ticket: &str) -> Option<Asked> {
    let plain = app.sealing.open_text(&hex::decode(ticket).ok()?, &context(caller)).ok()?;
    let asked: Asked = serde_json::from_str(plain.expose_secret()).ok()?;
    (app.clock.now().timestamp() <= asked.until).then_some(asked)
}

fn context(caller: &Caller) -> String {
    format!("oauth-consent:{}/{}", caller.org_id.0, caller.user_id.0)
}

/// Whoever is not signed in, or in no workspace, is told so on a page.
fn stranger(request: &Request, failure: Failure) -> Result<Response, Failure> {
    match failure.status {
        StatusCode::UNAUTHORIZED => Ok(page::sign_in(request.uri())),
        StatusCode::FORBIDDEN => Ok(page::forbidden(&failure.message)),
        _ => Err(failure),
    }
}

/// Sends a member back with an error.
fn refuse(redirect: &str, state: Option<&str>, refusal: &Refusal) -> Response {
    let error = [("error", Some(refusal.error)), ("error_description", Some(&*refusal.description)), ("state", state)];
    back(redirect, &error)
}

fn back(redirect: &str, params: &[(&str, Option<&str>)]) -> Response {
    let Ok(mut url) = Url::parse(redirect) else { return page::refused("The program's address is none.") };
    let given = params.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    url.query_pairs_mut().extend_pairs(given);
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, url.as_str())
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::REFERRER_POLICY, "no-referrer")
        .finish()
}
