//! Changes of links as routes make them: one or hundreds, by the same code, told to webhooks and to the processes that
//! redirect.

use domain::{
    caller::Caller,
    change::Change::Updated,
    link::batch::{self, CODE_RULE, DOMAIN_RULE, Done, Edit, Ended, Op, Refused},
    route::Told,
};
use jobs::{qr, store::Tx};

use super::draft::Change;
use crate::{
    app::App,
    failure::{Failure, FieldError},
};

/// Makes the changes in the caller's transaction and publishes them. Behind the commit, this process is to forget the routes
/// that come with them; the others were told.
pub(super) async fn run(
    app: &App,
    caller: &Caller,
    tx: &mut Tx<'_>,
    ops: Vec<Op<Failure>>,
    request_id: Option<String>,
) -> Result<(Vec<Result<Done, Failure>>, Told), Failure> {
    let base = &app.settings.short_url;
    let Ended { answers, told, led } = batch::run(tx, caller.org_id, caller.plan, base, ops, &app.chance).await?;
    let done: Vec<&Done> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    let now = app.clock.now();
    jobs::link::publish(tx, &done, base, request_id.as_deref(), now, &app.chance).await?;
    let led: Vec<_> =
        led.into_iter().map(|(before, code)| qr::Done { change: Updated, before: Some(before), code }).collect();
    if !led.is_empty() {
        qr::publish(tx, &led, base, request_id.as_deref(), now, &app.chance).await?;
    }
    Ok((answers, told))
}

/// The same with one change.
pub(super) async fn one(
    app: &App,
    caller: &Caller,
    tx: &mut Tx<'_>,
    op: Op<Failure>,
    request_id: Option<String>,
) -> Result<(Done, Told), Failure> {
    let (answers, told) = run(app, caller, tx, vec![op], request_id).await?;
    let done = answers.into_iter().next().unwrap_or_else(|| Err(Failure::internal("a change was not answered")))?;
    Ok((done, told))
}

/// A change that was checked, to be made under the lock.
pub(super) fn edit(app: &App, change: Change) -> Edit<Failure> {
    let (now, chance) = (app.clock.now(), app.chance.clone());
    Box::new(move |link| change.apply(link, now, &chance))
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::not_found("link"),
            Refused::Twice => Self::conflict("link_twice", "An earlier operation of this call is of the same link."),
            Refused::Domain => Self::field("domain", DOMAIN_RULE),
            Refused::QrCode => Self::field("qrCodeId", CODE_RULE),
            Refused::Taken { .. } => Self::conflict("slug_taken", refused.to_string()),
            Refused::NoCode => Self::internal("no free code was found"),
            Refused::Labels(wrong) => {
                Self::invalid(wrong.into_iter().map(|(field, rule)| FieldError::new(field, rule)).collect())
            }
            Refused::Full(full) => full.into(),
            Refused::Beyond(beyond) => beyond.into(),
        }
    }
}
