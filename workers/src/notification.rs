//! Telling by mail what happened: one letter for all that somebody was not told yet, when they want it.

use chrono::{DateTime, Utc};
use domain::{
    mail::{NewMail, notification::NotificationsTold},
    notification::{self, Due, Letters, Mode, Subscription},
};
use jobs::{mail::post, notification::DeliverNotifications, store::Tx};

use crate::{
    context::Context,
    registry::{Outcome, Run},
};

/// The most members of one transaction.
const PORTION: i64 = 50;
/// The most transactions of one run; what is left has another run at once.
const PORTIONS: usize = 100;

/// Writes to members who are due to be told.
///
/// Safe twice: what is told is noted with its mail, each notification by itself, under a lock on the member.
pub async fn deliver(context: Context, _: DeliverNotifications, _: Run) -> anyhow::Result<Outcome> {
    for _ in 0..PORTIONS {
        let now = context.clock.now();
        let mut tx = context.store.begin().await?;
        let due = notification::lock_due(&mut tx, now, PORTION).await?;
        for member in &due {
            tell(&context, &mut tx, member, now).await?;
        }
        tx.commit().await?;
        if due.is_empty() {
            return Ok(Outcome::Done);
        }
    }
    Ok(Outcome::Snooze(context.clock.now()))
}

/// Writes to one of them, unless they want no mail, or none now. How they want to be told may have changed since it was noted
/// when, and a run that comes late may come into quiet hours.
async fn tell(context: &Context, tx: &mut Tx<'_>, member: &Due, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let Due { org_id, user_id, zone, preferences, .. } = member;
    let loud = preferences.loud(*zone, now);
    if preferences.mode != Mode::Off && loud > now {
        return notification::put_off(tx, *org_id, *user_id, loud).await;
    }
    let (untold, all) = notification::take_untold(tx, *org_id, *user_id).await?;
    let Some(newest) = untold.first().filter(|_| preferences.mode != Mode::Off) else { return Ok(()) };
    let subscription = Subscription { org_id: *org_id, user_id: *user_id, letters: Letters::Notifications };
    let public_url = &context.settings.public_url;
    let letter = NotificationsTold {
        org_name: &member.org_name,
        untold: &untold,
        all,
        zone: *zone,
        public_url,
        unsubscribe: &subscription.address(public_url, &context.sealing, &context.chance),
    };
    // Each is told once, or once again when it has grown, so the newest names the occasion.
    let slot = format!("{user_id}/{}/{}", newest.id, newest.changed_at.timestamp_micros());
    post(tx, &NewMail::new(*org_id, letter.letter(), slot, member.email.clone()), now, &context.chance).await?;
    Ok(())
}
