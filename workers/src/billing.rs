//! The mirror of Stripe: what is there is read, and taken over. No transaction is open while Stripe is asked.

mod event;

use anyhow::bail;
use chrono::TimeDelta;
use domain::{
    billing::{
        customer::{self, Customer},
        invoice::{self, Invoice},
        stated::Stated,
        stripe::{self, List},
        subscription::Subscription,
        walk,
    },
    id::OrgId,
};
use futures::future::join_all;
use jobs::{
    billing::{BackfillInvoices, SyncCustomer, SyncSnapshots, find_org, take_invoices, take_subscription},
    store::Tx,
};

pub use self::event::take;

use crate::{
    context::Context,
    registry::{Outcome, Run},
    stripe::{Answer, Stripe, StripeError},
};

/// The walk over all invoices.
const WALK: &str = "invoices";
/// The walk over what is owed and was on no page of it.
const OWED: &str = "owed";
/// The most pages of one run; what is left has another run at once.
const PAGES: usize = 10;
/// The most customers of one run, and the most invoices that are asked for one by one.
const PORTION: usize = 100;
/// The most invoices of one step of the walk over what is owed.
const STEP: usize = 20;
/// The most requests on their way at a time, of one job: Stripe takes 25 in a second in its test mode, and four times as many
/// in earnest.
const AT_A_TIME: usize = 4;

/// How long a reminder waits for a Stripe that says nothing of use: as long as it is to the next sweep.
pub(crate) const AGAIN: TimeDelta = TimeDelta::hours(1);

/// What asking Stripe came to; the outer error is our own.
type Asked<T> = anyhow::Result<Result<T, StripeError>>;

/// What asking for several things came to.
struct Several<T> {
    /// What Stripe answered for.
    answered: Vec<T>,
    /// Why no more were asked for.
    stopped: Option<StripeError>,
}

/// Asks for several things, a few at a time, until something is in the way of all. What Stripe does not know stays as it is.
async fn ask_several<T: Clone, F: Future<Output = Asked<()>>>(
    all: Vec<T>,
    ask: impl Fn(T) -> F,
) -> anyhow::Result<Several<T>> {
    let mut several = Several { answered: vec![], stopped: None };
    for few in all.chunks(AT_A_TIME) {
        for (one, asked) in few.iter().zip(join_all(few.iter().cloned().map(&ask)).await) {
            match asked? {
                Ok(()) => several.answered.push(one.clone()),
                Err(error) if error.is_of_one() => tracing::warn!(%error, "what cannot be asked for stays as it is"),
                Err(error) => several.stopped = Some(error),
            }
        }
        if several.stopped.is_some() {
            break;
        }
    }
    Ok(several)
}

/// What becomes of scheduled work when Stripe says nothing of use: it goes on where it was when Stripe may say more.
fn put_off(context: &Context, error: &StripeError) -> anyhow::Result<Outcome> {
    match error.wait() {
        Some(wait) => {
            tracing::warn!(%error, wait_s = wait.num_seconds(), "Stripe is asked again later");
            Ok(Outcome::Snooze(context.clock.now() + wait))
        }
        None => {
            if matches!(error, StripeError::Key { .. }) {
                tracing::error!(%error, "billing stands still until the operator mends the key");
            }
            bail!("{error}")
        }
    }
}

/// Walks over all invoices, from the newest to the oldest that Stripe may still charge, and then over those that are owed for
/// longer.
///
/// Safe twice: a page and the place of the next one commit together, if the walk still stands where the page was asked
/// for; and news that are not newer change nothing.
pub async fn backfill(context: Context, _: BackfillInvoices, run: Run) -> anyhow::Result<Outcome> {
    let Some(stripe) = &context.stripe else { return Ok(Outcome::Done) };
    if let Some(left) = walk::find(&mut *context.store.pool().acquire().await?, OWED).await? {
        if let Some(outcome) = ask_owed(&context, stripe).await? {
            return Ok(outcome);
        }
        if left.begun_at >= run.job_id.made_at() {
            // It was this job's own.
            return Ok(Outcome::Done);
        }
    }
    for _ in 0..PAGES {
        let now = context.clock.now();
        let walk = walk::begin(&mut *context.store.pool().acquire().await?, WALK, now).await?;
        let page = match stripe.invoices(walk.from_at, walk.after_id.as_deref()).await {
            Ok(page) => page,
            Err(StripeError::Unknown { reason }) if walk.after_id.is_some() => {
                tracing::warn!(reason, "the invoice behind which the walk was to go on is gone; it begins anew");
                walk::restart(&mut *context.store.pool().acquire().await?, WALK).await?;
                continue;
            }
            Err(error) => return put_off(&context, &error),
        };
        let Answer { value: List { data, has_more }, stated } = page;
        let after_id = data.last().filter(|_| has_more).map(|invoice| invoice.id.clone());
        let mut tx = context.store.begin().await?;
        if !walk::step(&mut tx, WALK, &walk, after_id.as_deref(), now).await? {
            continue;
        }
        take_page(&context, &mut tx, &data, stated).await?;
        if after_id.is_none() {
            walk::follow(&mut tx, OWED, &walk).await?;
        }
        tx.commit().await?;
        if after_id.is_none() {
            return Ok(ask_owed(&context, stripe).await?.unwrap_or(Outcome::Done));
        }
    }
    Ok(Outcome::Snooze(context.clock.now()))
}

/// Asks for what is owed and was on no page of the walk before, so that a debt that is over does not stay because its event
/// was lost; `None` when all were asked for.
async fn ask_owed(context: &Context, stripe: &Stripe) -> anyhow::Result<Option<Outcome>> {
    for _ in 0..PORTION / STEP {
        let mut conn = context.store.pool().acquire().await?;
        let Some(walk) = walk::find(&mut conn, OWED).await? else { return Ok(None) };
        let owed = invoice::unheard(&mut conn, walk.heard_since(), walk.after_id.as_deref(), STEP as i64).await?;
        drop(conn);
        let last = owed.last().cloned().filter(|_| owed.len() == STEP);
        let ask = |id: String| async move { Ok(ask_invoice(context, stripe, &id).await?.map(drop)) };
        if let Some(error) = ask_several(owed, ask).await?.stopped {
            return put_off(context, &error).map(Some);
        }
        let conn = &mut *context.store.pool().acquire().await?;
        walk::step(conn, OWED, &walk, last.as_deref(), context.clock.now()).await?;
    }
    Ok(Some(Outcome::Snooze(context.clock.now())))
}

/// Asks for one invoice, and takes over what Stripe says; whose it is, if it is anybody's here.
async fn ask_invoice(context: &Context, stripe: &Stripe, invoice_id: &str) -> Asked<Option<OrgId>> {
    match stripe.invoice(invoice_id).await {
        Ok(Answer { value, stated }) => event::take_invoice(context, &value, None, stated).await,
        Err(error) => Ok(Err(error)),
    }
}

/// What is sure of `all`: what Stripe has spoken of lately (`is_told`), and what it speaks of now. Once something has
/// `stopped` the asking, it is asked for nothing more.
pub(crate) async fn make_sure<T: Clone, F: Future<Output = Asked<()>>>(
    all: Vec<T>,
    is_told: impl Fn(&T) -> bool,
    ask: impl Fn(T) -> F,
    stopped: &mut Option<StripeError>,
) -> anyhow::Result<Vec<T>> {
    let (mut sure, old): (Vec<T>, Vec<T>) = all.into_iter().partition(is_told);
    if stopped.is_none() {
        let several = ask_several(old, ask).await?;
        sure.extend(several.answered);
        *stopped = several.stopped;
    }
    Ok(sure)
}

/// Asks for an organisation's invoice before something is done to it for that, and takes over what Stripe says.
pub(crate) async fn confirm_invoice(context: &Context, stripe: &Stripe, org_id: OrgId, invoice_id: &str) -> Asked<()> {
    let whose = match ask_invoice(context, stripe, invoice_id).await? {
        Ok(whose) => whose,
        Err(error) => return Ok(Err(error)),
    };
    let known = whose == Some(org_id);
    Ok(known.then_some(()).ok_or_else(|| StripeError::Unknown { reason: format!("{invoice_id} is another's now") }))
}

/// Asks for an organisation's subscription before its owners are told of it, and takes over what Stripe says.
pub(crate) async fn confirm_subscription(context: &Context, stripe: &Stripe, org_id: OrgId) -> Asked<()> {
    let customer = customer::find(&mut *context.store.pool().acquire().await?, org_id).await?;
    match customer {
        Some(customer) => sync_subscription(context, stripe, &customer).await,
        None => Ok(Err(StripeError::Unknown { reason: format!("{org_id} has no customer") })),
    }
}

/// Takes over a page of anybody's invoices.
async fn take_page(
    context: &Context,
    tx: &mut Tx<'_>,
    page: &[stripe::Invoice],
    stated: Stated,
) -> Result<(), sqlx::Error> {
    let now = context.clock.now();
    let mut news: Vec<(OrgId, Invoice)> = vec![];
    for from in page {
        let Some(customer) = &from.customer else { continue };
        let Some(invoice) = Invoice::of(from, None, stated.at) else { continue };
        if let Some(org_id) = find_org(tx, customer.id(), &from.named(), now, &context.chance).await? {
            news.push((org_id, invoice));
        }
    }
    // In the order of the organisations, which is the order in which they are held; of each, oldest first.
    news.reverse();
    news.sort_by_key(|(org_id, _)| *org_id);
    for same in news.chunk_by(|(one, _), (other, _)| one == other) {
        let invoices = same.iter().map(|(_, invoice)| invoice.clone()).collect();
        take_invoices(tx, same[0].0, invoices, stated, now, &context.chance).await?;
    }
    Ok(())
}

/// Asks for the subscriptions of customers, those first that waited longest, each once in a slot: a job that goes on later is
/// still the same job, and its id says since when.
///
/// Safe twice: a customer is taken by one run, and the same state changes nothing. Whom a process had taken that died, the
/// next try asks for.
pub async fn sync(context: Context, _: SyncSnapshots, run: Run) -> anyhow::Result<Outcome> {
    let Some(stripe) = &context.stripe else { return Ok(Outcome::Done) };
    let before = run.job_id.made_at();
    // The end of the line.
    let last = before - TimeDelta::microseconds(1);
    customer::give_back(&mut *context.store.pool().acquire().await?, run.job_id, last).await?;
    for _ in 0..PORTION / AT_A_TIME {
        let mut conn = context.store.pool().acquire().await?;
        let mut few = vec![];
        while few.len() < AT_A_TIME
            && let Some(customer) = customer::claim(&mut conn, run.job_id, before, context.clock.now()).await?
        {
            few.push(customer);
        }
        drop(conn);
        if few.is_empty() {
            return Ok(Outcome::Done);
        }
        let mut stopped = None;
        let asked = join_all(few.iter().map(|customer| sync_subscription(&context, stripe, customer))).await;
        for (customer, asked) in few.iter().zip(asked) {
            let Err(error) = asked? else { continue };
            if error.is_of_one() {
                // Nobody loses a plan because the key is another account's.
                tracing::warn!(org = %customer.org_id, %error, "a customer cannot be asked for; all stays as it is");
                let (mut conn, now) = (context.store.pool().acquire().await?, context.clock.now());
                customer::note_asked(&mut conn, customer.org_id, now).await?;
                continue;
            }
            // So that one customer that Stripe cannot answer for does not stop all others.
            customer::note_asked(&mut *context.store.pool().acquire().await?, customer.org_id, last).await?;
            stopped = Some(error);
        }
        if let Some(error) = stopped {
            return put_off(&context, &error);
        }
    }
    Ok(Outcome::Snooze(context.clock.now()))
}

/// Asks for a customer's subscriptions, and takes over what Stripe says.
async fn sync_subscription(
    context: &Context,
    stripe: &Stripe,
    customer: &Customer,
) -> anyhow::Result<Result<(), StripeError>> {
    let Answer { value: list, stated } = match stripe.subscriptions_of(&customer.customer_id).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    let now = context.clock.now();
    let mut tx = context.store.begin().await?;
    customer::lock(&mut tx, customer.org_id).await?;
    // The operator may have said meanwhile that it is another one.
    if customer::find(&mut tx, customer.org_id).await?.as_ref() == Some(customer) {
        let subscription = Subscription::choose(&list.data, &context.settings.stripe_prices);
        take_subscription(&mut tx, customer.org_id, subscription, stated, now, &context.chance).await?;
        customer::note_asked(&mut tx, customer.org_id, now).await?;
    }
    tx.commit().await?;
    Ok(Ok(()))
}

/// Asks for all that there is of one organisation's customer.
///
/// Safe twice: the same state changes nothing.
pub async fn sync_customer(context: Context, job: SyncCustomer, _: Run) -> anyhow::Result<Outcome> {
    let Some(stripe) = &context.stripe else { return Ok(Outcome::Done) };
    let customer = customer::find(&mut *context.store.pool().acquire().await?, job.org_id).await?;
    let Some(customer) = customer else { return Ok(Outcome::Cancel("the organisation has no customer".into())) };
    if let Err(error) = sync_subscription(&context, stripe, &customer).await? {
        return put_off(&context, &error);
    }
    let Answer { value: page, stated } = match stripe.invoices_of(&customer.customer_id).await {
        Ok(answer) => answer,
        Err(error) => return put_off(&context, &error),
    };
    let mut tx = context.store.begin().await?;
    customer::lock(&mut tx, job.org_id).await?;
    if customer::find(&mut tx, job.org_id).await?.as_ref() != Some(&customer) {
        return Ok(Outcome::Cancel("the operator has said meanwhile that it is another customer".into()));
    }
    let invoices = page.data.iter().rev().filter_map(|from| Invoice::of(from, None, stated.at)).collect();
    take_invoices(&mut tx, job.org_id, invoices, stated, context.clock.now(), &context.chance).await?;
    tx.commit().await?;
    Ok(Outcome::Done)
}
