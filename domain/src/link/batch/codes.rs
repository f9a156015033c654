//! Codes within a batch: who wishes for which, who gets it, and what goes back.

use std::collections::HashSet;

use uuid::Uuid;

use super::{Draft, Refused};
use crate::{
    chance::Chance,
    code::{self, Code, Wish},
    link::Link,
};

/// Who has which code.
pub(super) struct Codes {
    /// Links that change theirs.
    pub(super) moving: Vec<Uuid>,
    /// What these have, and get back if the new one is taken; so nobody else of the batch may have it.
    kept: HashSet<(String, String)>,
    /// Links whose code nobody chose.
    any: HashSet<Uuid>,
    taken: HashSet<Uuid>,
}

impl Codes {
    pub(super) fn new(updates: &[Draft], creates: &[Draft]) -> Self {
        let moving: Vec<&Draft> = updates.iter().filter(|draft| draft.moves()).collect();
        let before = moving.iter().filter_map(|draft| draft.before.as_ref());
        Self {
            kept: before.map(|before| (before.domain.clone(), before.slug.clone())).collect(),
            moving: moving.iter().map(|draft| draft.link.id.0).collect(),
            any: creates.iter().filter(|draft| draft.link.slug.is_empty()).map(|draft| draft.link.id.0).collect(),
            taken: HashSet::new(),
        }
    }

    /// What everybody wishes for.
    pub(super) fn wishes<'d>(&self, updates: &'d [Draft], creates: &'d mut [Draft], chance: &Chance) -> Vec<Wish<'d>> {
        self.draw(creates, chance);
        let asking = updates.iter().filter(|draft| draft.moves()).chain(creates.iter());
        asking.map(|draft| wish(&draft.link)).filter(|wish| !self.is_kept(wish)).collect()
    }

    /// What those wish for who have nothing and take anything.
    pub(super) fn again<'d>(&self, creates: &'d mut [Draft], chance: &Chance) -> Vec<Wish<'d>> {
        self.draw(creates, chance);
        let without = creates.iter().filter(|draft| self.is_without(draft));
        without.map(|draft| wish(&draft.link)).filter(|wish| !self.is_kept(wish)).collect()
    }

    pub(super) fn got(&mut self, taken: Vec<Uuid>) {
        self.taken.extend(taken);
    }

    /// What those had who wished for something that is taken.
    pub(super) fn back<'d>(&self, updates: &'d [Draft]) -> Vec<Wish<'d>> {
        let left = updates.iter().filter(|draft| draft.moves() && !self.taken.contains(&draft.link.id.0));
        left.filter_map(|draft| draft.before.as_ref()).map(wish).collect()
    }

    fn draw(&self, creates: &mut [Draft], chance: &Chance) {
        for draft in creates.iter_mut().filter(|draft| self.is_without(draft)) {
            draft.link.slug = Code::random(chance).to_string();
        }
    }

    fn is_without(&self, draft: &Draft) -> bool {
        let id = draft.link.id.0;
        self.any.contains(&id) && !self.taken.contains(&id)
    }

    fn is_kept(&self, wish: &Wish<'_>) -> bool {
        self.kept.contains(&(wish.domain.to_owned(), wish.code.to_owned()))
    }

    pub(super) fn rule(&self, draft: &Draft, base: &str) -> Result<(), Refused> {
        if !draft.moves() || self.taken.contains(&draft.link.id.0) {
            return Ok(());
        }
        let Link { domain, slug, .. } = &draft.link;
        let taken = || Refused::Taken { slug: slug.clone(), address: code::address(base, domain, slug) };
        Err(if self.is_without(draft) { Refused::NoCode } else { taken() })
    }
}

fn wish(link: &Link) -> Wish<'_> {
    Wish { domain: &link.domain, code: &link.slug, target: code::Target::Link(link.id) }
}
