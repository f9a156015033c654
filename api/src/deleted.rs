//! The answer to a deletion of which there is no more to say.

use poem_openapi::ApiResponse;

/// The answer to a deletion.
#[derive(Debug, ApiResponse)]
pub enum Deleted {
    /// Gone.
    #[oai(status = 204)]
    Gone,
}
