//! `/api/public/notifications/unsubscribe`: the way out of mails, for people and for their mail programs (RFC 8058).
//!
//! Programs that look into mails open every address in them, so opening it changes nothing: it shows a button.

use domain::notification::{Subscription, unsubscribe};
use poem_openapi::{ApiResponse, OpenApi, param::Query, payload::Html};

use crate::{
    app::App,
    failure::Failure,
    redirect::page,
    server::Tag,
    surface::{Failed, Own},
    text::{self, Text},
};

/// A page for people.
#[derive(Debug, ApiResponse)]
enum Page {
    /// A page of a sentence or two.
    #[oai(status = 200)]
    Shown(
        Html<String>,
        #[oai(header = "Content-Security-Policy")] String,
        #[oai(header = "Cache-Control")] String,
        #[oai(header = "Referrer-Policy")] String,
    ),
}

impl Page {
    fn new(title: &str, text: &str) -> Self {
        let html = Html(page::text_page(title, text));
        Self::Shown(html, page::POLICY.into(), "private, no-store".into(), "no-referrer".into())
    }
}

/// The routes of the way out.
#[derive(Debug)]
pub struct UnsubscribeApi(pub App);

#[OpenApi(prefix_path = "/api/public/notifications", tag = "Tag::Public")]
impl UnsubscribeApi {
    /// Show what a way out leads out of
    ///
    /// A page with a button. Nothing changes.
    #[oai(path = "/unsubscribe", method = "get", operation_id = "getUnsubscribePage")]
    async fn show(
        &self,
        /// Whose mails, and which: from the address in them.
        t: Query<Text<text::UnsubscribeToken>>,
    ) -> Result<Page, Failed<Own>> {
        let title = self.read(&t.0)?.letters.title();
        let text = format!("Do you want no more {title}?<form method=post><button>No more of them</button></form>");
        Ok(Page::new("Unsubscribe", &text))
    }

    /// Take the way out
    ///
    /// Mails of this kind end for this person and workspace. The same request again changes nothing. What is sent along is
    /// not looked at: a mail program sends `List-Unsubscribe=One-Click`.
    #[oai(path = "/unsubscribe", method = "post", operation_id = "cancelSubscription")]
    async fn act(
        &self,
        /// Whose mails, and which: from the address in them.
        t: Query<Text<text::UnsubscribeToken>>,
    ) -> Result<Page, Failed<Own>> {
        let (app, subscription) = (&self.0, self.read(&t.0)?);
        let mut tx = app.store.begin().await?;
        unsubscribe(&mut tx, subscription, app.clock.now()).await?;
        tx.commit().await?;
        let title = subscription.letters.title();
        let text = format!("You get no more {title}. Your settings in the workspace bring them back.");
        Ok(Page::new("Unsubscribed", &text))
    }
}

impl UnsubscribeApi {
    fn read(&self, token: &str) -> Result<Subscription, Failure> {
        let wrong = || Failure::field("t", "must be from the address in a mail of ours");
        Subscription::read(token, &self.0.sealing).ok_or_else(wrong)
    }
}
