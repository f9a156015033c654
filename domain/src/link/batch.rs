//! Changes of links, many at once: what a route does with one, a bulk call does with hundreds and an import with each
//! portion. The number of statements is the same however many there are, and each change ends by itself: one that is
//! refused leaves the others alone.
//!
//! Deletions come first, then updates, then creations, so that a code which a deletion gives back can be taken. Locks are
//! taken in one order (links by id, the organisation where its plan has a limit, QR codes by id, labels, domains, codes by
//! their text), so that two batches never wait for each other.

mod codes;
mod draft;
mod refused;
mod room;

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

pub use self::refused::Refused;
use self::{
    codes::Codes,
    draft::{Draft, new_labels},
    room::Room,
};
use super::{Link, count, delete_many, insert_many, lock_many, update_many};
use crate::{
    chance::Chance,
    change::Change,
    code, conversion, downgrade,
    id::{LabelId, LinkId, OrgId},
    label::{self, Kind},
    link_health, own_domain,
    plan::{Plan, Quota},
    qr::{self, QrCode},
    quota,
    route::{self, Told},
};

/// What a link's domain must be.
pub const DOMAIN_RULE: &str = "must be a domain of yours that is verified";
/// What a QR code must be to lead through a link.
pub const CODE_RULE: &str = "must be a dynamic QR code of yours";
/// How many codes are tried where nobody chose one.
const TRIES: usize = 8;

/// What is done to a link as it is under the lock; what it answers with an error is not done.
pub type Edit<E> = Box<dyn FnOnce(&mut Link) -> Result<(), E> + Send>;

/// One change.
pub enum Op<E> {
    /// Store a new link; without a code it gets one that is free.
    Create(Box<Link>),
    /// Change a link.
    Update(LinkId, Edit<E>),
    /// Remove a link.
    Delete(LinkId),
}

/// A change that was made.
#[derive(Debug, Clone)]
pub struct Done {
    /// Which kind.
    pub change: Change,
    /// What the link was, where it was changed.
    pub before: Option<Link>,
    /// What it is; what it was last, if it is gone.
    pub link: Link,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Ended<E> {
    /// The answers, in the order of the changes.
    pub answers: Vec<Result<Done, E>>,
    /// The codes that the processes that redirect were told of.
    pub told: Told,
    /// QR codes that lead through another link now, or through none: as they were, and as they are.
    pub led: Vec<(QrCode, QrCode)>,
}

/// Makes the changes in the caller's transaction; `base` is where the installation's own codes are reached. It ends
/// each of `ops` by itself.
pub async fn run<E: From<Refused>>(
    conn: &mut PgConnection,
    org_id: OrgId,
    plan: Plan,
    base: &str,
    ops: Vec<Op<E>>,
    chance: &Chance,
) -> Result<Ended<E>, sqlx::Error> {
    let mut batch =
        Batch { org_id, answers: ops.iter().map(|_| None).collect(), told: vec![], codes: HashMap::new(), led: vec![] };
    let (deletes, edits, creates) = batch.sort(conn, ops).await?;
    batch.delete(conn, deletes).await?;
    let updates = batch.edit(edits);
    let updates = batch.check_edge(conn, updates).await?;
    let makes_more = !creates.is_empty() || updates.iter().any(Draft::is_restored);
    let most = if makes_more { quota::lock(conn, org_id, plan, Quota::Links).await? } else { None };
    let mut room = Room { most, used: if most.is_some() { count(conn, org_id).await? } else { 0 } };
    let updates = batch.keep(updates, |draft| room.restore(draft));
    let (updates, creates) = batch.check_qr_codes(conn, updates, creates).await?;
    let (updates, creates) = batch.check_labels(conn, updates, creates).await?;
    let (updates, creates) = batch.check_domains(conn, updates, creates).await?;
    let (updates, creates) = batch.take_codes(conn, updates, creates, base, chance).await?;
    let (creates, refused): (Vec<_>, Vec<_>) = creates.into_iter().partition(|_| room.take());
    code::release_many(conn, org_id, &refused.iter().map(|draft| draft.link.id.0).collect::<Vec<_>>()).await?;
    for draft in refused {
        batch.refuse(draft.n, room.full());
    }
    insert_many(conn, &links_of(&creates)).await?;
    update_many(conn, &links_of(&updates)).await?;
    for draft in updates.iter().chain(&creates) {
        batch.attach(conn, draft).await?;
        link_health::follow(conn, draft.before.as_ref(), &draft.link, draft.link.updated_at).await?;
    }
    let drafts = updates.iter().chain(&creates);
    let changed: Vec<&Link> = drafts.flat_map(|draft| draft.before.iter().chain([&draft.link])).collect();
    batch.tell(conn, &changed).await?;
    for draft in updates {
        batch.finish(draft.n, Done { change: Change::Updated, before: draft.before, link: draft.link });
    }
    for draft in creates {
        batch.finish(draft.n, Done { change: Change::Created, before: None, link: draft.link });
    }
    let answers = batch.answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(Refused::Unknown.into())));
    Ok(Ended { answers: answers.collect(), told: batch.told, led: batch.led })
}

fn links_of(drafts: &[Draft]) -> Vec<&Link> {
    drafts.iter().map(|draft| &draft.link).collect()
}

type Edits<E> = Vec<(usize, Link, Edit<E>)>;

struct Batch<E> {
    org_id: OrgId,
    answers: Vec<Option<Result<Done, E>>>,
    told: Told,
    /// The QR codes that are to lead through links.
    codes: HashMap<Uuid, QrCode>,
    led: Vec<(QrCode, QrCode)>,
}

impl<E: From<Refused>> Batch<E> {
    fn refuse(&mut self, n: usize, refused: Refused) {
        self.answers[n] = Some(Err(refused.into()));
    }

    fn finish(&mut self, n: usize, done: Done) {
        self.answers[n] = Some(Ok(done));
    }

    /// Keeps the drafts that `rule` allows.
    fn keep(&mut self, drafts: Vec<Draft>, mut rule: impl FnMut(&Draft) -> Result<(), Refused>) -> Vec<Draft> {
        drafts
            .into_iter()
            .filter(|draft| match rule(draft) {
                Ok(()) => true,
                Err(refused) => {
                    self.refuse(draft.n, refused);
                    false
                }
            })
            .collect()
    }

    /// Sorts the changes by kind, with the links that they are of, which are locked.
    async fn sort(
        &mut self,
        conn: &mut PgConnection,
        ops: Vec<Op<E>>,
    ) -> Result<(Vec<(usize, Link)>, Edits<E>, Vec<Draft>), sqlx::Error> {
        let ids: HashSet<LinkId> = ops
            .iter()
            .filter_map(|op| match op {
                Op::Update(id, _) | Op::Delete(id) => Some(*id),
                Op::Create(_) => None,
            })
            .collect();
        let locked = lock_many(conn, self.org_id, &ids.iter().copied().collect::<Vec<_>>()).await?;
        let mut locked: HashMap<LinkId, Link> = locked.into_iter().map(|link| (link.id, link)).collect();
        let known: HashSet<LinkId> = locked.keys().copied().collect();
        let (mut deletes, mut edits, mut creates) = (vec![], vec![], vec![]);
        for (n, op) in ops.into_iter().enumerate() {
            let id = match op {
                Op::Create(link) => {
                    creates.push(Draft { n, before: None, link: *link });
                    continue;
                }
                Op::Update(id, edit) => match locked.remove(&id) {
                    Some(link) => {
                        edits.push((n, link, edit));
                        continue;
                    }
                    None => id,
                },
                Op::Delete(id) => match locked.remove(&id) {
                    Some(link) => {
                        deletes.push((n, link));
                        continue;
                    }
                    None => id,
                },
            };
            self.refuse(n, if known.contains(&id) { Refused::Twice } else { Refused::Unknown });
        }
        Ok((deletes, edits, creates))
    }

    async fn delete(&mut self, conn: &mut PgConnection, links: Vec<(usize, Link)>) -> Result<(), sqlx::Error> {
        let ids: Vec<Uuid> = links.iter().map(|(_, link)| link.id.0).collect();
        // Before they are gone, and with them the knowledge which QR codes lead through them.
        self.tell(conn, &links.iter().map(|(_, link)| link).collect::<Vec<_>>()).await?;
        let codes = if ids.is_empty() { vec![] } else { qr::lock_through(conn, self.org_id, &ids).await? };
        self.led.extend(codes.into_iter().map(|code| (code.clone(), QrCode { link_id: None, ..code })));
        code::release_many(conn, self.org_id, &ids).await?;
        delete_many(conn, self.org_id, &ids).await?;
        conversion::delete_of(conn, self.org_id, &ids).await?;
        for (n, link) in links {
            self.finish(n, Done { change: Change::Deleted, before: None, link });
        }
        Ok(())
    }

    fn edit(&mut self, edits: Edits<E>) -> Vec<Draft> {
        let mut drafts = vec![];
        for (n, before, edit) in edits {
            let mut link = before.clone();
            match edit(&mut link) {
                Ok(()) => drafts.push(Draft { n, before: Some(before), link }),
                Err(error) => self.answers[n] = Some(Err(error)),
            }
        }
        drafts
    }

    /// Refuses changes of links that are beyond the plan, but for putting them away.
    async fn check_edge(&mut self, conn: &mut PgConnection, updates: Vec<Draft>) -> Result<Vec<Draft>, sqlx::Error> {
        let asked = updates.iter().any(Draft::stays_in_use);
        let edge = if asked { downgrade::edge(conn, self.org_id, Quota::Links).await? } else { None };
        let Some(edge) = edge else { return Ok(updates) };
        Ok(self.keep(updates, |draft| match draft.stays_in_use() {
            true => edge.check(draft.link.id.0).map_err(Into::into),
            false => Ok(()),
        }))
    }

    /// Refuses links with a folder or tag that is new to them and is none of the organisation's, or put away.
    async fn check_labels(
        &mut self,
        conn: &mut PgConnection,
        updates: Vec<Draft>,
        creates: Vec<Draft>,
    ) -> Result<(Vec<Draft>, Vec<Draft>), sqlx::Error> {
        let (folders, tags) = new_labels(updates.iter().chain(&creates));
        let folders = known(conn, self.org_id, Kind::Folder, folders).await?;
        let tags = known(conn, self.org_id, Kind::Tag, tags).await?;
        let rule = |draft: &Draft| draft.check_labels(&folders, &tags);
        Ok((self.keep(updates, rule), self.keep(creates, rule)))
    }

    /// Refuses QR codes that are to lead through a link and cannot, and holds those that can.
    async fn check_qr_codes(
        &mut self,
        conn: &mut PgConnection,
        updates: Vec<Draft>,
        creates: Vec<Draft>,
    ) -> Result<(Vec<Draft>, Vec<Draft>), sqlx::Error> {
        let asked: Vec<Uuid> = updates.iter().chain(&creates).flat_map(Draft::new_qr_codes).collect();
        if asked.is_empty() {
            return Ok((updates, creates));
        }
        let known: HashMap<Uuid, QrCode> =
            qr::lock_dynamic(conn, self.org_id, &asked).await?.into_iter().map(|code| (code.id.0, code)).collect();
        let edge = downgrade::edge(conn, self.org_id, Quota::DynamicCodes).await?;
        let rule = |draft: &Draft| {
            if !draft.new_qr_codes().all(|id| known.contains_key(&id)) {
                return Err(Refused::QrCode);
            }
            // Another way to change them.
            let check = |id| edge.map_or(Ok(()), |edge| edge.check(id));
            Ok(draft.new_qr_codes().try_for_each(check)?)
        };
        let kept = (self.keep(updates, rule), self.keep(creates, rule));
        self.codes = known;
        Ok(kept)
    }

    /// Has the QR codes that are new to a link lead through it.
    async fn attach(&mut self, conn: &mut PgConnection, draft: &Draft) -> Result<(), sqlx::Error> {
        let (codes, at): (Vec<Uuid>, _) = (draft.new_qr_codes().collect(), draft.link.updated_at);
        qr::attach(conn, self.org_id, draft.link.id, &codes, at).await?;
        for id in codes {
            let Some(before) = self.codes.get(&id).cloned() else { continue };
            let after = QrCode { link_id: Some(draft.link.id), updated_at: at, ..before.clone() };
            // A later link of the same batch takes it from here.
            self.codes.insert(id, after.clone());
            self.led.push((before, after));
        }
        Ok(())
    }

    /// Refuses codes on a domain that is not the organisation's, and holds those that are until the transaction ends.
    async fn check_domains(
        &mut self,
        conn: &mut PgConnection,
        updates: Vec<Draft>,
        creates: Vec<Draft>,
    ) -> Result<(Vec<Draft>, Vec<Draft>), sqlx::Error> {
        let mut held = BTreeMap::from([(String::new(), true)]);
        for draft in updates.iter().chain(&creates).filter(|draft| draft.moves()) {
            let name = &draft.link.domain;
            if !held.contains_key(name) {
                held.insert(name.clone(), own_domain::hold(conn, self.org_id, name).await?);
            }
        }
        let rule = |draft: &Draft| match !draft.moves() || held[&draft.link.domain] {
            true => Ok(()),
            false => Err(Refused::Domain),
        };
        Ok((self.keep(updates, rule), self.keep(creates, rule)))
    }

    /// Takes the codes of new links and of those that change theirs.
    async fn take_codes(
        &mut self,
        conn: &mut PgConnection,
        updates: Vec<Draft>,
        mut creates: Vec<Draft>,
        base: &str,
        chance: &Chance,
    ) -> Result<(Vec<Draft>, Vec<Draft>), sqlx::Error> {
        let mut codes = Codes::new(&updates, &creates);
        code::release_many(conn, self.org_id, &codes.moving).await?;
        let wishes = codes.wishes(&updates, &mut creates, chance);
        let mut taken = code::take_many(conn, self.org_id, &wishes).await?;
        for _ in 1..TRIES {
            codes.got(taken);
            let wishes = codes.again(&mut creates, chance);
            if wishes.is_empty() {
                break;
            }
            taken = code::take_many(conn, self.org_id, &wishes).await?;
        }
        let back = codes.back(&updates);
        code::take_many(conn, self.org_id, &back).await?;
        let rule = |draft: &Draft| codes.rule(draft, base);
        Ok((self.keep(updates, rule), self.keep(creates, rule)))
    }

    /// Tells the processes that redirect.
    async fn tell(&mut self, conn: &mut PgConnection, links: &[&Link]) -> Result<(), sqlx::Error> {
        let codes: Vec<(&str, &str)> = links.iter().map(|link| (link.domain.as_str(), link.slug.as_str())).collect();
        self.told.extend(route::tell_changed(conn, &codes).await?);
        Ok(())
    }
}

async fn known(
    conn: &mut PgConnection,
    org_id: OrgId,
    kind: Kind,
    asked: HashSet<LabelId>,
) -> Result<HashSet<LabelId>, sqlx::Error> {
    if asked.is_empty() {
        return Ok(asked);
    }
    let asked: Vec<LabelId> = asked.into_iter().collect();
    Ok(label::lock_known(conn, org_id, kind, &asked).await?.into_iter().collect())
}
