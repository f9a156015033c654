//! What is written about trials and unpaid invoices. These letters have no way out: they say what becomes of the workspace.

use chrono::{DateTime, Utc};

use super::letter::{Letter, Part, moment, quote, write};
use crate::{billing::invoice::Invoice, plan::Plan};

/// A trial ends soon.
#[derive(Debug, Clone, Copy)]
pub struct TrialEnding<'a> {
    /// The organisation's name.
    pub org_name: &'a str,
    /// What is tried.
    pub plan: Plan,
    /// When it ends.
    pub trial_end: DateTime<Utc>,
    /// How many days are left, rounded up.
    pub days: i64,
    /// Whether nothing is to be paid afterwards, because it was cancelled.
    pub cancelled: bool,
}

impl TrialEnding<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "trial.ending";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let days = if self.days == 1 { "1 day".to_owned() } else { format!("{} days", self.days) };
        let after = if self.cancelled {
            "It was cancelled, so nothing is charged afterwards and the workspace goes on with the free plan."
        } else {
            "Afterwards the plan goes on as it was ordered. Without a way to pay, the workspace goes on with the free plan."
        };
        let heading = format!("Your trial ends in {days}");
        let parts = [
            Part::Text(format!("The trial of {} ends on {}. {after}", quote(self.org_name), moment(self.trial_end))),
            Part::Text(
                "Nothing is deleted: links, codes and their statistics stay, and what is printed leads on.".into(),
            ),
            Part::Facts(facts(self.org_name, self.plan)),
        ];
        write(Self::KIND, &format!("{heading}: {}", self.org_name), &heading, &parts)
    }
}

/// A trial has ended, and nothing was ordered.
#[derive(Debug, Clone, Copy)]
pub struct TrialEnded<'a> {
    /// The organisation's name.
    pub org_name: &'a str,
    /// What it has now.
    pub plan: Plan,
    /// When it ended.
    pub trial_end: DateTime<Utc>,
}

impl TrialEnded<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "trial.ended";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let parts = [
            Part::Text(format!(
                "The trial of {} ended on {}. Order a plan to go on with all that you tried.",
                quote(self.org_name),
                moment(self.trial_end)
            )),
            Part::Text(
                "Nothing was deleted: links, codes and their statistics stay, and what is printed leads on.".into(),
            ),
            Part::Facts(facts(self.org_name, self.plan)),
        ];
        write(Self::KIND, &format!("Your trial has ended: {}", self.org_name), "Your trial has ended", &parts)
    }
}

fn facts(org_name: &str, plan: Plan) -> Vec<(&'static str, String)> {
    vec![("Workspace", quote(org_name)), ("Plan", plan.name().to_owned())]
}

/// How urgent a reminder of an invoice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// The first.
    First,
    /// Another one.
    Again,
    /// The last before the plan is suspended.
    Last,
    /// The plan is suspended.
    Suspended,
}

/// An invoice is not paid.
#[derive(Debug, Clone, Copy)]
pub struct InvoiceUnpaid<'a> {
    /// The organisation's name.
    pub org_name: &'a str,
    /// The invoice.
    pub invoice: &'a Invoice,
    /// How urgent it is.
    pub urgency: Urgency,
    /// When the plan is suspended, if nothing is paid before.
    pub suspended_at: DateTime<Utc>,
}

impl InvoiceUnpaid<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "dunning.reminder";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let Self { invoice, org_name, .. } = self;
        let amount = money(invoice.amount_remaining, &invoice.currency);
        let happened = if invoice.collects {
            format!("The payment of {amount} for {} did not work.", quote(org_name))
        } else {
            format!("An invoice of {amount} for {} was to be paid by now.", quote(org_name))
        };
        let heading = match self.urgency {
            Urgency::First if invoice.collects => "A payment did not work",
            Urgency::First => "An invoice is due",
            Urgency::Again => "An invoice is still unpaid",
            Urgency::Last => "Last reminder before your plan is suspended",
            Urgency::Suspended => "Your plan is suspended",
        };
        let follows = match self.urgency {
            Urgency::Suspended => {
                "Nothing in the workspace can be made or changed until the invoice is paid. Nothing is deleted: links and \
                 codes lead on as before, and everything works again as soon as the payment arrives."
                    .to_owned()
            }
            _ => format!(
                "If it is not paid until {}, the plan is suspended: nothing is deleted, and links and codes lead on, but \
                 nothing can be made or changed until it is paid.",
                moment(self.suspended_at)
            ),
        };
        let mut facts = vec![("Workspace", quote(org_name)), ("To pay", amount)];
        facts.extend(invoice.number.as_deref().map(|number| ("Invoice", quote(number))));
        facts.push(("Invoiced", moment(invoice.created_at)));
        if let Some(at) = invoice.next_payment_attempt {
            facts.push(("Next payment attempt", moment(at)));
        }
        let mut parts = vec![Part::Text(happened), Part::Text(follows)];
        match invoice.hosted_invoice_url.as_deref().filter(|url| url.starts_with("https://")) {
            Some(url) => parts.push(Part::Link("Pay the invoice", url.to_owned())),
            None => parts.push(Part::Text("Please pay it, or see to it that the way to pay on file works.".into())),
        }
        parts.push(Part::Facts(facts));
        write(Self::KIND, &format!("{heading}: {org_name}"), heading, &parts)
    }
}

/// A suspended plan is back.
#[derive(Debug, Clone, Copy)]
pub struct PlanResumed<'a> {
    /// The organisation's name.
    pub org_name: &'a str,
}

impl PlanResumed<'_> {
    /// The kind of these mails.
    pub const KIND: &'static str = "dunning.resumed";

    /// Writes the letter.
    pub fn letter(&self) -> Letter {
        let text =
            format!("Nothing is owed any more, and everything in {} works again. Thank you.", quote(self.org_name));
        let heading = "Your plan is back";
        write(Self::KIND, &format!("{heading}: {}", self.org_name), heading, &[Part::Text(text)])
    }
}

/// Currencies without a smaller unit, and those with one of a thousandth.
/// <https://docs.stripe.com/currencies#zero-decimal>
const WHOLE: [&str; 15] =
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// An amount as people write it: `19.00 EUR`.
fn money(amount: i64, currency: &str) -> String {
    let currency = currency.to_uppercase();
    let digits = match currency.as_str() {
        currency if WHOLE.contains(&currency) => return format!("{amount} {currency}"),
        currency if THOUSANDTHS.contains(&currency) => 3,
        _ => 2,
    };
    let unit = 10_u64.pow(digits);
    let (sign, size) = (if amount < 0 { "-" } else { "" }, amount.unsigned_abs());
    format!("{sign}{}.{:0width$} {currency}", size / unit, size % unit, width = digits as usize)
}

#[cfg(test)]
mod tests {
    use super::money;

    #[test]
    fn an_amount_has_the_digits_of_its_currency() {
        for (amount, currency, expected) in [
            (1900, "eur", "19.00 EUR"),
            (5, "usd", "0.05 USD"),
            (-1050, "usd", "-10.50 USD"),
            (1900, "jpy", "1900 JPY"),
            (1900, "kwd", "1.900 KWD"),
        ] {
            assert_eq!(money(amount, currency), expected);
        }
    }
}
