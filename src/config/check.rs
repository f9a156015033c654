//! What no single value shows: settings that need, exclude or weaken each other.

use domain::http_url::HttpUrl;

use super::{Purpose, Settings, SettingsError};

impl Settings {
    /// Whether the settings together are enough for `purpose`. Reading them has asked this already; ask again after
    /// changing them.
    pub fn check(&self, purpose: Purpose) -> Result<(), SettingsError> {
        let runs = matches!(purpose, Purpose::Serve | Purpose::Work);
        let sources = [
            self.security.session_jwks_url.is_some(),
            self.security.session_public_key.is_some(),
            self.security.session_signing_key.is_some(),
        ];
        let sources = sources.into_iter().filter(|given| *given).count();
        let sends = self.mail.smtp_url.is_some() || self.mail.resend_api_key.is_some();
        let place = |url: &HttpUrl| (url.host().to_string(), url.port_or_default());
        let (short, public) = (self.http.short_url.as_ref(), self.http.public_url.as_ref());
        let rules = [
            (
                short.is_some_and(|url| url.url().path() != "/" || url.url().query().is_some()),
                "INKFLEET_SHORT_URL must be a host without a path, such as https://ink.example.",
            ),
            (
                short.is_some_and(|short| public.is_none_or(|public| place(short) == place(public))),
                "INKFLEET_PUBLIC_URL must be set with INKFLEET_SHORT_URL, to another host: all that stands behind the short \
                 domain's slash is a code.",
            ),
            (
                purpose != Purpose::Develop && self.database.url.is_none(),
                "DATABASE_URL must be set, as postgres://user:password@host:5432/name.",
            ),
            (
                runs && self.security.secret_key.is_none(),
                "INKFLEET_SECRET_KEY must be set, to 32 random bytes in base64 (openssl rand -base64 32).",
            ),
            (
                purpose == Purpose::Serve && sources == 0,
                "INKFLEET_SESSION_JWKS_URL, INKFLEET_SESSION_PUBLIC_KEY or INKFLEET_SESSION_SIGNING_KEY must be set, \
                 or no session can be verified.",
            ),
            (
                sources > 1,
                "Only one of INKFLEET_SESSION_JWKS_URL, INKFLEET_SESSION_PUBLIC_KEY and INKFLEET_SESSION_SIGNING_KEY \
                 may be set.",
            ),
            (
                self.security.session_jwks_url.is_some() && self.security.session_issuer.is_none(),
                "INKFLEET_SESSION_ISSUER must be set with INKFLEET_SESSION_JWKS_URL.",
            ),
            (
                self.mail.smtp_url.is_some() && self.mail.resend_api_key.is_some(),
                "Only one of SMTP_URL and RESEND_API_KEY may be set.",
            ),
            (
                sends && self.mail.mail_from.is_none(),
                "MAIL_FROM must be set with SMTP_URL or RESEND_API_KEY, to the sender of mails.",
            ),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, sentence)) => Err(SettingsError(sentence.to_owned())),
            None => Ok(()),
        }
    }

    /// What works, but may not be meant: sentences for the log at the start.
    pub fn warnings(&self, purpose: Purpose) -> Vec<&'static str> {
        let serves = purpose == Purpose::Serve;
        let works = purpose == Purpose::Work;
        let runs = serves || works;
        let signs = self.security.session_signing_key.is_some();
        let warnings = [
            (
                works && self.mail.smtp_url.is_none() && self.mail.resend_api_key.is_none(),
                "Neither SMTP_URL nor RESEND_API_KEY is set: mails stay in the mailbox table.",
            ),
            (
                runs && self.webhooks.allow_private_targets,
                "INKFLEET_ALLOW_PRIVATE_TARGETS is true: webhooks can reach the machines of this network.",
            ),
            (
                runs && self.webhooks.allow_http_targets,
                "INKFLEET_ALLOW_HTTP_TARGETS is true: webhooks may travel unencrypted.",
            ),
            (
                serves && signs,
                "INKFLEET_SESSION_SIGNING_KEY is set: whoever has that key can make sessions for everyone.",
            ),
            (
                serves && !signs && self.security.session_authorized_parties.is_empty(),
                "INKFLEET_SESSION_AUTHORIZED_PARTIES is empty: sessions made for any site are accepted.",
            ),
            (
                serves && self.cron.secret.is_none(),
                "CRON_SECRET is not set: /api/cron answers 503, and only workers start scheduled work.",
            ),
            (
                works && self.billing.stripe_secret_key.is_some() && self.billing.stripe_prices.is_empty(),
                "INKFLEET_STRIPE_PRICES is empty: no subscription at Stripe changes a plan.",
            ),
            (
                serves && self.billing.stripe_secret_key.is_some() && self.billing.stripe_webhook_secret.is_none(),
                "STRIPE_WEBHOOK_SECRET is not set: what happens at Stripe is known hours later.",
            ),
            (
                runs && self.http.public_url.is_none(),
                "INKFLEET_PUBLIC_URL is not set: links in mails lead to localhost.",
            ),
        ];
        warnings.into_iter().filter(|(holds, _)| *holds).map(|(_, sentence)| sentence).collect()
    }
}
