//! Programs that members let in by OAuth.

use anyhow::bail;
use clap::{Args, Subcommand};
use domain::{
    chance::Chance,
    clock::Clock,
    id::OauthClientId,
    oauth::{self, NAME_MAX, REDIRECTS_MAX},
};
use jobs::store::Store;
use secrecy::ExposeSecret;
use serde_json::json;

use super::print;

/// Where Canva has its users sent back to, whatever the app.
const CANVA: &str = "https://www.canva.com/apps/oauth/authorized";

/// What can be done with programs.
#[derive(Debug, Subcommand)]
pub enum OauthCommand {
    /// Register a program; its secret is shown now and never again.
    Create(Create),
    /// List all programs.
    List,
    /// End a program and all that members allowed it.
    Revoke {
        /// Its id.
        id: OauthClientId,
    },
}

/// The arguments of `admin oauth-clients create`.
#[derive(Debug, Args)]
pub struct Create {
    /// What members read before they let it in.
    #[arg(long, default_value = "Canva")]
    name: String,
    /// Where members are sent back to, to the letter. May be repeated; Canva's address if not given.
    #[arg(long = "redirect-uri", value_name = "URL", default_value = CANVA)]
    redirect_uris: Vec<String>,
}

impl OauthCommand {
    pub(super) async fn run(self, store: &Store, clock: &Clock) -> anyhow::Result<()> {
        match self {
            Self::Create(args) => args.run(store, clock).await,
            Self::List => {
                let mut conn = store.pool().acquire().await?;
                for client in oauth::list_clients(&mut conn).await? {
                    print(&json!({"id": client.id, "name": client.name, "redirect_uris": client.redirect_uris,
                                  "created_at": client.created_at, "revoked_at": client.revoked_at}));
                }
                Ok(())
            }
            Self::Revoke { id } => {
                let mut tx = store.begin().await?;
                if !oauth::revoke_client(&mut tx, id, clock.now()).await? {
                    bail!("no program of this id may do anything");
                }
                tx.commit().await?;
                print(&json!({"id": id, "revoked": true}));
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, store: &Store, clock: &Clock) -> anyhow::Result<()> {
        if !(1..=NAME_MAX).contains(&self.name.chars().count()) || self.redirect_uris.len() > REDIRECTS_MAX {
            bail!("a program has a name of 1 to {NAME_MAX} characters and at most {REDIRECTS_MAX} addresses");
        }
        for uri in &self.redirect_uris {
            oauth::check_redirect(uri).map_err(|rule| anyhow::anyhow!("{uri} {rule}"))?;
        }
        let mut tx = store.begin().await?;
        let created =
            oauth::create_client(&mut tx, &self.name, &self.redirect_uris, clock.now(), &Chance::system()).await?;
        tx.commit().await?;
        let (id, secret) = created;
        print(&json!({"client_id": id, "client_secret": secret.expose_secret(), "redirect_uris": self.redirect_uris}));
        Ok(())
    }
}
