//! The sweep that switches off what has expired. Visitors see the end at its second, by the route; what follows from it,
//! the owner's switch and the webhook events, comes here, in portions that each commit on their own.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    change::{Change, Happened, LinkChange},
    id::OrgId,
    link::{self, Link},
    notification::{Kind, News},
    qr::{self, QrCode},
    route,
};
use jobs::{change, expiry::ExpireCodes, notification::notify, store::Tx};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// The most links, and the most QR codes, of one transaction.
const PORTION: i64 = 200;
/// The most transactions of one run; what is left has another run at once.
const PORTIONS: usize = 50;

/// Switches off every link and QR code whose time is over, tells the processes that redirect, notifies members, and
/// publishes the events.
///
/// Safe twice: what is switched off is not found again, and a switch, its notification and its event commit together.
pub async fn expire(context: Context, _: ExpireCodes, _: Run) -> anyhow::Result<Outcome> {
    for _ in 0..PORTIONS {
        let mut tx = context.store.begin().await?;
        let now = context.clock.now();
        let links = expire_links(&context, &mut tx, now).await?;
        let codes = expire_qr_codes(&context, &mut tx, now).await?;
        tx.commit().await?;
        if links.max(codes) < PORTION as usize {
            return Ok(Outcome::Done);
        }
    }
    Ok(Outcome::Snooze(context.clock.now()))
}

/// Ends one portion of links; returns how many there were.
async fn expire_links(context: &Context, tx: &mut Tx<'_>, now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let links = link::lock_expired(tx, now, PORTION).await?;
    if links.is_empty() {
        return Ok(0);
    }
    link::deactivate(tx, &links, now).await?;
    let codes: Vec<(&str, &str)> = links.iter().map(|link| (link.domain.as_str(), link.slug.as_str())).collect();
    route::tell_changed(tx, &codes).await?;
    let base = &context.settings.short_url;
    let of_link = |link: &Link| {
        let name = domain::code::address(base, &link.domain, &link.slug);
        (link.org_id, name, format!("/links/{}", link.id))
    };
    let news = news(links.iter().map(of_link), "link", "/links");
    notify(tx, &news, now, &context.chance).await?;
    let ended = links.iter().map(|link| Link { active: false, updated_at: now, ..link.clone() });
    let happened: Vec<Happened<LinkChange>> = ended
        .map(|link| {
            let base = context.settings.short_url.clone();
            let org_id = link.org_id;
            Happened { org_id, change: Change::Expired, at: now, subject: LinkChange { before: None, link, base } }
        })
        .collect();
    change::publish(tx, &happened, None, now, &context.chance).await?;
    Ok(links.len())
}

/// Ends one portion of QR codes; returns how many there were.
async fn expire_qr_codes(context: &Context, tx: &mut Tx<'_>, now: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let codes = qr::lock_expired(tx, now, PORTION).await?;
    if codes.is_empty() {
        return Ok(0);
    }
    qr::deactivate(tx, &codes, now).await?;
    let addresses = codes.iter().filter_map(|code| code.domain.as_deref().zip(code.short_code.as_deref()));
    route::tell_changed(tx, &addresses.collect::<Vec<_>>()).await?;
    let of_code = |code: &QrCode| {
        let name = if code.name.is_empty() { code.short_code.clone().unwrap_or_default() } else { code.name.clone() };
        (code.org_id, name, format!("/qr/{}", code.id))
    };
    let news = news(codes.iter().map(of_code), "QR code", "/qr");
    notify(tx, &news, now, &context.chance).await?;
    let ended = codes.iter().map(|code| QrCode { active: false, updated_at: now, ..code.clone() });
    let done: Vec<_> = ended.map(|code| jobs::qr::Done { change: Change::Expired, before: None, code }).collect();
    let base = &context.settings.short_url;
    jobs::qr::publish(tx, &done, base, None, now, &context.chance).await?;
    Ok(codes.len())
}

/// What each organisation is told: of one that expired or of several at once. Each comes as its organisation, its name and its
/// path; `list` is the path of all.
fn news(expired: impl Iterator<Item = (OrgId, String, String)>, what: &str, list: &str) -> Vec<News> {
    let mut orgs: BTreeMap<OrgId, Vec<(String, String)>> = BTreeMap::new();
    for (org_id, name, path) in expired {
        orgs.entry(org_id).or_default().push((name, path));
    }
    let of_org = |(org_id, all): (OrgId, Vec<(String, String)>)| {
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        let (title, text, path) = match &all[..] {
            [(name, path)] => (format!("The {what} {name} has expired"), String::new(), path.clone()),
            _ => (format!("{} {what}s have expired", all.len()), names.join(", "), list.to_owned()),
        };
        News { org_id, kind: Kind::CodeExpired, title, text, path, maker: None, told: None }
    };
    orgs.into_iter().map(of_org).collect()
}
