//! The bodies of failures, as each surface documents them.

use poem_openapi::{Enum, Object, types::Example};

/// An error of our own surfaces (RFC 9457).
#[derive(Debug, Object)]
#[oai(example, rename_all = "camelCase", skip_serializing_if_is_none)]
pub struct Problem {
    /// `about:blank`: the code says it all.
    pub(super) r#type: String,
    /// The status in words.
    pub(super) title: String,
    /// The HTTP status.
    #[oai(validator(minimum(value = "400"), maximum(value = "599")))]
    pub(super) status: u16,
    /// A stable word for programs.
    #[oai(validator(pattern = "^[a-z_]+$"))]
    pub(super) code: String,
    /// What is wrong, in a sentence.
    pub(super) detail: String,
    /// The same as the `x-request-id` header.
    pub(super) request_id: String,
    /// The fields that break rules.
    pub(super) errors: Option<Vec<ProblemField>>,
    /// With `plan_limit`: how many the plan includes.
    pub(super) limit: Option<i64>,
    /// With `plan_limit`: how many are in use.
    pub(super) used: Option<i64>,
}

/// A field that breaks a rule.
#[derive(Debug, Object)]
pub struct ProblemField {
    /// The field's path; empty for the body as a whole.
    pub(super) field: String,
    /// The rule.
    pub(super) message: String,
}

/// InkLink's and iloveQR's errors.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ErrorEnvelope {
    /// The error.
    pub(super) error: ErrorBody,
}

/// A stable word for programs.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// No valid proof of identity.
    Unauthorized,
    /// The caller may not do this; iloveQR only.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The request conflicts with an earlier one; iloveQR only.
    Conflict,
    /// The request breaks a rule.
    ValidationError,
    /// Too many requests.
    RateLimitExceeded,
    /// Something went wrong on our side.
    InternalError,
}

/// What went wrong.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub struct ErrorBody {
    /// A stable word for programs.
    pub(super) code: ErrorCode,
    /// What is wrong, in a sentence.
    pub(super) message: String,
    /// The fields that break rules.
    pub(super) details: Vec<ProblemField>,
    /// The same as the `x-request-id` header.
    pub(super) request_id: String,
}

/// QR Code Agency's errors: `detail`, or one member per field that breaks a rule.
#[derive(Debug, Default, Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct DetailError {
    /// What is wrong, in a sentence.
    pub(super) detail: Option<String>,
    /// What is wrong with the URL.
    pub(super) url: Option<String>,
    /// What is wrong with the event types.
    pub(super) events: Option<String>,
    /// What is wrong with the description.
    pub(super) description: Option<String>,
    /// What is wrong with the status.
    pub(super) status: Option<String>,
    /// What is wrong with the number of the page.
    pub(super) page: Option<String>,
    /// What is wrong with the size of the page.
    pub(super) page_size: Option<String>,
    /// What is wrong with the header of that name.
    #[oai(rename = "Idempotency-Key")]
    pub(super) idempotency_key: Option<String>,
}

const REQUEST_ID_EXAMPLE: &str = "req_Yc4nQ0TDXzJ2b7mWvK9u";

impl ProblemField {
    fn example() -> Self {
        Self { field: "url".into(), message: "must be an https:// URL".into() }
    }
}

impl Example for Problem {
    fn example() -> Self {
        Self {
            r#type: "about:blank".into(),
            title: "Bad Request".into(),
            status: 400,
            code: "validation_failed".into(),
            detail: "url must be an https:// URL".into(),
            request_id: REQUEST_ID_EXAMPLE.into(),
            errors: Some(vec![ProblemField::example()]),
            limit: None,
            used: None,
        }
    }
}

impl Example for ErrorEnvelope {
    fn example() -> Self {
        let error = ErrorBody {
            code: ErrorCode::ValidationError,
            message: "url must be an https:// URL".into(),
            details: vec![ProblemField::example()],
            request_id: REQUEST_ID_EXAMPLE.into(),
        };
        Self { error }
    }
}

impl Example for DetailError {
    fn example() -> Self {
        Self { url: Some("must be an https:// URL".into()), ..Self::default() }
    }
}
