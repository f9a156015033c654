//! `/api/conversion-origins`: from which pages a workspace takes conversions beside those that its links lead to; and
//! conversions in statistics.

use chrono::{DateTime, Utc};
use domain::{
    conversion::{self, BranchSum, ORIGINS_MAX, StepSum, allow_origins, allowed_origins, read_origin},
    id::OrgId,
    routing::Routing,
    visit::Tally,
};
use poem_openapi::{Object, OpenApi, param::Query, payload::Json, types::Example};
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::asked;
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::{Failure, FieldError},
    input::Input,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
};

/// From which pages conversions are taken.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct ConversionOrigins {
    /// At most 50 origins, such as `https://shop.example.com` or `http://localhost:3000`, spelled as browsers do: in
    /// lower case, without the port that the scheme has anyway, and each there once.
    #[oai(validator(max_items = 50))]
    origins: Vec<Text<text::Origin>>,
}

impl Example for ConversionOrigins {
    fn example() -> Self {
        Self { origins: vec!["https://shop.example.com".into()] }
    }
}

/// The routes of the origins of conversions.
#[derive(Debug)]
pub struct ConversionOriginApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl ConversionOriginApi {
    /// Get the origins that conversions are taken from
    ///
    /// Those that the workspace allows beside where its links lead.
    #[oai(path = "/conversion-origins", method = "get", operation_id = "getConversionOrigins")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Query<Option<Text<text::OrgId>>>,
    ) -> Result<Json<ConversionOrigins>, Failed<Own>> {
        asked::check_org(&self.0, &auth.0, org_id.0.as_deref()).await?;
        let mut conn = self.0.store.pool().acquire().await?;
        Ok(Json(allowed_origins(&mut conn, auth.0.org_id).await?.into()))
    }

    /// Set the origins that conversions are taken from
    ///
    /// Those that were set before are forgotten.
    #[oai(path = "/conversion-origins", method = "put", operation_id = "updateConversionOrigins")]
    async fn update(
        &self,
        auth: Auth<Session>,
        /// The workspace, which must be the session's.
        #[oai(name = "orgId")]
        org_id: Query<Option<Text<text::OrgId>>>,
        input: Input<ConversionOrigins>,
    ) -> Result<Json<ConversionOrigins>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        asked::check_org(app, caller, org_id.0.as_deref()).await?;
        caller.require_manager()?;
        let origins = read(&input.value.origins)?;
        let mut conn = app.store.pool().acquire().await?;
        allow_origins(&mut conn, caller.org_id, &origins, app.clock.now()).await?;
        Ok(Json(origins.into()))
    }
}

impl From<Vec<String>> for ConversionOrigins {
    fn from(origins: Vec<String>) -> Self {
        Self { origins: origins.into_iter().map(Into::into).collect() }
    }
}

/// Origins as browsers spell them, each once.
fn read(given: &[Text<text::Origin>]) -> Result<Vec<String>, Failure> {
    if given.len() > ORIGINS_MAX {
        return Err(Failure::field("origins", format!("must be at most {ORIGINS_MAX}")));
    }
    let (mut origins, mut wrong) = (vec![], vec![]);
    for (n, text) in given.iter().enumerate() {
        match read_origin(text) {
            Some(origin) if !origins.contains(&origin) => origins.push(origin),
            Some(_) => {}
            None => wrong.push(FieldError::new(
                format!("origins[{n}]"),
                "must be an origin such as https://shop.example.com, with nothing behind the port",
            )),
        }
    }
    if wrong.is_empty() { Ok(origins) } else { Err(Failure::invalid(wrong)) }
}

/// Conversions of one step and currency.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct StepConversions {
    /// The step.
    step: String,
    /// The currency; absent for those without one.
    currency: Option<String>,
    /// How many.
    count: i64,
    /// By how many visitors.
    visitors: i64,
    /// What they are worth together; absent where none has a value.
    value: Option<f64>,
}

impl From<StepSum> for StepConversions {
    fn from(sum: StepSum) -> Self {
        let StepSum { step, currency, count, visitors, value } = sum;
        Self { step, currency, count, visitors, value }
    }
}

/// Between which shares a rate lies with 95 % confidence (Wilson's interval).
#[derive(Debug, Object)]
struct ConfidenceInterval {
    /// From 0 to 1.
    low: f64,
    /// From 0 to 1.
    high: f64,
}

/// How an A/B variant does.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct VariantResult {
    /// The variant's id.
    id: Text<text::RoutingId>,
    /// What it is called.
    name: String,
    /// How many visitors it had. As in `uniques` somebody is new every day, because nothing is known of them for
    /// longer.
    visitors: i64,
    /// Conversions of those whom it leads on, in whatever step.
    conversions: i64,
    /// By how many visitors, told by their cookie.
    converted_visitors: i64,
    /// Which share of its visitors converted, from 0 to 1.
    conversion_rate: f64,
    /// How sure that is.
    confidence_interval: ConfidenceInterval,
}

impl VariantResult {
    fn new(id: &str, name: &str, visitors: i64, sum: Option<&BranchSum>) -> Self {
        let (conversions, converted) = sum.map_or((0, 0), |sum| (sum.count, sum.visitors));
        let rate = conversion::rate(converted, visitors);
        let (low, high) = rate.interval;
        Self {
            id: id.into(),
            name: name.to_owned(),
            visitors,
            conversions,
            converted_visitors: converted,
            conversion_rate: rate.share,
            confidence_interval: ConfidenceInterval { low, high },
        }
    }
}

/// The conversions of a link or QR code from `from` on, by step, and by each variant that its routing has; `visits` are
/// those of the same time.
pub(super) async fn results(
    conn: &mut PgConnection,
    org_id: OrgId,
    target: Uuid,
    routing: Option<&Routing>,
    from: DateTime<Utc>,
    visits: &Tally,
) -> Result<(Vec<StepConversions>, Vec<VariantResult>), Failure> {
    let steps = conversion::by_step(conn, org_id, target, from).await?.into_iter().map(Into::into).collect();
    let variants = routing.map(|routing| &*routing.variants).unwrap_or_default();
    if variants.is_empty() {
        return Ok((steps, vec![]));
    }
    let sums = conversion::by_branch(conn, org_id, target, from).await?;
    let results = variants.iter().map(|variant| {
        let branch = format!("variant:{}", variant.id);
        let visitors = visits.facets.sum("branch", &branch).uniques;
        VariantResult::new(&variant.id, &variant.name, visitors, sums.iter().find(|sum| sum.branch == branch))
    });
    Ok((steps, results.collect()))
}
