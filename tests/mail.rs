//! Mail: once per occasion, handed over once, and waiting while what carries it is away.

use std::sync::Arc;

use chrono::Duration;
use domain::mail::{Letter, Mail, NewMail, State};
use jobs::{job::Queue, queue::admin};
use secrecy::SecretString;
use workers::{context::Context, fleet, mail::Mailer};

use crate::support::{
    Receiver, TestApp, TestOrg,
    receiver::{Reply, Script},
};

/// Posts a mail about an occasion; whether it is the first.
async fn post(app: &TestApp, org: &TestOrg, slot: &str, recipient: &str) -> bool {
    let letter = Letter {
        kind: "story.told",
        subject: "S".into(),
        text: "T".into(),
        html: "<p>H</p>".into(),
        unsubscribe: None,
        image: None,
    };
    let new = NewMail::new(org.id, letter, slot, recipient.parse().unwrap());
    let mut tx = app.store.begin().await.unwrap();
    let first = jobs::mail::post(&mut tx, &new, app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();
    first
}

/// The fleet's tools with a mail API that answers by `script` in place of the mailbox.
fn by_api(app: &TestApp, script: impl Into<Script>) -> (Context, Receiver) {
    let api = Receiver::start(script);
    let (key, url) = (SecretString::from("re_key"), format!("http://{}", api.address()));
    let mut context = app.context.clone();
    context.mailer = Arc::new(Mailer::resend(&key, &url, "no-reply@mail.example").unwrap());
    (context, api)
}

async fn drain(app: &TestApp, context: &Context) {
    fleet::drain(context, &Queue::ALL, app.pinned()).await.unwrap();
}

async fn the_mail(app: &TestApp) -> Mail {
    let mut mails = app.mails().await;
    assert_eq!(mails.len(), 1);
    mails.remove(0)
}

#[tokio::test]
async fn an_occasion_has_one_mail_per_recipient() {
    let app = TestApp::start().await;
    let (org, other) = (app.org("acme").await, app.org("other").await);
    assert!(post(&app, &org, "monday", "ann@acme.example").await);
    assert!(!post(&app, &org, "monday", "ann@acme.example").await);
    assert!(post(&app, &org, "tuesday", "ann@acme.example").await);
    assert!(post(&app, &org, "monday", "ben@acme.example").await);
    assert!(post(&app, &other, "monday", "ann@acme.example").await);
    assert_eq!(app.drain().await, 4);
    let mails = app.mails().await;
    assert_eq!(mails.len(), 4);
    assert!(mails.iter().all(|mail| mail.state == State::Sent && mail.transport.as_deref() == Some("mailbox")));
    // Later it is still the same occasion.
    app.clock.advance(Duration::days(3));
    assert!(!post(&app, &org, "monday", "ann@acme.example").await);
}

#[tokio::test]
async fn a_mail_that_is_not_committed_is_not_sent() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let letter = Letter {
        kind: "story.told",
        subject: "S".into(),
        text: "T".into(),
        html: "<p>H</p>".into(),
        unsubscribe: None,
        image: None,
    };
    let new = NewMail::new(org.id, letter, "monday", "ann@acme.example".parse().unwrap());
    let mut tx = app.store.begin().await.unwrap();
    assert!(jobs::mail::post(&mut tx, &new, app.clock.now(), &app.chance).await.unwrap());
    drop(tx);
    assert_eq!(app.drain().await, 0);
    assert!(app.mails().await.is_empty());
}

#[tokio::test]
async fn a_mail_waits_while_the_transport_is_away_and_is_then_sent() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let away = [Reply::CloseWithoutAnswer, Reply::status(500), Reply::status(503), Reply::ok().with_body("{}")];
    let (context, api) = by_api(&app, Script::sequence(away));
    post(&app, &org, "monday", "ann@acme.example").await;
    for sent in 1..=3 {
        drain(&app, &context).await;
        assert_eq!(api.received().len(), sent);
        assert_eq!(the_mail(&app).await.state, State::Waiting);
        app.clock.advance(Duration::seconds(10));
    }
    drain(&app, &context).await;
    let mail = the_mail(&app).await;
    assert_eq!((mail.state, mail.transport.as_deref()), (State::Sent, Some("resend")));
    assert_eq!(mail.sent_at, Some(app.clock.now()));
    // Each time under the same key, so that one that did arrive is told from a new one.
    let id = mail.id.to_string();
    assert!(api.received().iter().all(|request| request.header("idempotency-key") == Some(&id)));
}

#[tokio::test]
async fn a_transport_that_asks_to_wait_is_left_alone_for_so_long() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let busy = Reply::status(429).with_header("retry-after", "40").with_body(r#"{"name":"rate_limit_exceeded"}"#);
    let (context, api) = by_api(&app, Script::sequence([busy, Reply::ok().with_body("{}")]));
    post(&app, &org, "monday", "ann@acme.example").await;
    drain(&app, &context).await;
    app.clock.advance(Duration::seconds(39));
    drain(&app, &context).await;
    assert_eq!(api.received().len(), 1);
    app.clock.advance(Duration::seconds(1));
    drain(&app, &context).await;
    assert_eq!(the_mail(&app).await.state, State::Sent);
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_says_so_and_is_not_sent_again() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let refused = Reply::status(422).with_body(r#"{"name":"validation_error","message":"no such recipient"}"#);
    let (context, api) = by_api(&app, refused);
    post(&app, &org, "monday", "ann@acme.example").await;
    drain(&app, &context).await;
    app.clock.advance(Duration::days(2));
    drain(&app, &context).await;
    assert_eq!(api.received().len(), 1);
    let mail = the_mail(&app).await;
    assert_eq!(mail.state, State::Failed);
    assert_eq!(mail.error.as_deref(), Some("422 validation_error: no such recipient"));
}

#[tokio::test]
async fn a_transport_that_is_away_for_longer_than_a_day_leaves_a_dead_job_that_can_be_run_again() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    let (context, api) = by_api(&app, Reply::status(500));
    post(&app, &org, "monday", "ann@acme.example").await;
    let began = app.clock.now();
    let mut conn = app.store.pool().acquire().await.unwrap();
    // From one try to the next.
    while let Some(job) = admin::unfinished(&mut conn).await.unwrap().first() {
        app.clock.set(app.clock.now().max(job.run_at));
        drain(&app, &context).await;
    }
    assert!(app.clock.now() - began > Duration::hours(20), "given up after {}", app.clock.now() - began);
    assert!(api.received().len() < 200);
    let mail = the_mail(&app).await;
    assert_eq!((mail.state, mail.error.as_deref()), (State::Failed, Some("500 : ")));
    let dead = admin::list(&mut conn, None, Some("mail.send"), Some("dead"), 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(admin::retry(&mut conn, dead[0].id, app.clock.now()).await.unwrap());
    app.drain().await;
    assert_eq!(the_mail(&app).await.state, State::Sent);
}
