//! The sweep over alerts about visits.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use domain::{
    alert::{self, Alert, Figures},
    code::{self, Target},
    mail::{NewMail, alert::AlertRaised},
    notification::{Kind, News},
    org, user,
};
use jobs::{alert::CheckAlerts, mail::post, notification::notify, store::Tx};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// The most alerts of one transaction.
const PORTION: i64 = 200;
/// The most transactions of one run; what is left has another run at once.
const PORTIONS: usize = 50;
/// Who was looked at since then is not looked at again; less than the time from slot to slot.
const LATELY: TimeDelta = TimeDelta::minutes(5);

/// Looks at the alerts, and writes to owners where one has come to hold.
///
/// Safe twice: an alert that holds is noted as raised together with its mail and notification, and raised again only after it did not hold.
pub async fn check(context: Context, _: CheckAlerts, _: Run) -> anyhow::Result<Outcome> {
    let mut tx = context.store.begin().await?;
    alert::forget(&mut tx).await?;
    tx.commit().await?;
    for _ in 0..PORTIONS {
        let now = context.clock.now();
        let mut tx = context.store.begin().await?;
        let alerts = alert::lock_due(&mut tx, now - LATELY, now, PORTION).await?;
        let figures = alert::figures(&mut tx, &alerts, now).await?;
        for (alert, figures) in alerts.iter().zip(figures) {
            let holds = alert::holds(alert.watch, alert.updated_at, figures, now);
            if holds == alert.raised_at.is_some() {
                continue;
            }
            alert::raise(&mut tx, alert.id, holds.then_some(now)).await?;
            if holds {
                tell(&context, &mut tx, alert, figures, now).await?;
            }
        }
        tx.commit().await?;
        if alerts.len() < PORTION as usize {
            return Ok(Outcome::Done);
        }
    }
    Ok(Outcome::Snooze(context.clock.now()))
}

/// Writes to whoever made the alert, or to the organisation's owner, and notifies the other members.
async fn tell(
    context: &Context,
    tx: &mut Tx<'_>,
    alert: &Alert,
    figures: Figures,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let Some((domain, code)) = code::find(tx, alert.target.row().1).await? else { return Ok(()) };
    let Some(org) = org::find(tx, alert.org_id).await? else { return Ok(()) };
    let maker = match alert.created_by {
        Some(id) => user::find(tx, alert.org_id, id).await?.map(|user| user.email),
        None => None,
    };
    let recipient = match maker {
        Some(email) => Some(email),
        None => org::owner_email(tx, alert.org_id).await?,
    };
    let address = code::address(&context.settings.short_url, &domain, &code);
    let raised = AlertRaised { address: &address, org_name: &org.name, watch: alert.watch, figures, raised_at: now };
    let (heading, text) = raised.words();
    let path = match alert.target {
        Target::Link(id) => format!("/links/{id}"),
        Target::Qr(id) => format!("/qr/{id}"),
    };
    let title = format!("{heading}: {address}");
    let (maker, told) = (alert.created_by, recipient.clone());
    let news = News { org_id: alert.org_id, kind: Kind::AlertRaised, title, text, path, maker, told };
    notify(tx, &[news], now, &context.chance).await?;
    let Some(recipient) = recipient else {
        tracing::warn!(org = %alert.org_id, "nobody to write to: the organisation has no owner");
        return Ok(());
    };
    let slot = format!("{}/{}", alert.id, now.to_rfc3339_opts(SecondsFormat::Micros, true));
    post(tx, &NewMail::new(alert.org_id, raised.letter(), slot, recipient), now, &context.chance).await?;
    Ok(())
}
