//! `POST /api/qr/bulk`: up to 500 changes of QR codes in one call and one transaction, with an answer for each.

use std::collections::HashMap;

use domain::{caller::Caller, change::Change, id::QrId, qr};
use futures::{StreamExt as _, stream};
use poem::Request;
use poem_openapi::{Object, OpenApi, param::Header, types::Example};
use serde::Deserialize;

use super::{
    batch::{self, Op},
    change::Update,
    draft,
    shape::{QrCode, QrCodeInput, QrCodePatch},
};
use crate::{
    app::App,
    auth::{Auth, Session},
    failure::Failure,
    idempotency::{Begun, Created, Once},
    inkode::bulk::{self, BYTES_MAX, OperationKind},
    input::{self, Input},
    server::{Tag, request_id},
    surface::{Failed, Own, Problem},
    text::{self, Text},
};

/// How many operations of a call are checked at a time: the proof that a code can be read takes a processor.
const CHECKED_AT_ONCE: usize = 4;

/// Up to 500 operations. Deletions come first, then updates, then creations; a code can be in one of them only.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct QrCodeBulk {
    /// The operations.
    #[oai(validator(min_items = 1, max_items = 500))]
    operations: Vec<QrCodeOperation>,
}

/// One operation.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase", remote = "Self")]
struct QrCodeOperation {
    /// What it does.
    #[serde(deserialize_with = "input::required_word")]
    op: OperationKind,
    /// The code; with `update` and `delete`.
    id: Option<Text<text::QrId>>,
    /// The new code; with `create`.
    qr_code: Option<QrCodeInput>,
    /// What changes, as when one code is updated; with `update`.
    changes: Option<QrCodePatch>,
}

input::objects!(QrCodeOperation);

impl Example for QrCodeBulk {
    fn example() -> Self {
        let operation = |op| QrCodeOperation { op, id: None, qr_code: None, changes: None };
        Self {
            operations: vec![
                QrCodeOperation { qr_code: Some(QrCodeInput::example()), ..operation(OperationKind::Create) },
                QrCodeOperation {
                    id: Some("qr_01M7YTM8APEC1AZXZFS492W0DN".into()),
                    changes: Some(QrCodePatch::example()),
                    ..operation(OperationKind::Update)
                },
            ],
        }
    }
}

/// What became of an operation.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct QrCodeOperationResult {
    /// The status that the operation would have had alone.
    #[oai(validator(minimum(value = "200"), maximum(value = "599")))]
    status: u16,
    /// The code as it is now, created or updated.
    qr_code: Option<QrCode>,
    /// Why it was not done.
    problem: Option<Problem>,
}

/// What became of each operation.
#[derive(Debug, Object)]
struct QrCodeBulkResults {
    /// One result per operation, in the same order.
    results: Vec<QrCodeOperationResult>,
}

/// The routes of many QR codes at once.
#[derive(Debug)]
pub struct QrBulkApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl QrBulkApi {
    /// Change many QR codes
    ///
    /// Each operation keeps to the rules of its single call and has its status; one that is refused leaves the others
    /// alone. Webhooks are told of each as if it were made by itself.
    #[oai(path = "/qr/bulk", method = "post", operation_id = "changeQrCodes")]
    async fn change(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<QrCodeBulk, { BYTES_MAX }>,
        request: &Request,
    ) -> Result<Created<QrCodeBulkResults, 200>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let once = Once { operation: "changeQrCodes", key: key.0.as_deref(), hash: &input.hash };
        if let Some(before) = once.answered(app, caller).await? {
            return Ok(before);
        }
        let prepared = self.prepare(caller, input.value.operations).await?;
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        let id = request_id(request);
        let (ops, places) = bulk::sorted(prepared);
        let (tried, told) = batch::run(app, caller, &mut creation.tx, ops, id.clone()).await?;
        let answers = bulk::answers(places, tried);
        let left = answers.iter().filter_map(|answer| answer.as_ref().ok());
        let left = left.filter(|done| done.change != Change::Deleted).map(|done| done.code.clone()).collect();
        let mut shown = super::complete(app, &mut creation.tx, caller.org_id, left).await?.into_iter();
        let results = answers.into_iter().map(|answer| {
            let (status, qr_code, problem) = bulk::outcome(answer.map(|done| done.change), &mut shown, id.as_deref());
            QrCodeOperationResult { status, qr_code, problem }
        });
        let created = creation.finish(&QrCodeBulkResults { results: results.collect() }).await?;
        app.routes.forget_all(&told).await;
        Ok(created)
    }
}

impl QrBulkApi {
    /// Checks each operation as far as that goes without holding what is stored.
    async fn prepare(
        &self,
        caller: &Caller,
        operations: Vec<QrCodeOperation>,
    ) -> Result<Vec<Result<Op, Failure>>, Failure> {
        let app = &self.0;
        let passwords = operations.iter().filter(|operation| operation.sets_password()).count();
        bulk::check_count(operations.len(), passwords)?;
        let updated = operations.iter().filter(|operation| operation.changes.is_some());
        let updated: Vec<_> =
            updated.filter_map(|operation| Some(operation.id.as_deref()?.parse::<QrId>().ok()?.0)).collect();
        let rows = qr::find_all(&mut *app.store.pool().acquire().await?, &updated).await?;
        let rows = rows.into_iter().filter(|row| row.org_id == caller.org_id);
        let rows: HashMap<QrId, qr::QrCode> = rows.map(|row| (row.id, row)).collect();
        let checks = operations.into_iter().map(|operation| operation.check(app, caller, &rows));
        Ok(stream::iter(checks).buffered(CHECKED_AT_ONCE).collect().await)
    }
}

impl QrCodeOperation {
    fn sets_password(&self) -> bool {
        self.qr_code.as_ref().is_some_and(|code| code.password.is_some())
            || self.changes.as_ref().is_some_and(|changes| changes.password.is_value())
    }

    async fn check(self, app: &App, caller: &Caller, rows: &HashMap<QrId, qr::QrCode>) -> Result<Op, Failure> {
        match (self.op, self.id, self.qr_code, self.changes) {
            (OperationKind::Create, None, Some(code), None) => {
                Ok(Op::Create(Box::new(draft::new(app, caller, code).await?)))
            }
            (OperationKind::Update, Some(id), None, Some(changes)) => {
                let row = rows.get(&super::read(&id)?).cloned().ok_or_else(super::no_code)?;
                Ok(Op::Update(Box::new(Update::new(app, row, changes).await?)))
            }
            (OperationKind::Delete, Some(id), None, None) => Ok(Op::Delete(super::read(&id)?)),
            (op, ..) => Err(op.misfit("qrCode")),
        }
    }
}
