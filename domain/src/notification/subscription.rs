//! The way out of mails: an address for each member and kind of mail, sealed under the installation's key like the cookies
//! of passwords, so that nobody makes one up. It holds for as long as the key is kept.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Mode, Preferences, find_preferences, hold_memberships, put_preferences};
use crate::{
    chance::Chance,
    id::{OrgId, UserId},
    sealed::SealingKeys,
};

/// Where sealed subscriptions open.
const CONTEXT: &str = "unsubscribe";

/// Mails that somebody can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// Mails that tell of notifications.
    Notifications,
    /// The weekly digest.
    Digest,
}

impl Letters {
    const fn byte(self) -> u8 {
        match self {
            Self::Notifications => b'n',
            Self::Digest => b'd',
        }
    }

    /// What they are called in a sentence.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Notifications => "mails about what happens in this workspace",
            Self::Digest => "weekly digests of this workspace",
        }
    }
}

/// What a member gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// Of which organisation.
    pub org_id: OrgId,
    /// Who.
    pub user_id: UserId,
    /// What.
    pub letters: Letters,
}

impl Subscription {
    /// The address that ends it, of an installation that is reached at `public_url`.
    pub fn address(&self, public_url: &str, keys: &SealingKeys, chance: &Chance) -> String {
        format!("{public_url}/api/public/notifications/unsubscribe?t={}", self.token(keys, chance))
    }

    /// The token in that address.
    pub fn token(&self, keys: &SealingKeys, chance: &Chance) -> String {
        let plain = [&[self.letters.byte()], self.org_id.0.as_bytes().as_slice(), self.user_id.0.as_bytes()].concat();
        URL_SAFE_NO_PAD.encode(keys.seal(&plain, CONTEXT, chance))
    }

    /// Reads a token; `None` if it is none of this installation's.
    pub fn read(token: &str, keys: &SealingKeys) -> Option<Self> {
        let plain = keys.open(&URL_SAFE_NO_PAD.decode(token).ok()?, CONTEXT).ok()?;
        let (byte, ids) = plain.expose_secret().split_first()?;
        let letters = [Letters::Notifications, Letters::Digest].into_iter().find(|it| it.byte() == *byte)?;
        let (org, user) = ids.split_at_checked(16)?;
        let id = |bytes| Uuid::from_slice(bytes).ok();
        Some(Self { org_id: OrgId(id(org)?), user_id: UserId(id(user)?), letters })
    }
}

/// Ends a subscription; one that is over stays so, and where the membership is over there is nothing to end.
pub async fn unsubscribe(
    conn: &mut PgConnection,
    subscription: Subscription,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let Subscription { org_id, user_id, letters } = subscription;
    // Against another change of the same wishes, which would be lost; in the order in which they are held again when the
    // wishes are stored.
    hold_memberships(conn, user_id).await?;
    let before = find_preferences(conn, org_id, user_id).await?;
    let after = match letters {
        Letters::Notifications => Preferences { mode: Mode::Off, ..before.clone() },
        Letters::Digest => Preferences { weekly_digest: false, ..before.clone() },
    };
    if after != before {
        put_preferences(conn, org_id, user_id, &after, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_by_its_own_installation_and_no_other() {
        let chance = Chance::seeded(7);
        let keys = || SealingKeys::parse(&SealingKeys::generate(&chance)).unwrap();
        let (ours, theirs) = (keys(), keys());
        for letters in [Letters::Notifications, Letters::Digest] {
            let (org_id, user_id) =
                (OrgId::new(DateTime::UNIX_EPOCH, &chance), UserId::new(DateTime::UNIX_EPOCH, &chance));
            let subscription = Subscription { org_id, user_id, letters };
            let token = subscription.token(&ours, &chance);
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{token}");
            assert_eq!(Subscription::read(&token, &ours), Some(subscription));
            assert_eq!(Subscription::read(&token, &theirs), None);
            let mut other = token.clone().into_bytes();
            other[40] = if other[40] == b'A' { b'B' } else { b'A' };
            assert_eq!(Subscription::read(&String::from_utf8(other).unwrap(), &ours), None);
        }
        for text in ["", "x", "====", "AQEx"] {
            assert_eq!(Subscription::read(text, &ours), None);
        }
    }
}
