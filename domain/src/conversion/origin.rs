//! Origins: from which pages conversions are taken. An origin is a scheme, a host and a port (RFC 6454), spelled as
//! browsers do: `https://shop.example`, without a port that the scheme has anyway.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use url::Url;

use crate::{
    http_url::{HttpUrl, Rules},
    id::OrgId,
};

/// The most origins that an organisation allows.
pub const ORIGINS_MAX: usize = 50;
/// The longest origin, in characters: a scheme, the longest name of a host, and a port.
pub const ORIGIN_MAX: usize = "https://".len() + 253 + ":65535".len();

/// Reads an origin, http or https and nothing behind the port; `None` if the text is none. Nor is what looks as if it
/// stood for many: `https://*.example`, which the URL Standard takes for a host.
pub fn read_origin(text: &str) -> Option<String> {
    let url = HttpUrl::parse(text, Rules { allow_http: true, max_chars: ORIGIN_MAX }).ok()?;
    let (_, authority) = text.split_once("://")?;
    (!authority.contains(['/', '?', '*'])).then(|| url.url().origin().ascii_serialization())
}

/// The origin of an address; `None` if it has none.
pub fn origin_of(address: &str) -> Option<String> {
    let origin = Url::parse(address).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// From where an organisation takes conversions, beside where its links lead.
pub async fn allowed_origins(conn: &mut PgConnection, org_id: OrgId) -> Result<Vec<String>, sqlx::Error> {
    let origins = sqlx::query_scalar!("select origins from conversion_origins where org_id = $1", org_id.0);
    Ok(origins.fetch_optional(conn).await?.unwrap_or_default())
}

/// Sets them; those that were set before are forgotten.
pub async fn allow_origins(
    conn: &mut PgConnection,
    org_id: OrgId,
    origins: &[String],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into conversion_origins (org_id, origins, updated_at) values ($1, $2, $3)
         on conflict (org_id) do update set origins = excluded.origins, updated_at = excluded.updated_at",
        org_id.0,
        origins,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
