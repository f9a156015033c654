//! `POST /api/links/bulk`: up to 500 changes of links in one call and one transaction, with an answer for each.

use domain::{caller::Caller, change::Change, link::batch::Op};
use poem::Request;
use poem_openapi::{Object, OpenApi, param::Header, types::Example};
use serde::Deserialize;

use super::{
    batch, draft,
    shape::{self, ShortLink, ShortLinkInput, ShortLinkPatch},
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

/// Up to 500 operations. Deletions come first, then updates, then creations; a link can be in one of them only.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
struct LinkBulk {
    /// The operations.
    #[oai(validator(min_items = 1, max_items = 500))]
    operations: Vec<LinkOperation>,
}

/// One operation.
#[derive(Debug, Object, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
struct LinkOperation {
    /// What it does.
    #[serde(deserialize_with = "input::required_word")]
    op: OperationKind,
    /// The link; with `update` and `delete`.
    id: Option<Text<text::LinkId>>,
    /// The new link; with `create`.
    link: Option<ShortLinkInput>,
    /// What changes, as when one link is updated; with `update`.
    changes: Option<ShortLinkPatch>,
}

input::objects!(LinkOperation);

impl Example for LinkBulk {
    fn example() -> Self {
        let operation = |op| LinkOperation { op, id: None, link: None, changes: None };
        let id = || Some("link_01M7YTM8APEC1AZXZFS492W0DN".into());
        Self {
            operations: vec![
                LinkOperation { link: Some(ShortLinkInput::example()), ..operation(OperationKind::Create) },
                LinkOperation {
                    id: id(),
                    changes: Some(ShortLinkPatch::example()),
                    ..operation(OperationKind::Update)
                },
            ],
        }
    }
}

/// What became of an operation.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct LinkOperationResult {
    /// The status that the operation would have had alone.
    #[oai(validator(minimum(value = "200"), maximum(value = "599")))]
    status: u16,
    /// The link as it is now, created or updated.
    link: Option<ShortLink>,
    /// Why it was not done.
    problem: Option<Problem>,
}

/// What became of each operation.
#[derive(Debug, Object)]
struct LinkBulkResults {
    /// One result per operation, in the same order.
    results: Vec<LinkOperationResult>,
}

/// The routes of many links at once.
#[derive(Debug)]
pub struct LinkBulkApi(pub App);

#[OpenApi(prefix_path = "/api", tag = "Tag::Workspace")]
impl LinkBulkApi {
    /// Change many short links
    ///
    /// Creates, updates and deletes up to 500 links in one transaction. An operation that is refused says why and leaves
    /// the others alone. Webhooks are told of each as if it were made by itself.
    #[oai(path = "/links/bulk", method = "post", operation_id = "changeLinks")]
    async fn change(
        &self,
        auth: Auth<Session>,
        /// Makes a repeated request safe: the same key within a day gets the same answer.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<Text<text::IdempotencyKey>>>,
        input: Input<LinkBulk, { BYTES_MAX }>,
        request: &Request,
    ) -> Result<Created<LinkBulkResults, 200>, Failed<Own>> {
        let (app, caller) = (&self.0, &auth.0);
        let once = Once { operation: "changeLinks", key: key.0.as_deref(), hash: &input.hash };
        if let Some(before) = once.answered(app, caller).await? {
            return Ok(before);
        }
        let prepared = prepare(app, caller, input.value.operations).await?;
        let mut creation = match once.begin(app, caller).await? {
            Begun::Before(before) => return Ok(before),
            Begun::Fresh(creation) => creation,
        };
        let id = request_id(request);
        let (ops, places) = bulk::sorted(prepared);
        let (done, told) = batch::run(app, caller, &mut creation.tx, ops, id.clone()).await?;
        let answers = bulk::answers(places, done);
        let made = answers.iter().filter_map(|answer| answer.as_ref().ok());
        let left = made.filter(|done| done.change != Change::Deleted).map(|done| done.link.clone()).collect();
        let mut shown = shape::complete(app, &mut creation.tx, caller.org_id, left).await?.into_iter();
        let results = answers.into_iter().map(|answer| {
            let (status, link, problem) = bulk::outcome(answer.map(|done| done.change), &mut shown, id.as_deref());
            LinkOperationResult { status, link, problem }
        });
        let created = creation.finish(&LinkBulkResults { results: results.collect() }).await?;
        app.routes.forget_all(&told).await;
        Ok(created)
    }
}

/// Checks each operation as far as that goes without what is stored.
async fn prepare(
    app: &App,
    caller: &Caller,
    operations: Vec<LinkOperation>,
) -> Result<Vec<Result<Op<Failure>, Failure>>, Failure> {
    let passwords = operations.iter().filter(|operation| operation.sets_password()).count();
    bulk::check_count(operations.len(), passwords)?;
    let mut prepared = Vec::with_capacity(operations.len());
    for operation in operations {
        prepared.push(operation.check(app, caller).await);
    }
    Ok(prepared)
}

impl LinkOperation {
    fn sets_password(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.password.is_some())
            || self.changes.as_ref().is_some_and(|changes| changes.password.is_value())
    }

    async fn check(self, app: &App, caller: &Caller) -> Result<Op<Failure>, Failure> {
        match (self.op, self.id, self.link, self.changes) {
            (OperationKind::Create, None, Some(link), None) => {
                Ok(Op::Create(Box::new(draft::new(app, caller, link).await?)))
            }
            (OperationKind::Update, Some(id), None, Some(changes)) => {
                let (id, change) = (super::read(&id)?, draft::change(app, changes).await?);
                Ok(Op::Update(id, batch::edit(app, change)))
            }
            (OperationKind::Delete, Some(id), None, None) => Ok(Op::Delete(super::read(&id)?)),
            (op, ..) => Err(op.misfit("link")),
        }
    }
}
