//! Which organisation is which customer at Stripe.

use anyhow::bail;
use clap::Args;
use domain::{billing::customer, chance::Chance, clock::Clock, org::Slug};
use jobs::store::Store;
use serde_json::json;

use super::{identity::find_org, print};

/// The arguments of `admin bind-customer`.
#[derive(Debug, Args)]
pub struct BindCustomer {
    /// The organisation's slug.
    #[arg(long)]
    org: Slug,
    /// The customer's id at Stripe, cus_….
    #[arg(long)]
    customer: String,
}

impl BindCustomer {
    pub(super) async fn run(self, store: &Store, clock: &Clock) -> anyhow::Result<()> {
        let now = clock.now();
        let fits = (1..=255).contains(&self.customer.len()) && self.customer.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            bail!("the customer must be an id of Stripe's, such as cus_NffrFeUfNV2Hib");
        }
        let mut tx = store.begin().await?;
        let org = find_org(&mut tx, &self.org).await?;
        if !customer::bind(&mut tx, org.id, &self.customer, now).await? {
            bail!("{} is another organisation's customer", self.customer);
        }
        jobs::dunning::settle(&mut tx, org.id, now, &Chance::system()).await?;
        jobs::billing::ask_for(&mut tx, org.id, now, &Chance::system()).await?;
        tx.commit().await?;
        print(&json!({"id": org.id, "slug": org.slug.as_str(), "customer": self.customer}));
        Ok(())
    }
}
