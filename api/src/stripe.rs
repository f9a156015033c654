//! `POST /api/webhooks/stripe`: what Stripe tells by itself. It is not in the OpenAPI file, because Stripe alone asks it.
//!
//! Here an event is only proven and kept; a job takes it, so that Stripe has its answer whatever is behind it.

use domain::billing::{
    event::{self, Arrived, Subject},
    signature,
};
use jobs::{
    billing::TakeEvent,
    job::{NewJob, Priority},
    queue,
};
use poem::{Request, Response, Route, endpoint::make, error::ReadBodyError};
use serde_json::json;

use crate::{
    app::App,
    failure::Failure,
    input::{self, too_large},
    server::request_id,
};

/// The address and its method.
pub const ROUTE: (&str, &str) = ("/api/webhooks/stripe", "POST");
/// The most bytes of an event; those of invoices with a hundred lines have some hundred thousand.
const EVENT_MAX: usize = 1024 * 1024;
const HEADER: &str = "Stripe-Signature";

/// Adds the address to `route`.
pub fn add(route: Route) -> Route {
    route.at(ROUTE.0, poem::post(make(take)))
}

async fn take(mut request: Request) -> Result<Response, Failure> {
    let body = request.take_body().into_bytes_limit(EVENT_MAX).await.map_err(|error| match error {
        ReadBodyError::PayloadTooLarge => too_large(EVENT_MAX),
        error => Failure::field("", format!("could not be read: {error}")),
    })?;
    let app = request.data::<App>().expect("the server puts the app into every request");
    let now = app.clock.now();
    let secret = app.settings.stripe_webhook_secret.as_ref();
    let secret = secret.ok_or_else(|| Failure::not_configured("STRIPE_WEBHOOK_SECRET is not set."))?;
    let header = request.headers().get(HEADER).and_then(|value| value.to_str().ok());
    let header = header.ok_or_else(|| Failure::field(HEADER, "is required"))?;
    if let Err(why) = signature::verify(header, &body, secret, now) {
        tracing::warn!(%why, "an event that says it is Stripe's was refused");
        return Err(Failure::field(HEADER, why.to_string()));
    }
    let arrived: Arrived = input::parse(&body)?;
    let fits = (1..=255).contains(&arrived.id.len()) && !arrived.id.contains('\0');
    if !fits {
        return Err(Failure::field("id", "must be an event's id"));
    }
    let subject = match Subject::read(&arrived.kind, arrived.data.object.clone()) {
        None => return Ok(received()),
        Some(subject) => subject.map_err(|error| {
            // Stripe repeats it for days, and shows the operator this answer.
            tracing::error!(event = arrived.id, kind = arrived.kind, %error, "an event of Stripe's cannot be read");
            Failure::field("data.object", error.to_string())
        })?,
    };
    let mut tx = app.store.begin().await?;
    if event::insert(&mut tx, &arrived, &subject, now).await? {
        let job = NewJob::new(domain::id::OrgId::SYSTEM, &TakeEvent { event_id: arrived.id }, now, &app.chance);
        queue::enqueue(&mut tx, job.priority(Priority::High).request(request_id(&request))).await?;
    }
    tx.commit().await?;
    Ok(received())
}

fn received() -> Response {
    Response::builder().content_type("application/json").body(json!({"received": true}).to_string())
}
