//! Whose customer is whose organisation. One organisation has one customer, and one customer one organisation.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::id::{JobId, OrgId};

/// A customer at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The organisation.
    pub org_id: OrgId,
    /// Its id there.
    pub customer_id: String,
}

/// An organisation that was found by its customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The organisation.
    pub org_id: OrgId,
    /// Whether they belong together only from now on: nothing of theirs was asked for yet.
    pub is_new: bool,
}

/// The organisation of a customer that is known.
pub async fn find_org(conn: &mut PgConnection, customer_id: &str) -> Result<Option<OrgId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select org_id as "org_id: OrgId" from billing_customers where customer_id = $1"#,
        customer_id
    )
    .fetch_optional(conn)
    .await
}

/// The customer of an organisation.
pub async fn find(conn: &mut PgConnection, org_id: OrgId) -> Result<Option<Customer>, sqlx::Error> {
    sqlx::query_as!(
        Customer,
        r#"select org_id as "org_id: OrgId", customer_id from billing_customers where org_id = $1"#,
        org_id.0
    )
    .fetch_optional(conn)
    .await
}

/// Holds what is known of an organisation's billing against other changes until the transaction ends. Whoever changes that
/// of several does this in the order of their ids.
pub async fn lock(conn: &mut PgConnection, org_id: OrgId) -> Result<(), sqlx::Error> {
    sqlx::query!("select from billing_customers where org_id = $1 for no key update", org_id.0)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// The organisation of a customer: the one that is known, or the first that `named` names, by our id or by the session
/// issuer's, if it has no customer yet. From then on it is known.
pub async fn resolve(
    conn: &mut PgConnection,
    customer_id: &str,
    named: &[&str],
    now: DateTime<Utc>,
) -> Result<Option<Found>, sqlx::Error> {
    if let Some(org_id) = find_org(conn, customer_id).await? {
        return Ok(Some(Found { org_id, is_new: false }));
    }
    for name in named.iter().filter(|name| !name.contains('\0')) {
        let id = name.parse::<OrgId>().ok().map(|id| id.0);
        let added = sqlx::query_scalar!(
            r#"insert into billing_customers (org_id, customer_id, asked_at, created_at)
               select o.id, $1, 'epoch', $4 from organizations o
               where o.id = coalesce((select id from organizations where external_id = $2), $3)
               on conflict do nothing
               returning org_id as "org_id: OrgId""#,
            customer_id,
            name,
            id,
            now,
        )
        .fetch_optional(&mut *conn)
        .await?;
        if let Some(org_id) = added {
            return Ok(Some(Found { org_id, is_new: true }));
        }
    }
    // Somebody else may have been first.
    let found = find_org(conn, customer_id).await?.map(|org_id| Found { org_id, is_new: false });
    if found.is_none() {
        warn_of_another(conn, customer_id, named).await?;
    }
    Ok(found)
}

/// Says so where a customer names an organisation that has another one: which of them is its, an operator has to say.
async fn warn_of_another(conn: &mut PgConnection, customer_id: &str, named: &[&str]) -> Result<(), sqlx::Error> {
    for name in named.iter().filter(|name| !name.contains('\0')) {
        let id = name.parse::<OrgId>().ok().map(|id| id.0);
        let known = sqlx::query_as!(
            Customer,
            r#"select org_id as "org_id: OrgId", customer_id from billing_customers
               where org_id = coalesce((select id from organizations where external_id = $1), $2)"#,
            name,
            id,
        )
        .fetch_optional(&mut *conn)
        .await?;
        if let Some(known) = known {
            tracing::warn!(
                org = %known.org_id, customer = customer_id, known = known.customer_id,
                "a customer at Stripe names an organisation that has another one, which stays; `inkfleet admin bind-customer` \
                 says otherwise"
            );
        }
    }
    Ok(())
}

/// Says whose an organisation is, whatever was known; `false` when the customer is another organisation's. What was known
/// of another customer's subscription and invoices is forgotten: nothing that Stripe says of that customer would reach them.
pub async fn bind(
    conn: &mut PgConnection,
    org_id: OrgId,
    customer_id: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    if find_org(conn, customer_id).await?.is_some_and(|known| known != org_id) {
        return Ok(false);
    }
    let done = sqlx::query!(
        "with bound as (
           insert into billing_customers as c (org_id, customer_id, asked_at, created_at) values ($1, $2, 'epoch', $3)
           on conflict (org_id) do update set customer_id = excluded.customer_id, asked_at = 'epoch'
             where c.customer_id <> excluded.customer_id
           returning org_id
         ), unknown as (
           delete from invoices i using bound b where i.org_id = b.org_id
         )
         delete from subscriptions s using bound b where s.org_id = b.org_id",
        org_id.0,
        customer_id,
        now,
    )
    .execute(conn)
    .await;
    match done {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the customer that waited longest of those that were not asked for since `before`, and notes that this job asks for
/// it now, so that nobody else takes it meanwhile. One only, because whoever waits for one and holds another could wait for
/// ever.
pub async fn claim(
    conn: &mut PgConnection,
    job: JobId,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<Customer>, sqlx::Error> {
    sqlx::query_as!(
        Customer,
        r#"update billing_customers c set asked_at = $2, asked_by = $3
           from (select org_id from billing_customers where asked_at < $1
                 order by asked_at, org_id limit 1 for no key update) due
           where c.org_id = due.org_id
           returning c.org_id as "org_id: OrgId", c.customer_id"#,
        before,
        now,
        job.0,
    )
    .fetch_optional(conn)
    .await
}

/// Gives back whom this job had taken in a try that died: they were last asked for at `at`, as far as anybody knows.
pub async fn give_back(conn: &mut PgConnection, job: JobId, at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!("update billing_customers set asked_at = $2, asked_by = null where asked_by = $1", job.0, at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes when an organisation's customer was asked for, and that nobody does so now.
pub async fn note_asked(conn: &mut PgConnection, org_id: OrgId, at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!("update billing_customers set asked_at = $2, asked_by = null where org_id = $1", org_id.0, at)
        .execute(conn)
        .await?;
    Ok(())
}
