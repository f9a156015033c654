//! What a caller asks of a link page, checked: every field that breaks a rule is named, and only then is anything stored.

use chrono::{DateTime, Utc};
use domain::{
    caller::Caller,
    code::Code,
    id::{LinkId, LinkPageId},
    link::check_destination,
    link_page::{self, DESCRIPTION_MAX, ENTRIES_MAX, Entry, LinkPage, TITLE_MAX, Target, Theme},
    routing::is_language,
};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::shape::{LinkPageEntry, LinkPageInput, LinkPagePatch};
use crate::{
    app::App,
    failure::{Failure, FieldError},
    inkode::asked::{given, length, opened},
};

/// How many addresses are tried where nobody chose one.
const TRIES: usize = 8;
/// The language where none is given.
const LANGUAGE: &str = "en";

/// A change, checked as far as it can be without the page.
pub(super) struct Change {
    slug: Option<String>,
    title: Option<String>,
    description: Option<String>,
    language: Option<String>,
    theme: Option<Option<Theme>>,
    entries: Option<Vec<Entry>>,
    active: Option<bool>,
}

/// Checks a new page; it has its id and no address yet where none was chosen.
pub(super) fn new(app: &App, caller: &Caller, input: LinkPageInput) -> Result<(LinkPage, Vec<Entry>), Failure> {
    let now = app.clock.now();
    let change = change(LinkPagePatch {
        slug: input.slug,
        title: Some(input.title),
        description: input.description,
        language: input.language,
        theme: given(input.theme),
        entries: input.entries,
        active: input.active,
    })?;
    let mut page = LinkPage {
        id: LinkPageId::new(now, &app.chance),
        org_id: caller.org_id,
        slug: String::new(),
        title: String::new(),
        description: String::new(),
        language: LANGUAGE.into(),
        theme: None,
        active: true,
        created_by: Some(caller.user_id),
        created_at: now,
        updated_at: now,
    };
    let entries = change.apply(&mut page, now).unwrap_or_default();
    Ok((page, entries))
}

/// Checks a change.
pub(super) fn change(patch: LinkPagePatch) -> Result<Change, Failure> {
    let theme = opened(patch.theme).map(|theme| theme.map(Theme::from));
    let mut wrong = vec![];
    let mut rule = |field: &str, broken: Option<String>| {
        wrong.extend(broken.map(|message| FieldError::new(field, message)));
    };
    rule("slug", patch.slug.as_deref().and_then(|text| Some(text.parse::<Code>().err()?.to_string())));
    rule("title", patch.title.as_deref().and_then(title));
    rule("description", patch.description.as_deref().and_then(|text| length(text, 0, DESCRIPTION_MAX)));
    let language = patch.language.as_deref().filter(|text| !is_language(text));
    rule("language", language.map(|_| "must be a language such as de or pt-BR".into()));
    for (field, broken) in theme.iter().flatten().flat_map(Theme::broken) {
        rule(&format!("theme.{field}"), Some(broken));
    }
    let entries = patch.entries.map(|entries| self::entries(entries, &mut rule));
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong));
    }
    Ok(Change {
        slug: patch.slug.map(Into::into),
        title: patch.title.map(Into::into),
        description: patch.description.map(Into::into),
        language: patch.language.map(Into::into),
        theme,
        entries,
        active: patch.active,
    })
}

fn title(text: &str) -> Option<String> {
    let blank = text.trim().is_empty().then(|| "must not be empty".to_owned());
    length(text, 1, TITLE_MAX).or(blank)
}

/// Reads entries; `rule` takes what they break.
fn entries(given: Vec<LinkPageEntry>, rule: &mut impl FnMut(&str, Option<String>)) -> Vec<Entry> {
    rule("entries", (given.len() > ENTRIES_MAX).then(|| format!("must be at most {ENTRIES_MAX}")));
    let mut entries = vec![];
    for (n, entry) in given.into_iter().take(ENTRIES_MAX).enumerate() {
        let of = |field: &str| format!("entries[{n}].{field}");
        rule(&of("title"), title(&entry.title));
        let target = match (entry.link_id, entry.url) {
            (Some(id), None) => {
                let id = id.parse::<LinkId>();
                rule(&of("linkId"), id.is_err().then(|| "must be the id of a link".into()));
                id.ok().map(Target::Link)
            }
            (None, Some(url)) => {
                rule(&of("url"), check_destination(&url).err());
                Some(Target::Url(url.into()))
            }
            (Some(_), Some(_)) => {
                rule(&of("url"), Some("must not be given with linkId".into()));
                None
            }
            (None, None) => {
                rule(&of("url"), Some("must be given, or linkId".into()));
                None
            }
        };
        entries.extend(target.map(|target| Entry { title: entry.title.into(), target }));
    }
    entries
}

impl Change {
    /// Makes the change in `page`; gives the entries back, if they change.
    pub(super) fn apply(self, page: &mut LinkPage, now: DateTime<Utc>) -> Option<Vec<Entry>> {
        let put = |place: &mut String, value: Option<String>| {
            if let Some(value) = value {
                *place = value;
            }
        };
        put(&mut page.slug, self.slug);
        put(&mut page.title, self.title);
        put(&mut page.description, self.description);
        put(&mut page.language, self.language);
        if let Some(theme) = self.theme {
            page.theme = theme.filter(|theme| *theme != Theme::default()).map(Json);
        }
        page.active = self.active.unwrap_or(page.active);
        page.updated_at = now;
        self.entries
    }
}

/// Stores a new page with its entries.
pub(super) async fn store(
    app: &App,
    conn: &mut PgConnection,
    mut page: LinkPage,
    entries: &[Entry],
) -> Result<LinkPage, Failure> {
    if page.slug.is_empty() {
        for _ in 0..TRIES {
            page.slug = Code::random(&app.chance).as_str().to_owned();
            if link_page::insert(conn, &page).await? {
                put_entries(conn, &page, entries).await?;
                return Ok(page);
            }
        }
        return Err(Failure::internal("no free address was found"));
    }
    if !link_page::insert(conn, &page).await? {
        return Err(taken(&page));
    }
    put_entries(conn, &page, entries).await?;
    Ok(page)
}

/// Stores a changed page, and its entries where they change.
pub(super) async fn restore(
    conn: &mut PgConnection,
    page: &LinkPage,
    entries: Option<&[Entry]>,
) -> Result<(), Failure> {
    if let Some(entries) = entries {
        put_entries(conn, page, entries).await?;
    }
    if link_page::update(conn, page).await? { Ok(()) } else { Err(taken(page)) }
}

fn taken(page: &LinkPage) -> Failure {
    Failure::conflict("slug_taken", format!("The slug {} is taken by another link page.", page.slug))
}

/// Refuses entries of links that are none of the organisation's.
async fn put_entries(conn: &mut PgConnection, page: &LinkPage, entries: &[Entry]) -> Result<(), Failure> {
    let of = |entry: &Entry| match entry.target {
        Target::Link(id) => Some(id.0),
        Target::Url(_) => None,
    };
    let links: Vec<Uuid> = entries.iter().filter_map(of).collect();
    let known = link_page::hold_links(conn, page.org_id, &links).await?;
    let unknown = entries.iter().enumerate().filter(|(_, entry)| of(entry).is_some_and(|id| !known.contains(&id)));
    let wrong: Vec<FieldError> =
        unknown.map(|(n, _)| FieldError::new(format!("entries[{n}].linkId"), "must be a link of yours")).collect();
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong));
    }
    link_page::put_entries(conn, page, entries).await?;
    Ok(())
}
