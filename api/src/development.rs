//! `/dev/…`: what a developer looks at: the mails of this installation, and a sample of each letter that it writes. There is
//! nothing here but in `inkfleet dev`.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    id::MailId,
    mail::{self, Filter, Letter, escape},
};
use poem::{
    Request, Response, Route,
    endpoint::make,
    http::{StatusCode, header},
};

use crate::{app::App, failure::Failure};

/// How many mails are listed.
const LISTED: i64 = 100;

/// Adds the addresses to `route`.
pub fn add(route: Route) -> Route {
    route
        .at("/dev/letters", poem::get(make(letters)))
        .at("/dev/letters/:name", poem::get(make(letter)))
        .at("/dev/mails", poem::get(make(mails)))
        .at("/dev/mails/:id", poem::get(make(mail)))
}

async fn letters(_: Request) -> Result<Response, Failure> {
    let letters = mail::sample::letters().into_iter();
    let items = letters.map(|(name, letter)| (format!("/dev/letters/{name}"), name.to_owned(), letter.subject));
    Ok(list("Letters", items))
}

async fn letter(request: Request) -> Result<Response, Failure> {
    let wanted = request.raw_path_param("name").unwrap_or_default();
    let found = mail::sample::letters().into_iter().find(|(name, _)| *name == wanted);
    let (_, Letter { html, image, .. }) = found.ok_or_else(|| Failure::not_found("letter"))?;
    Ok(page(&html, image.as_deref()))
}

async fn mails(request: Request) -> Result<Response, Failure> {
    let app = request.data::<App>().expect("the server puts the app into every request");
    let mails = mail::list(&mut *app.store.pool().acquire().await?, &Filter::default(), LISTED).await?;
    let items = mails.into_iter();
    Ok(list("Mails", items.map(|mail| (format!("/dev/mails/{}", mail.id), mail.recipient, mail.subject))))
}

async fn mail(request: Request) -> Result<Response, Failure> {
    let app = request.data::<App>().expect("the server puts the app into every request");
    let unknown = || Failure::not_found("mail");
    let id: MailId = request.raw_path_param("id").unwrap_or_default().parse().map_err(|_| unknown())?;
    let mail = mail::find(&mut *app.store.pool().acquire().await?, id).await?.ok_or_else(unknown)?;
    Ok(page(&mail.html, mail.image.as_deref()))
}

/// Addresses with what is there.
fn list(title: &str, items: impl Iterator<Item = (String, String, String)>) -> Response {
    let items: String = items
        .map(|(path, name, subject)| {
            format!("<li><a href=\"{}\">{}</a> {}</li>\n", escape(&path), escape(&name), escape(&subject))
        })
        .collect();
    html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>:root{{color-scheme:light dark}}body{{font:1rem/1.6 system-ui,sans-serif;\
         margin:2rem}}</style><h1>{title}</h1><p><a href=\"/dev/letters\">Letters</a> <a href=\"/dev/mails\">Mails</a>\
         <ul>\n{items}</ul>"
    ))
}

/// A letter's page with its picture, which is no part of a mail here.
fn page(letter: &str, image: Option<&[u8]>) -> Response {
    let picture = image.map(|png| format!("data:image/png;base64,{}", STANDARD.encode(png)));
    html(picture.map_or_else(|| letter.to_owned(), |picture| letter.replace("cid:image", &picture)))
}

fn html(body: String) -> Response {
    Response::builder()
        .status(StatusCode::OK)
        .content_type("text/html; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        // What customers wrote is escaped; should it not be, it runs nothing.
        .header("content-security-policy", "default-src 'none'; img-src data:; style-src 'unsafe-inline'")
        .body(body)
}
