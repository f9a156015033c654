//! `/healthz`, `/readyz` and `/metrics`: for load balancers and operators; no proof of identity, nothing of any tenant.

use std::time::Duration;

use poem_openapi::{
    ApiResponse, Object, OpenApi,
    payload::{Json, PlainText},
};

use crate::{App, openapi::OpenapiFile, server::Tag};

/// How long a look at Postgres may take.
const LOOK: Duration = Duration::from_secs(2);

/// Whether the program and what it needs are well.
#[derive(Debug, Object)]
struct Readiness {
    /// `ready` or `not ready`.
    status: String,
    /// Whether Postgres answers.
    database: bool,
    /// Whether the session issuer's keys are known.
    session_keys: bool,
    /// Worker processes that are alive.
    workers: i64,
    /// What is missing, in a sentence.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
}

/// That the program runs.
#[derive(Debug, Object)]
struct Liveness {
    /// `ok`.
    status: String,
    /// The program's version.
    version: String,
}

/// The answer to `/readyz`.
#[derive(Debug, ApiResponse)]
enum Ready {
    /// Everything it needs is there.
    #[oai(status = 200)]
    Yes(Json<Readiness>),
    /// Something is missing.
    #[oai(status = 503)]
    No(Json<Readiness>),
}

/// The routes of the probes.
#[derive(Debug)]
pub struct ProbeApi(pub App);

#[OpenApi(tag = "Tag::Operations")]
impl ProbeApi {
    /// Tell that the program runs
    #[oai(path = "/healthz", method = "get", operation_id = "getHealth")]
    async fn health(&self) -> Json<Liveness> {
        Json(Liveness { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into() })
    }

    /// Tell whether the program is ready
    ///
    /// 503 while Postgres does not answer or no session can be verified. Workers are counted, but a web process without
    /// them is still ready: what it accepts waits safely.
    #[oai(path = "/readyz", method = "get", operation_id = "getReadiness")]
    async fn ready(&self) -> Ready {
        let look = async {
            let mut conn = self.0.store.pool().acquire().await?;
            jobs::queue::admin::count_workers(&mut conn, self.0.clock.now()).await
        };
        let workers = tokio::time::timeout(LOOK, look).await.ok().and_then(Result::ok);
        let keys = tokio::time::timeout(LOOK, self.0.sessions.has_keys(&self.0));
        let session_keys = workers.is_some() && keys.await.unwrap_or(false);
        let reason = match (workers, session_keys) {
            (None, _) => Some("Postgres does not answer."),
            (_, false) => Some("The session issuer's keys are not known yet."),
            _ => None,
        };
        let ready = Readiness {
            status: if reason.is_none() { "ready" } else { "not ready" }.into(),
            database: workers.is_some(),
            session_keys,
            workers: workers.unwrap_or(0),
            reason: reason.map(str::to_owned),
        };
        if ready.reason.is_none() { Ready::Yes(Json(ready)) } else { Ready::No(Json(ready)) }
    }

    /// Get the metrics
    ///
    /// In Prometheus's text format.
    #[oai(path = "/metrics", method = "get", operation_id = "getMetrics")]
    async fn metrics(&self) -> PlainText<String> {
        crate::metrics::refresh(&self.0).await;
        PlainText(self.0.metrics.as_ref().map(|metrics| metrics.render()).unwrap_or_default())
    }

    /// Get the OpenAPI file
    ///
    /// This file, as the running program knows it. `/docs` shows it to people.
    #[oai(path = "/openapi.yaml", method = "get", operation_id = "getOpenapiFile")]
    async fn openapi_file(&self) -> OpenapiFile {
        OpenapiFile
    }
}
