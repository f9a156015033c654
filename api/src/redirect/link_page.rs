//! `GET /p/{slug}`: a link page as visitors see it. Its links are short ones, so that whoever follows them is led, asked
//! and counted as ever.

use domain::link_page::{self, LinkPage, Shown, Theme};
use jobs::store::{ANSWER, within};
use poem::{
    Request, Response,
    http::{Method, StatusCode, header},
};

use super::page;
use crate::app::App;

/// Behind the slash of the installation's hosts: where pages are found.
pub const UNDER: &str = "p/";

/// The answer to a request for a page; `None` where it is for something else.
pub async fn answer(app: &App, request: &Request) -> Option<Response> {
    let slug = request.uri().path().strip_prefix('/')?.strip_prefix(UNDER)?;
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let refused = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED);
        return Some(refused.header(header::ALLOW, "GET, HEAD").finish());
    }
    let load = async {
        let conn = &mut *app.store.pool().acquire().await?;
        let Some(found) = link_page::find_public(conn, slug).await? else { return Ok(None) };
        let entries = link_page::shown(conn, &found, app.clock.now()).await?;
        Ok(Some((found, entries)))
    };
    // What is no code was never taken, and a text with U+0000 is nothing to ask Postgres for.
    let found = if slug.parse::<domain::code::Code>().is_ok() { within(ANSWER, load).await } else { Ok(None) };
    Some(match found {
        Ok(Some((found, entries))) if found.active => page::html(StatusCode::OK, render(app, &found, &entries)),
        Ok(Some(_)) => {
            page::page(StatusCode::GONE, "This page is switched off", "Whoever made it has switched it off.")
        }
        Ok(None) => {
            page::page(StatusCode::NOT_FOUND, "This page does not exist", "Check that the address is complete.")
        }
        Err(error) => {
            tracing::warn!(%error, "a link page could not be loaded");
            page::unavailable()
        }
    })
}

fn render(app: &App, found: &LinkPage, entries: &[Shown]) -> String {
    let title = escaped(&found.title);
    let description = match &*found.description {
        "" => String::new(),
        text => format!("<p>{}</p>", escaped(text).replace('\n', "<br>")),
    };
    let items: String = entries
        .iter()
        .map(|entry| {
            let to = match (&entry.link, &entry.url) {
                (Some((domain, code)), _) => app.short_url(domain, code),
                (None, url) => url.clone().unwrap_or_default(),
            };
            format!("<li><a href=\"{}\">{}</a></li>", escaped(&to), escaped(&entry.title))
        })
        .collect();
    let style = style(found.theme.as_deref());
    format!(
        "<!doctype html><html lang=\"{}\"><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{style}</style>\
         <main><h1>{title}</h1>{description}<ul>{items}</ul></main></html>",
        escaped(&found.language)
    )
}

/// System colours follow the visitor's light or dark mode; those of the theme stay what they are.
fn style(theme: Option<&Theme>) -> String {
    let or = |colour: Option<&String>, system: &str| colour.map_or_else(|| system.to_owned(), Clone::clone);
    let theme = |of: fn(&Theme) -> &Option<String>, system| or(theme.and_then(|theme| of(theme).as_ref()), system);
    let (background, text) = (theme(|t| &t.background, "Canvas"), theme(|t| &t.text, "CanvasText"));
    let (button, button_text) = (theme(|t| &t.button, "ButtonFace"), theme(|t| &t.button_text, "ButtonText"));
    format!(
        ":root{{color-scheme:light dark}}*{{box-sizing:border-box}}\
         body{{margin:0;font:1.1rem/1.5 system-ui,sans-serif;background:{background};color:{text}}}\
         main{{max-width:36rem;margin:0 auto;padding:2rem 1rem;text-align:center;overflow-wrap:anywhere}}\
         ul{{list-style:none;margin:2rem 0 0;padding:0}}li{{margin:0 0 1rem}}\
         a{{display:block;padding:.9rem 1rem;border:1px solid;border-radius:.6rem;text-decoration:none;\
         background:{button};color:{button_text}}}a:hover{{text-decoration:underline}}\
         a:focus-visible{{outline:3px solid {text};outline-offset:3px}}"
    )
}

/// A text as HTML, in content and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}
