//! Short links on the wire.

use chrono::{DateTime, Utc};
use domain::{
    code, downgrade,
    id::{OrgId, QrId},
    label::Kind,
    link::Link,
    link_page,
    plan::Quota,
    utm::Utm,
    visit,
};
use poem_openapi::{Enum, Object, types::MaybeUndefined};
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{super::link_page::LinkPageOfLink, health::LinkHealth, routing::LinkRouting};
use crate::{
    app::App,
    input,
    text::{self, Text},
    timestamp::{self, Timestamp},
};

/// What a link adds to its destination. A field that is not given or empty adds nothing.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(remote = "Self")]
pub(super) struct UtmFields {
    /// `utm_source`.
    pub(super) source: Option<Text<text::Name>>,
    /// `utm_medium`.
    pub(super) medium: Option<Text<text::Name>>,
    /// `utm_campaign`.
    pub(super) campaign: Option<Text<text::Name>>,
    /// `utm_term`.
    pub(super) term: Option<Text<text::Name>>,
    /// `utm_content`.
    pub(super) content: Option<Text<text::Name>>,
}

input::objects!(UtmFields);

impl From<UtmFields> for Utm {
    fn from(fields: UtmFields) -> Self {
        let UtmFields { source, medium, campaign, term, content } = fields;
        let plain = |text: Option<Text<text::Name>>| text.map(String::from).filter(|text| !text.is_empty());
        Self {
            source: plain(source),
            medium: plain(medium),
            campaign: plain(campaign),
            term: plain(term),
            content: plain(content),
        }
    }
}

impl From<Utm> for UtmFields {
    fn from(utm: Utm) -> Self {
        let Utm { source, medium, campaign, term, content } = utm;
        let text = |plain: Option<String>| plain.map(Text::from);
        Self {
            source: text(source),
            medium: text(medium),
            campaign: text(campaign),
            term: text(term),
            content: text(content),
        }
    }
}

/// A new short link.
#[derive(Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub(super) struct ShortLinkInput {
    /// Where it leads.
    pub(super) destination: Text<text::Destination>,
    /// The own domain that its code stands on, which must be proven; the installation's own if not given.
    pub(super) domain: Option<Text<text::DomainName>>,
    /// Whether the destination is asked now and then whether it answers; `false` if not given.
    pub(super) health_check: Option<bool>,
    /// Where the link leads while its health is `failing`.
    pub(super) fallback_destination: Option<Text<text::Destination>>,
    /// Its code; one of seven characters is made if not given. Upper and lower case are told apart.
    pub(super) slug: Option<Text<text::Slug>>,
    /// What it is called.
    pub(super) title: Option<Text<text::Name>>,
    /// What it adds to its destination.
    pub(super) utm: Option<UtmFields>,
    /// Where else it leads, and whom.
    pub(super) routing: Option<LinkRouting>,
    /// What visitors must know, 1 to 200 characters.
    pub(super) password: Option<Text<text::Password>>,
    /// Switched on; `true` if not given.
    pub(super) active: Option<bool>,
    /// From when on it leads anywhere.
    #[serde(default, deserialize_with = "timestamp::read")]
    pub(super) starts_at: Option<DateTime<Utc>>,
    /// Until when.
    #[serde(default, deserialize_with = "timestamp::read")]
    pub(super) expires_at: Option<DateTime<Utc>>,
    /// After how many visits it ends.
    #[oai(validator(minimum(value = "1")))]
    pub(super) max_visits: Option<i64>,
    /// Its folder.
    pub(super) folder_id: Option<Text<text::FolderId>>,
    /// Its tags.
    #[oai(validator(max_items = 50, unique_items))]
    pub(super) tag_ids: Option<Vec<Text<text::TagId>>>,
    /// A dynamic QR code of yours that leads through it from then on.
    pub(super) qr_code_id: Option<Text<text::QrId>>,
}

input::objects!(ShortLinkInput ShortLinkPatch);

impl poem_openapi::types::Example for ShortLinkInput {
    fn example() -> Self {
        Self {
            destination: "https://shop.example.com/summer".into(),
            domain: None,
            health_check: Some(true),
            fallback_destination: Some("https://shop.example.com/".into()),
            slug: Some("summer24".into()),
            title: Some("Summer promo".into()),
            utm: Some(UtmFields { source: Some("flyer".into()), ..UtmFields::default() }),
            routing: Some(LinkRouting::example()),
            password: None,
            active: Some(true),
            starts_at: None,
            expires_at: None,
            max_visits: None,
            folder_id: None,
            tag_ids: None,
            qr_code_id: None,
        }
    }
}

/// What changes in a link. What is not given stays, and null takes away what can be absent.
#[derive(Debug, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub(super) struct ShortLinkPatch {
    /// Where it leads.
    pub(super) destination: Option<Text<text::Destination>>,
    /// The own domain that its code stands on; null for the installation's own.
    pub(super) domain: MaybeUndefined<Text<text::DomainName>>,
    /// Whether the destination is asked now and then whether it answers.
    pub(super) health_check: Option<bool>,
    /// Where the link leads while its health is `failing`.
    pub(super) fallback_destination: MaybeUndefined<Text<text::Destination>>,
    /// Its code. The one that it had leads nowhere from then on.
    pub(super) slug: Option<Text<text::Slug>>,
    /// What it is called.
    pub(super) title: Option<Text<text::Name>>,
    /// What it adds to its destination.
    pub(super) utm: MaybeUndefined<UtmFields>,
    /// Where else it leads, and whom; all of it is replaced.
    pub(super) routing: MaybeUndefined<LinkRouting>,
    /// What visitors must know.
    pub(super) password: MaybeUndefined<Text<text::Password>>,
    /// Switched on.
    pub(super) active: Option<bool>,
    /// From when on it leads anywhere.
    #[serde(deserialize_with = "timestamp::change")]
    pub(super) starts_at: MaybeUndefined<DateTime<Utc>>,
    /// Until when.
    #[serde(deserialize_with = "timestamp::change")]
    pub(super) expires_at: MaybeUndefined<DateTime<Utc>>,
    /// After how many visits it ends.
    #[oai(validator(minimum(value = "1")))]
    pub(super) max_visits: MaybeUndefined<i64>,
    /// Its folder.
    pub(super) folder_id: MaybeUndefined<Text<text::FolderId>>,
    /// Its tags, all of them.
    #[oai(validator(max_items = 50, unique_items))]
    pub(super) tag_ids: Option<Vec<Text<text::TagId>>>,
    /// A dynamic QR code of yours that leads through it from then on, beside those that do already.
    pub(super) qr_code_id: Option<Text<text::QrId>>,
    /// Whether it is put away: lists show it only when they are asked to, and it leads nowhere.
    pub(super) archived: Option<bool>,
}

impl poem_openapi::types::Example for ShortLinkPatch {
    fn example() -> Self {
        Self {
            destination: Some("https://shop.example.com/autumn".into()),
            expires_at: MaybeUndefined::Null,
            ..Self::default()
        }
    }
}

/// A short link.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct ShortLink {
    /// Its id.
    id: Text<text::LinkId>,
    /// The address to hand out.
    short_url: Text<text::Url>,
    /// The own domain that its code stands on; absent where it is the installation's own.
    domain: Option<Text<text::DomainName>>,
    /// Its code.
    slug: Text<text::Slug>,
    /// Where it leads.
    destination: Text<text::Url>,
    /// Whether the destination is asked now and then whether it answers.
    health_check: bool,
    /// Where it leads while its health is `failing`.
    fallback_destination: Option<Text<text::Url>>,
    /// How the destination is, where it is asked.
    health: Option<LinkHealth>,
    /// What it is called.
    title: String,
    /// What it adds to its destination.
    utm: Option<UtmFields>,
    /// Where else it leads, and whom.
    routing: Option<LinkRouting>,
    /// Whether visitors must know a password.
    has_password: bool,
    /// Your switch.
    active: bool,
    /// From when on it leads anywhere.
    starts_at: Option<Timestamp>,
    /// Until when.
    expires_at: Option<Timestamp>,
    /// After how many visits it ends.
    max_visits: Option<i64>,
    /// How often people followed it, as far as it was counted; `stats` is right to the last visit.
    visits: i64,
    /// Its folder.
    folder_id: Option<Text<text::FolderId>>,
    /// Its tags.
    tag_ids: Vec<Text<text::TagId>>,
    /// The link pages that it is on.
    link_pages: Vec<LinkPageOfLink>,
    /// The QR codes that lead through it.
    qr_code_ids: Vec<Text<text::QrId>>,
    /// Whether it is put away.
    archived: bool,
    /// Whether it is beyond the plan: it leads on, and can be put away and deleted, but not changed.
    locked: bool,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl ShortLink {
    /// A new link: on no page, nobody has followed it, and the plan had room for it.
    pub(super) fn new(app: &App, link: Link) -> Self {
        Self {
            id: link.id.to_string().into(),
            short_url: code::address(&app.settings.short_url, &link.domain, &link.slug).into(),
            domain: Some(link.domain).filter(|domain| !domain.is_empty()).map(Into::into),
            slug: link.slug.into(),
            destination: link.destination.into(),
            health_check: link.health.is_some(),
            fallback_destination: link.fallback_destination.map(Into::into),
            health: link.health.map(|health| health.0.into()),
            title: link.title,
            utm: link.utm.map(|utm| utm.0.into()),
            routing: link.routing.map(|routing| routing.0.into()),
            has_password: link.password_hash.is_some(),
            active: link.active,
            starts_at: link.starts_at.map(Into::into),
            expires_at: link.expires_at.map(Into::into),
            max_visits: link.max_visits,
            visits: 0,
            folder_id: link.folder_id.map(|id| Kind::Folder.spell(id).into()),
            tag_ids: link.tag_ids.into_iter().map(|id| Kind::Tag.spell(domain::id::LabelId(id)).into()).collect(),
            link_pages: vec![],
            qr_code_ids: link.qr_ids.into_iter().map(|id| QrId(id).to_string().into()).collect(),
            archived: link.archived_at.is_some(),
            locked: false,
            created_at: link.created_at.into(),
            updated_at: link.updated_at.into(),
        }
    }
}

/// Links with what else is known of them.
pub(super) async fn complete(
    app: &App,
    conn: &mut PgConnection,
    org_id: OrgId,
    links: Vec<Link>,
) -> Result<Vec<ShortLink>, sqlx::Error> {
    let ids: Vec<Uuid> = links.iter().map(|link| link.id.0).collect();
    let mut pages = link_page::of_links(conn, org_id, &ids).await?;
    let totals = visit::totals(conn, org_id, &ids).await?;
    let edge = downgrade::edge(conn, org_id, Quota::Links).await?;
    let shown = links.into_iter().map(|link| {
        let visits = totals.get(&link.id.0).map_or(0, |total| total.sum.visits);
        let own = pages.extract_if(.., |page| page.link_id == link.id).map(Into::into).collect();
        let locked = link.archived_at.is_none() && downgrade::is_beyond(edge, link.id.0);
        ShortLink { visits, link_pages: own, locked, ..ShortLink::new(app, link) }
    });
    Ok(shown.collect())
}

/// A page of links.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct ShortLinkPage {
    /// The links.
    pub(super) items: Vec<ShortLink>,
    /// The `cursor` of the next page; absent on the last.
    pub(super) next_cursor: Option<Text<text::LinkCursor>>,
}

/// Which links a list has.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum LinkFilter {
    /// All that are not put away.
    All,
    /// Those that lead somewhere now.
    Active,
    /// The others.
    Inactive,
    /// Those that end within seven days.
    Expiring,
    /// Those with variants.
    Ab,
    /// Those whose destination does not answer.
    HealthFailing,
    /// Those whose destination is asked.
    HealthMonitored,
    /// Those that are put away.
    Archived,
}

impl From<LinkFilter> for domain::link::Filter {
    fn from(filter: LinkFilter) -> Self {
        match filter {
            LinkFilter::All => Self::All,
            LinkFilter::Active => Self::Active,
            LinkFilter::Inactive => Self::Inactive,
            LinkFilter::Expiring => Self::Expiring,
            LinkFilter::Ab => Self::Ab,
            LinkFilter::HealthFailing => Self::HealthFailing,
            LinkFilter::HealthMonitored => Self::HealthMonitored,
            LinkFilter::Archived => Self::Archived,
        }
    }
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum LinkSort {
    /// The newest first.
    Created,
    /// What was changed last first.
    Updated,
    /// By title.
    Title,
}

impl From<LinkSort> for domain::place::Sort {
    fn from(sort: LinkSort) -> Self {
        match sort {
            LinkSort::Created => Self::Created,
            LinkSort::Updated => Self::Updated,
            LinkSort::Title => Self::Title,
        }
    }
}
