//! Changes of QR codes as routes make them: one or hundreds, by the same code, told to webhooks and to the processes that
//! redirect.
//!
//! Deletions come first, then updates, then creations, so that a code which a deletion gives back can be taken. Locks are
//! taken in one order (the turn of those who want several codes, links, the organisation where its plan has a limit, QR
//! codes, labels, codes), so that two who change many never wait for each other.

use std::collections::HashMap;

use domain::{
    caller::Caller,
    change::Change,
    code::{self, Target},
    conversion,
    id::QrId,
    link,
    plan::Quota,
    qr::{self, QrCode},
    quota,
    route::{self, Told},
};
use jobs::{qr::Done, store::Tx};
use sqlx::{Connection, PgConnection};

use super::{
    change::Update,
    draft::{self, Draft, New},
};
use crate::{app::App, failure::Failure, inkode::asked};

/// One change, checked as far as it can be without what is stored.
pub(super) enum Op {
    /// Store a new code.
    Create(Box<New>),
    /// Change a code.
    Update(Box<Update>),
    /// Remove a code.
    Delete(QrId),
}

impl Op {
    /// Whose turn it is.
    fn order(&self) -> (u8, &str) {
        match self {
            Self::Delete(_) => (0, ""),
            Self::Update(update) => (1, update.asked().short_code().unwrap_or("")),
            // Codes that nobody chose are nobody else's wish either.
            Self::Create(new) if !new.chosen => (2, ""),
            Self::Create(new) => (2, new.draft.code.short_code.as_deref().unwrap_or("")),
        }
    }

    /// Whether it may need room in the plan.
    fn takes_room(&self) -> bool {
        match self {
            Self::Create(new) => new.draft.code.is_dynamic(),
            Self::Update(update) => update.asked().restores(),
            Self::Delete(_) => false,
        }
    }

    fn code_id(&self) -> Option<QrId> {
        match self {
            Self::Create(_) => None,
            Self::Update(update) => Some(update.id()),
            Self::Delete(id) => Some(*id),
        }
    }
}

/// Makes the changes in the caller's transaction and publishes them; each that is refused leaves the others alone. The
/// answers are in the order of `ops`; behind the commit, this process is to forget the routes that come with them.
pub(super) async fn run(
    app: &App,
    caller: &Caller,
    tx: &mut Tx<'_>,
    ops: Vec<Op>,
    request_id: Option<String>,
) -> Result<(Vec<Result<Done, Failure>>, Told), Failure> {
    let mut batch = Batch::lock(app, caller, tx, &ops).await?;
    let mut answers: Vec<Option<Result<Done, Failure>>> = ops.iter().map(|_| None).collect();
    let mut turns: Vec<(usize, Op)> = ops.into_iter().enumerate().collect();
    turns.sort_by(|(_, a), (_, b)| a.order().cmp(&b.order()));
    for (n, op) in turns {
        let mut point = tx.begin().await?;
        let answer = batch.make(&mut point, op).await;
        match answer {
            Ok(_) => point.commit().await?,
            // What we cannot answer for is done again as a whole.
            Err(failure) if failure.status.is_server_error() => return Err(failure),
            Err(_) => point.rollback().await?,
        }
        answers[n] = Some(answer);
    }
    let answers: Vec<_> =
        answers.into_iter().map(|a| a.unwrap_or_else(|| Err(Failure::internal("a change was not answered")))).collect();
    let done: Vec<Done> = answers.iter().filter_map(|answer| answer.as_ref().ok().cloned()).collect();
    publish(app, tx, &done, request_id).await?;
    Ok((answers, batch.told))
}

/// The same with one change; where it is refused, the transaction is to be given up.
pub(super) async fn one(
    app: &App,
    caller: &Caller,
    tx: &mut Tx<'_>,
    op: Op,
    request_id: Option<String>,
) -> Result<(QrCode, Told), Failure> {
    let mut batch = Batch::lock(app, caller, tx, std::slice::from_ref(&op)).await?;
    let done = batch.make(tx, op).await?;
    publish(app, tx, std::slice::from_ref(&done), request_id).await?;
    Ok((done.code, batch.told))
}

async fn publish(app: &App, tx: &mut Tx<'_>, done: &[Done], request_id: Option<String>) -> Result<(), Failure> {
    let (base, now) = (&app.settings.short_url, app.clock.now());
    jobs::qr::publish(tx, done, base, request_id.as_deref(), now, &app.chance).await?;
    Ok(())
}

struct Batch<'a> {
    app: &'a App,
    caller: &'a Caller,
    /// What is to be changed, until it is.
    before: HashMap<QrId, QrCode>,
    /// What was there to be changed.
    known: Vec<QrId>,
    told: Told,
}

impl<'a> Batch<'a> {
    async fn lock(app: &'a App, caller: &'a Caller, conn: &mut PgConnection, ops: &[Op]) -> Result<Self, Failure> {
        let links = ops.iter().filter_map(|op| match op {
            Op::Create(new) => new.draft.code.link_id,
            Op::Update(update) => update.asked().link_id(),
            Op::Delete(_) => None,
        });
        // Of two calls that want several codes, one has all of its own before the other begins.
        if ops.iter().filter(|op| !op.order().1.is_empty()).count() > 1 {
            code::take_turn(conn).await?;
        }
        link::hold_many(conn, caller.org_id, &links.collect::<Vec<_>>()).await?;
        if ops.iter().any(Op::takes_room) {
            quota::lock(conn, caller.org_id, caller.plan, Quota::DynamicCodes).await?;
        }
        let ids: Vec<QrId> = ops.iter().filter_map(Op::code_id).collect();
        let before = qr::lock_many(conn, caller.org_id, &ids).await?;
        let known = before.iter().map(|code| code.id).collect();
        let before = before.into_iter().map(|code| (code.id, code)).collect();
        Ok(Self { app, caller, before, known, told: vec![] })
    }

    fn take(&mut self, id: QrId) -> Result<QrCode, Failure> {
        self.before.remove(&id).ok_or_else(|| match self.known.contains(&id) {
            true => Failure::conflict("code_twice", "An earlier operation of this call is of the same QR code."),
            false => super::no_code(),
        })
    }

    async fn make(&mut self, conn: &mut PgConnection, op: Op) -> Result<Done, Failure> {
        match op {
            Op::Create(new) => self.create(conn, *new).await,
            Op::Update(update) => self.update(conn, *update).await,
            Op::Delete(id) => self.delete(conn, id).await,
        }
    }

    async fn create(&mut self, conn: &mut PgConnection, new: New) -> Result<Done, Failure> {
        let New { mut draft, chosen } = new;
        draft::check_room(conn, self.caller, &draft.code).await?;
        let blank = QrCode { folder_id: None, tag_ids: vec![], link_id: None, ..draft.code.clone() };
        draft::check_known(conn, &draft.code, &blank).await?;
        match chosen {
            true => draft::take_code(conn, &draft.code).await?,
            false => draft::take_any_code(self.app, conn, &mut draft).await?,
        }
        qr::insert(conn, &draft.code, draft.logo.flatten().as_deref()).await?;
        self.tell(conn, &draft.code).await?;
        Ok(Done { change: Change::Created, before: None, code: draft.code })
    }

    async fn update(&mut self, conn: &mut PgConnection, update: Update) -> Result<Done, Failure> {
        let before = self.take(update.id())?;
        let draft = update.apply(self.app, conn, &before).await?;
        if before.is_dynamic() && before.archived_at.is_none() && draft.code.archived_at.is_none() {
            asked::check_edge(conn, self.caller, Quota::DynamicCodes, before.id.0).await?;
        }
        if before.archived_at.is_some() && draft.code.archived_at.is_none() {
            draft::check_room(conn, self.caller, &draft.code).await?;
        }
        draft::check_known(conn, &draft.code, &before).await?;
        let code = self.replace(conn, &before, draft).await?;
        Ok(Done { change: Change::Updated, before: Some(before), code })
    }

    async fn delete(&mut self, conn: &mut PgConnection, id: QrId) -> Result<Done, Failure> {
        let code = self.take(id)?;
        code::release(conn, code.org_id, Target::Qr(id)).await?;
        qr::delete(conn, code.org_id, id).await?;
        conversion::delete_of(conn, code.org_id, &[id.0]).await?;
        self.tell(conn, &code).await?;
        Ok(Done { change: Change::Deleted, before: None, code })
    }

    /// Stores a changed code, and takes its short code if that is another.
    async fn replace(&mut self, conn: &mut PgConnection, before: &QrCode, draft: Draft) -> Result<QrCode, Failure> {
        let code = draft.code;
        if (&code.domain, &code.short_code) != (&before.domain, &before.short_code) {
            code::release(conn, code.org_id, Target::Qr(code.id)).await?;
            draft::take_code(conn, &code).await?;
            self.tell(conn, before).await?;
        }
        qr::update(conn, &code, draft.logo.as_ref().map(|logo| logo.as_deref())).await?;
        self.tell(conn, &code).await?;
        Ok(code)
    }

    /// Tells every process that a dynamic code leads elsewhere now.
    async fn tell(&mut self, conn: &mut PgConnection, code: &QrCode) -> Result<(), sqlx::Error> {
        if let (Some(domain), Some(short_code)) = (&code.domain, &code.short_code) {
            self.told.extend(route::tell_changed(conn, &[(domain, short_code)]).await?);
        }
        Ok(())
    }
}
