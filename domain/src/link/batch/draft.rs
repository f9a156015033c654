//! Links that are about to be stored, and what is new to them.

use std::collections::HashSet;

use uuid::Uuid;

use super::Refused;
use crate::{id::LabelId, label::Kind, link::Link};

/// A link that is about to be stored.
pub(super) struct Draft {
    /// The place of its change.
    pub(super) n: usize,
    pub(super) before: Option<Link>,
    pub(super) link: Link,
}

impl Draft {
    pub(super) fn is_restored(&self) -> bool {
        self.link.archived_at.is_none() && self.before.as_ref().is_some_and(|before| before.archived_at.is_some())
    }

    /// Whether it was in use and is to be in use.
    pub(super) fn stays_in_use(&self) -> bool {
        self.link.archived_at.is_none() && self.before.as_ref().is_some_and(|before| before.archived_at.is_none())
    }

    pub(super) fn new_folder(&self) -> Option<LabelId> {
        let before = self.before.as_ref().and_then(|before| before.folder_id);
        self.link.folder_id.filter(|_| self.link.folder_id != before)
    }

    pub(super) fn new_tags(&self) -> impl Iterator<Item = (usize, LabelId)> {
        let is_old = |id: &Uuid| self.before.as_ref().is_some_and(|before| before.tag_ids.contains(id));
        self.link.tag_ids.iter().enumerate().filter(move |(_, id)| !is_old(id)).map(|(n, id)| (n, LabelId(*id)))
    }

    pub(super) fn new_qr_codes(&self) -> impl Iterator<Item = Uuid> {
        let is_old = |id: &Uuid| self.before.as_ref().is_some_and(|before| before.qr_ids.contains(id));
        self.link.qr_ids.iter().copied().filter(move |id| !is_old(id))
    }

    pub(super) fn check_labels(&self, folders: &HashSet<LabelId>, tags: &HashSet<LabelId>) -> Result<(), Refused> {
        let mut wrong = vec![];
        if self.new_folder().is_some_and(|id| !folders.contains(&id)) {
            wrong.push(("folderId".to_owned(), Kind::Folder.rule()));
        }
        let unknown = self.new_tags().filter(|(_, id)| !tags.contains(id));
        wrong.extend(unknown.map(|(n, _)| (format!("tagIds[{n}]"), Kind::Tag.rule())));
        if wrong.is_empty() { Ok(()) } else { Err(Refused::Labels(wrong)) }
    }

    pub(super) fn moves(&self) -> bool {
        self.before.as_ref().is_none_or(|before| (&before.domain, &before.slug) != (&self.link.domain, &self.link.slug))
    }
}

/// The folders and tags that are new to their links.
pub(super) fn new_labels<'d>(drafts: impl Iterator<Item = &'d Draft>) -> (HashSet<LabelId>, HashSet<LabelId>) {
    let (mut folders, mut tags) = (HashSet::new(), HashSet::new());
    for draft in drafts {
        folders.extend(draft.new_folder());
        tags.extend(draft.new_tags().map(|(_, id)| id));
    }
    (folders, tags)
}
