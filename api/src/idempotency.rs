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
use secrecy::ExposeSecret;

use crate::{app::App, failure::Failure};

const REPLAYED: &str = "Idempotency-Replayed";
/// The longest key, in characters.
const KEY_MAX: usize = 255;

/// The answer to a create: fresh, or as it was stored. `STATUS` is what the OpenAPI file says of it.
#[derive(Debug)]
pub struct Created<T, const STATUS: u16 = 201> {
    body: String,
    status: StatusCode,
    replayed: bool,
    of: PhantomData<T>,
}

impl<T: ToJSON, const STATUS: u16> Created<T, STATUS> {
    /// A fresh answer that is not stored.
    pub fn new(status: StatusCode, value: &T) -> Self {
        Self { body: value.to_json_string(), status, replayed: false, of: PhantomData }
    }
}

impl<T: Send, const STATUS: u16> IntoResponse for Created<T, STATUS> {
    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status).content_type("application/json");
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

/// What makes a request the same as an earlier one.
#[derive(Debug, Clone, Copy)]
pub struct Once<'a> {
    /// The route.
    pub operation: &'static str,
    /// The `Idempotency-Key`, if the request has one.
    pub key: Option<&'a str>,
    /// The hash of its body.
    pub hash: &'a [u8; 32],
}

/// The transaction of a create, and the key under which its answer will be stored.
pub struct Creation<'a> {
    app: &'a App,
    caller: &'a Caller,
    once: Once<'a>,
    /// The transaction that the create writes in.
    pub tx: Tx<'static>,
}

/// How a create begins.
pub enum Begun<'a, T, const STATUS: u16> {
    /// It is new: create, then [`Creation::finish`].
    Fresh(Creation<'a>),
    /// It was done before; this is the answer.
    Before(Created<T, STATUS>),
}

impl<'a> Once<'a> {
    /// The answer that the same request got before, if it did. For creates with checks that take their time, before
    /// these; [`Once::begin`] asks again.
    pub async fn answered<T, const STATUS: u16>(
        self,
        app: &'a App,
        caller: &'a Caller,
    ) -> Result<Option<Created<T, STATUS>>, Failure> {
        let Some(key) = self.key else { return Ok(None) };
        let mut conn = app.store.pool().acquire().await?;
        let answer = idempotency::find(&mut conn, caller.org_id, self.operation, key).await?;
        answer.map(|answer| self.again(app, caller, key, &answer)).transpose()
    }

    /// Begins the create, which holds the key until its transaction ends.
    pub async fn begin<T, const STATUS: u16>(
        self,
        app: &'a App,
        caller: &'a Caller,
    ) -> Result<Begun<'a, T, STATUS>, Failure> {
        let mut tx = app.store.begin().await?;
        let Some(key) = self.key else { return Ok(Begun::Fresh(Creation { app, caller, once: self, tx })) };
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(Failure::field("Idempotency-Key", format!("must be 1 to {KEY_MAX} characters")));
        }
        match idempotency::take(&mut tx, caller.org_id, self.operation, key).await? {
            Taken::Running => {
                let message = "A request with this Idempotency-Key is under way.";
                Err(Failure::conflict("idempotency_running", message).retry_after(1))
            }
            Taken::Answered(answer) => self.again(app, caller, key, &answer).map(Begun::Before),
            Taken::Fresh => Ok(Begun::Fresh(Creation { app, caller, once: self, tx })),
        }
    }

    fn again<T, const STATUS: u16>(
        self,
        app: &App,
        caller: &Caller,
        key: &str,
        answer: &Answer,
    ) -> Result<Created<T, STATUS>, Failure> {
        if answer.request_hash != self.hash {
            return Err(Failure::conflict(
                "idempotency_mismatch",
                "This Idempotency-Key was used with another body; use a new key for a new request.",
            ));
        }
        let body = app.sealing.open_text(&answer.answer, &self.context(caller, key)).map_err(Failure::internal)?;
        Ok(Created {
            body: body.expose_secret().to_owned(),
            status: u16::try_from(answer.status).ok().and_then(|s| StatusCode::from_u16(s).ok()).unwrap_or_default(),
            replayed: true,
            of: PhantomData,
        })
    }

    fn context(self, caller: &Caller, key: &str) -> String {
        format!("idempotency:{}/{}/{key}", caller.org_id.0, self.operation)
    }
}

impl Creation<'_> {
    /// Stores the answer under the key, if there is one, and commits.
    pub async fn finish<T: ToJSON, const STATUS: u16>(self, value: &T) -> Result<Created<T, STATUS>, Failure> {
        self.finish_as(StatusCode::from_u16(STATUS).unwrap_or_default(), value).await
    }

    /// The same with another status, where an answer may have several.
    pub async fn finish_as<T: ToJSON, const STATUS: u16>(
        mut self,
        status: StatusCode,
        value: &T,
    ) -> Result<Created<T, STATUS>, Failure> {
        let created = Created::new(status, value);
        if let Some(key) = self.once.key {
            let stored = Answer {
                request_hash: self.once.hash.to_vec(),
                status: i16::try_from(status.as_u16()).unwrap_or_default(),
                content_type: "application/json".into(),
                answer: self.app.sealing.seal(
                    created.body.as_bytes(),
                    &self.once.context(self.caller, key),
                    &self.app.chance,
                ),
            };
            let now = self.app.clock.now();
            idempotency::store(&mut self.tx, self.caller.org_id, self.once.operation, key, &stored, now).await?;
        }
        self.tx.commit().await?;
        Ok(created)
    }
}
