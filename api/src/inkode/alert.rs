//! `/api/alerts`: what owners want to be told of the visits of a link or a QR code.

mod shape;

use domain::{
    alert::{self, ALERTS_MAX, Alert as Row, FACTOR, FACTOR_MAX, HOURS, HOURS_MAX, SPIKE_VISITS, Watch},
    code::Target,
    id::AlertId,
};
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};

use self::shape::{Alert, AlertInput, AlertKind, AlertPage, AlertPatch};
use crate::{
    app::App,
    auth::{Auth, Session},
    deleted::Deleted,
    failure::{Failure, FieldError},
    idempotency::{Begun, Created, Once},
    input::Input,
    page,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
};

/// The routes of alerts.
#[derive(Debug)]
pub struct AlertApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl AlertApi {
    /// List alerts
    #[oai(path = "/alerts", method = "get", operation_id = "listAlerts")]
    async fn list(
        &self,
        auth: Auth<Session>,
        /// Only those of this link or QR code.
        #[oai(name = "targetId")]
        target_id: Query<Option<Text<text::CodeOwnerId>>>,
        /// The size of the page, 25 if not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<Text<text::AlertId>>>,
    ) -> Result<Json<AlertPage>, Failed<Own>> {
        let target = target_id.0.as_deref().map(target).transpose()?;
        let (limit, before) = (page::limit(limit.0)?, page::cursor::<AlertId>(cursor.0.as_deref())?);
        let mut conn = self.0.store.pool().acquire().await?;
        let rows = alert::list(&mut conn, auth.0.org_id, target, before, limit + 1).await?;
        let (rows, next_cursor) = page::turn(rows, limit, |row| row.id.to_string());
        Ok(Json(AlertPage { items: rows.into_iter().map(Into::into).collect(), next_cursor }))
    }

    /// Create an alert
    #[oai(path = "/alerts", method = "post", operation_id = "createAlert")]
    async fn create(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<AlertInput>,
    ) -> Result<Created<Alert>, Failed<Own>> {
        let (app, caller, now) = (&self.0, &auth.0, self.0.clock.now());
        let once = Once { operation: "createAlert", key: key.0.as_deref(), hash: &input.hash };
        let AlertInput { target_id, kind, visits, factor, hours, active } = input.value;
        let (target, watch) = (target(&target_id)?, watch(kind, visits, factor, hours)?);
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        if !alert::lock_target(&mut creation.tx, caller.org_id, target).await? {
            return Err(Failure::field("targetId", "must be a link or a dynamic QR code of yours").into());
        }
        if alert::count(&mut creation.tx, caller.org_id, target).await? >= ALERTS_MAX {
            let message = format!("A link or QR code has at most {ALERTS_MAX} alerts.");
            return Err(Failure::conflict("too_many_alerts", message).into());
        }
        let alert = Row {
            id: AlertId::new(now, &app.chance),
            org_id: caller.org_id,
            target,
            watch,
            active: active.unwrap_or(true),
            raised_at: None,
            created_by: Some(caller.user_id),
            created_at: now,
            updated_at: now,
        };
        alert::insert(&mut creation.tx, &alert).await?;
        Ok(creation.finish(&alert.into()).await?)
    }

    /// Get an alert
    #[oai(path = "/alerts/:id", method = "get", operation_id = "getAlert")]
    async fn get(
        &self,
        auth: Auth<Session>,
        /// The alert.
        id: Path<Text<text::AlertId>>,
    ) -> Result<Json<Alert>, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let found = alert::find(&mut conn, auth.0.org_id, read(&id.0)?).await?;
        Ok(Json(found.ok_or_else(no_alert)?.into()))
    }

    /// Update an alert
    ///
    /// From then on it is watched for anew: what was told before can be told again.
    #[oai(path = "/alerts/:id", method = "patch", operation_id = "updateAlert")]
    async fn update(
        &self,
        auth: Auth<Session>,
        /// The alert.
        id: Path<Text<text::AlertId>>,
        input: Input<AlertPatch>,
    ) -> Result<Json<Alert>, Failed<Own>> {
        let (id, patch) = (read(&id.0)?, input.value);
        let mut tx = self.0.store.begin().await?;
        let mut alert = alert::lock(&mut tx, auth.0.org_id, id).await?.ok_or_else(no_alert)?;
        alert.watch = changed(alert.watch, &patch)?;
        alert.active = patch.active.unwrap_or(alert.active);
        alert.raised_at = None;
        alert.updated_at = self.0.clock.now();
        alert::update(&mut tx, &alert).await?;
        tx.commit().await?;
        Ok(Json(alert.into()))
    }

    /// Delete an alert
    #[oai(path = "/alerts/:id", method = "delete", operation_id = "deleteAlert")]
    async fn delete(
        &self,
        auth: Auth<Session>,
        /// The alert.
        id: Path<Text<text::AlertId>>,
    ) -> Result<Deleted, Failed<Own>> {
        let mut conn = self.0.store.pool().acquire().await?;
        let deleted = alert::delete(&mut conn, auth.0.org_id, read(&id.0)?).await?;
        if deleted { Ok(Deleted::Gone) } else { Err(no_alert().into()) }
    }
}

fn read(id: &str) -> Result<AlertId, Failure> {
    id.parse().map_err(|_| no_alert())
}

fn no_alert() -> Failure {
    Failure::not_found("alert")
}

fn target(id: &str) -> Result<Target, Failure> {
    id.parse().map_err(|_| Failure::field("targetId", "must be the id of a link or a QR code"))
}

/// What is to be watched for; a number that another kind has is refused, because whoever gives it expects something of it.
fn watch(kind: AlertKind, visits: Option<i64>, factor: Option<i32>, hours: Option<i32>) -> Result<Watch, Failure> {
    let (takes_visits, takes_factor, takes_hours) = match kind {
        AlertKind::Spike => (true, true, false),
        AlertKind::Silence => (false, false, true),
        AlertKind::Threshold => (true, false, false),
    };
    let rules = [
        ("visits", visits.is_some() && !takes_visits, "is not for this kind"),
        ("visits", visits.is_some_and(|n| n < 1), "must be at least 1"),
        ("visits", visits.is_none() && matches!(kind, AlertKind::Threshold), "must be given"),
        ("factor", factor.is_some() && !takes_factor, "is not for this kind"),
        ("factor", factor.is_some_and(|n| !(2..=FACTOR_MAX).contains(&n)), "must be from 2 to 1000"),
        ("hours", hours.is_some() && !takes_hours, "is not for this kind"),
        ("hours", hours.is_some_and(|n| !(1..=HOURS_MAX).contains(&n)), "must be from 1 to 8760"),
    ];
    let wrong: Vec<FieldError> =
        rules.iter().filter(|(_, broken, _)| *broken).map(|(field, _, rule)| FieldError::new(*field, *rule)).collect();
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong));
    }
    Ok(match kind {
        AlertKind::Spike => Watch::Spike { visits: visits.unwrap_or(SPIKE_VISITS), factor: factor.unwrap_or(FACTOR) },
        AlertKind::Silence => Watch::Silence { hours: hours.unwrap_or(HOURS) },
        AlertKind::Threshold => Watch::Threshold { visits: visits.unwrap_or(1) },
    })
}

fn changed(before: Watch, patch: &AlertPatch) -> Result<Watch, Failure> {
    let AlertPatch { visits, factor, hours, .. } = *patch;
    match before {
        Watch::Spike { visits: least, factor: times } => {
            watch(AlertKind::Spike, visits.or(Some(least)), factor.or(Some(times)), hours)
        }
        Watch::Silence { hours: before } => watch(AlertKind::Silence, visits, factor, hours.or(Some(before))),
        Watch::Threshold { visits: before } => watch(AlertKind::Threshold, visits.or(Some(before)), factor, hours),
    }
}
