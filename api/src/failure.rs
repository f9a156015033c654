//! What can go wrong in a request, before it has any surface's shape.

use domain::{downgrade::Beyond, quota::Full};
use poem::http::StatusCode;

/// One field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's path as the surface spells it: `events[3].data`; empty for the body as a whole.
    pub field: String,
    /// The rule, to stand after the field's name.
    pub message: String,
}

impl FieldError {
    /// `field` breaks the rule `message`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Why a request is not done.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The HTTP status of our own surfaces.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The fields that break rules.
    pub fields: Vec<FieldError>,
    /// After how many seconds it may work.
    pub retry_after_s: Option<u64>,
    /// The methods that a route has, where the method was wrong.
    pub allow: Option<String>,
    /// What the plan has no room for.
    pub full: Option<Box<Full>>,
}

impl Failure {
    /// A failure of our own wording.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), fields: vec![], retry_after_s: None, allow: None, full: None }
    }

    /// 400: fields that break rules, at least one.
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let message = fields
            .iter()
            .map(|e| {
                if e.field.is_empty() {
                    format!("The body {}", e.message)
                } else {
                    format!("{} {}", e.field, e.message)
                }
            })
            .collect::<Vec<_>>()
            .join("; ");
        Self { fields, ..Self::new(StatusCode::BAD_REQUEST, "validation_failed", message) }
    }

    /// 400: one field that breaks a rule.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, message)])
    }

    /// 401.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 402: an invoice stayed unpaid.
    pub fn suspended() -> Self {
        let message = "The plan is suspended because an invoice is unpaid. Pay it (its address is in \
                       /api/org/{orgId}/billing), and everything works again within seconds. Nothing is deleted, and links \
                       and codes lead on.";
        Self::new(StatusCode::PAYMENT_REQUIRED, "plan_suspended", message)
    }

    /// 404: `what` as in "No webhook endpoint has this id."
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("No {what} has this id."))
    }

    /// 409.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 422: a field keeps to its form, and what it asks for cannot be done.
    pub fn unsupported(field: impl Into<String>, message: impl Into<String>) -> Self {
        let invalid = Self::field(field, message);
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code: "unsupported_value", ..invalid }
    }

    /// 500, or 503 while Postgres is away; logged here, where it is handled, and nowhere else.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(error = %error, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong on our side.")
    }

    /// The same, with a wait.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// 503: the operator has not set what this needs.
    pub fn not_configured(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_configured", message)
    }

    /// 503 while Postgres is away. It promises nothing about what was stored: if the answer to a commit is what did not
    /// come, everything was.
    pub fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The database does not answer right now. Try again shortly; with the same id or Idempotency-Key nothing is done \
             twice.",
        )
        .retry_after(1)
    }
}

/// Whether an error says that Postgres is away, and not that a statement was wrong.
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Protocol(_) => true,
        // Class 57P: operator intervention (shutdown, crash); class 53: too many connections, no memory, a full disk; 25P03:
        // nobody was heard of for so long that the transaction was ended.
        sqlx::Error::Database(db) => {
            db.code().is_some_and(|code| ["57P", "53", "25P03"].iter().any(|passing| code.starts_with(passing)))
        }
        _ => false,
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) {
            tracing::warn!(%error, "Postgres is away");
            return Self::unavailable();
        }
        Self::internal(error)
    }
}

impl From<domain::caller::Forbidden> for Failure {
    fn from(error: domain::caller::Forbidden) -> Self {
        let mut message = error.to_string();
        if let Some(first) = message.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self::forbidden(message + ".")
    }
}

impl From<Full> for Failure {
    /// 402.
    fn from(full: Full) -> Self {
        Self { full: Some(Box::new(full)), ..Self::new(StatusCode::PAYMENT_REQUIRED, "plan_limit", full.to_string()) }
    }
}

impl From<Beyond> for Failure {
    /// 402.
    fn from(beyond: Beyond) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "plan_locked", beyond.to_string())
    }
}

impl From<jobs::batch::BatchError> for Failure {
    /// The batch's own log line has the details.
    fn from(_: jobs::batch::BatchError) -> Self {
        Self::unavailable()
    }
}

impl From<domain::barcode::Unrenderable> for Failure {
    fn from(why: domain::barcode::Unrenderable) -> Self {
        Self::unsupported(why.field(), why.to_string())
    }
}

impl poem::error::ResponseError for Failure {
    fn status(&self) -> StatusCode {
        self.status
    }
}
