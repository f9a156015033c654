//! `Idempotency-Key`: the answer to a create is stored in the create's own transaction and given again for a day.
//!
//! The same key and body get the same answer with `Idempotency-Replayed: true`; another body gets 409; a request that is
//! still under way gets 409 with `Retry-After`.

use std::marker::PhantomData;

use domain::{
    caller::Caller,
    idempotency::{self, Answer, Taken},
};
use jobs::store::Tx;
use poem::{IntoResponse, Response, http::StatusCode};
use poem_openapi::{
    ApiResponse,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{ToJSON, Type},
};

use crate::{app::App, failure::Failure};

const REPLAYED: &str = "Idempotency-Replayed";

/// The answer to a create: fresh, or as it was stored.
#[derive(Debug)]
pub struct Created<T, const STATUS: u16 = 201> {
    body: String,
    replayed: bool,
    of: PhantomData<T>,
}

impl<T: ToJSON, const STATUS: u16> Created<T, STATUS> {
    /// A fresh answer.
    pub fn new(value: &T) -> Self {
        Self { body: value.to_json_string(), replayed: false, of: PhantomData }
    }
}

impl<T: Send, const STATUS: u16> IntoResponse for Created<T, STATUS> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(STATUS).unwrap_or(StatusCode::OK);
        let mut response = Response::builder().status(status).content_type("application/json");
        if self.replayed {
            response = response.header(REPLAYED, "true");
        }
        response.body(self.body)
    }
}

impl<T: Type, const STATUS: u16> ApiResponse for Created<T, STATUS> {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Done, or done before with the same Idempotency-Key.",
                status: Some(STATUS),
                status_range: None,
                content: vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }],
                headers: vec![MetaHeader {
                    name: REPLAYED.into(),
                    description: Some(
                        "`true` where the answer was stored by an earlier request with the same key.".into(),
                    ),
                    required: false,
                    deprecated: false,
                    schema: String::schema_ref(),
                }],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// The transaction of a create, and the key under which its answer will be stored.
pub struct Creation<'a> {
    app: &'a App,
    caller: &'a Caller,
    operation: &'static str,
    key: Option<&'a str>,
    hash: &'a [u8; 32],
    /// The transaction that the create writes in.
    pub tx: Tx,
}

/// How a create begins.
pub enum Begun<'a, T, const STATUS: u16> {
    /// It is new: create, then [`Creation::finish`].
    Fresh(Creation<'a>),
    /// It was done before; this is the answer.
    Before(Created<T, STATUS>),
}

/// Begins a create; `hash` is the hash of the request's body.
pub async fn begin<'a, T, const STATUS: u16>(
    app: &'a App,
    caller: &'a Caller,
    operation: &'static str,
    key: Option<&'a str>,
    hash: &'a [u8; 32],
) -> Result<Begun<'a, T, STATUS>, Failure> {
    let mut tx = app.store.begin().await?;
    if let Some(key) = key {
        if key.is_empty() || key.len() > 255 {
            return Err(Failure::field("Idempotency-Key", "must be 1 to 255 characters"));
        }
        match idempotency::take(&mut tx, caller.org_id, operation, key).await? {
            Taken::Running => {
                let message = "A request with this Idempotency-Key is under way.";
                return Err(Failure::conflict("idempotency_running", message).retry_after(1));
            }
            Taken::Answered(answer) => return replay(app, caller, operation, key, hash, &answer).map(Begun::Before),
            Taken::Fresh => {}
        }
    }
    Ok(Begun::Fresh(Creation { app, caller, operation, key, hash, tx }))
}

impl Creation<'_> {
    /// Stores the answer under the key, if there is one, and commits.
    pub async fn finish<T: ToJSON, const STATUS: u16>(mut self, value: &T) -> Result<Created<T, STATUS>, Failure> {
        let created = Created::new(value);
        if let Some(key) = self.key {
            let context = context(self.caller, self.operation, key);
            let stored = Answer {
                request_hash: self.hash.to_vec(),
                status: i16::try_from(STATUS).unwrap_or_default(),
                content_type: "application/json".into(),
                answer: self.app.sealing.seal(created.body.as_bytes(), &context, &self.app.chance),
            };
            let now = self.app.clock.now();
            idempotency::store(&mut self.tx, self.caller.org_id, self.operation, key, &stored, now).await?;
        }
        self.tx.commit().await?;
        Ok(created)
    }
}

fn replay<T, const STATUS: u16>(
    app: &App,
    caller: &Caller,
    operation: &str,
    key: &str,
    hash: &[u8; 32],
    answer: &Answer,
) -> Result<Created<T, STATUS>, Failure> {
    if answer.request_hash != hash {
        return Err(Failure::conflict(
            "idempotency_mismatch",
            "This Idempotency-Key was used with another body; use a new key for a new request.",
        ));
    }
    use secrecy::ExposeSecret;
    let body = app.sealing.open_text(&answer.answer, &context(caller, operation, key)).map_err(Failure::internal)?;
    Ok(Created { body: body.expose_secret().to_owned(), replayed: true, of: PhantomData })
}

fn context(caller: &Caller, operation: &str, key: &str) -> String {
    format!("idempotency:{}/{operation}/{key}", caller.org_id.0)
}
