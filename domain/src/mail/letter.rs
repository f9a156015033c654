//! One look for all mails: a letter is written once, as parts, and becomes a plain text and an HTML page.
//!
//! The page has no scripts, foreign images or fixed widths, so it reads the same at 320 pixels, in the dark and behind
//! filters. What a letter quotes comes from customers and their servers: it is cleaned, cut and escaped here.

use std::fmt::Write;

use chrono::{DateTime, Utc};

/// A written mail that has no recipient yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// What it is about, such as `webhook.degraded`.
    pub kind: &'static str,
    /// One line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part, a whole page.
    pub html: String,
    /// Where one click, by a program, ends letters of this kind (RFC 8058); `None` for what a person must be told.
    pub unsubscribe: Option<String>,
    /// The picture that the page shows as `cid:image`, a PNG.
    pub image: Option<Vec<u8>>,
}

impl Letter {
    /// The letter with a way out, for people under it and for their programs in its head.
    pub(super) fn until_unsubscribed(mut self, address: &str) -> Self {
        self.text.push_str(&format!("Not any more: {address}\n"));
        let out = format!("<br><a href=\"{}\">Not any more</a></footer>", escape(address));
        self.html = self.html.replacen("</footer>", &out, 1);
        self.unsubscribe = Some(address.to_owned());
        self
    }
}

/// A piece of a letter.
pub(super) enum Part {
    /// A paragraph of our own words; what it quotes has gone through [`quote`].
    Text(String),
    /// Labels and values.
    Facts(Vec<(&'static str, String)>),
    /// Something to copy.
    Code(String),
    /// One of several things: its title, some words that may be empty, and the address where there is more of it.
    Item(String, String, String),
    /// Rows of a name and a number; for what is compared.
    Table(&'static str, Vec<(String, String)>),
    /// The letter's one picture, and what it shows for those who do not see it.
    Picture {
        png: Vec<u8>,
        alt: String,
        /// What its colours mean, for those who see it.
        key: &'static str,
    },
    /// Where to go on: what is there, and its address.
    Link(&'static str, String),
}

/// The longest quotation, in characters.
const QUOTE_CHARS: usize = 300;
/// RFC 5322, 2.1.1 allows 998 in a line; mail readers show far fewer.
const SUBJECT_CHARS: usize = 150;
/// Under every letter: why it comes, by the first word of its kind.
fn footer(kind: &str) -> &'static str {
    match kind.split('.').next() {
        Some("alert") => {
            "You receive this because an alert of your workspace in Inkfleet asks for it. Times are in UTC."
        }
        Some("notifications") => {
            "You receive this because you are a member of a workspace in Inkfleet and want to be told what happens there."
        }
        Some("digest") => {
            "You receive this on Mondays because you are a member of a workspace in Inkfleet. Days are days in UTC."
        }
        Some("trial" | "dunning") => "You receive this because you own a workspace in Inkfleet. Times are in UTC.",
        Some("plan") => "You receive this because you manage a workspace in Inkfleet. Times are in UTC.",
        _ => "You receive this because you look after webhooks in Inkfleet. Times are in UTC.",
    }
}

const STYLE: &str = "\
body{margin:0;padding:16px;background:#f4f4f6;color:#1b1b1f;font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif;overflow-wrap:anywhere}\
main{max-width:560px;margin:0 auto;padding:20px;background:#fff;border-radius:8px}\
h1{margin:0 0 16px;font-size:20px;line-height:1.3}\
p{margin:0 0 16px}\
dl{margin:0 0 16px}dt{font-size:13px;color:#5c5c66}dd{margin:0 0 8px}\
pre{margin:0 0 16px;padding:12px;background:#f0f0f3;border-radius:6px;font:14px/1.4 ui-monospace,Consolas,monospace;white-space:pre-wrap}\
table{width:100%;margin:0 0 16px;border-collapse:collapse}caption{text-align:left;font-size:13px;color:#5c5c66}td{padding:4px 0;border-top:1px solid #e4e4ea}td+td{padding-left:12px;text-align:right;white-space:nowrap}\
img{max-width:100%;height:auto;border:0}\
a{color:#2f4bd8}.go{display:inline-block;padding:10px 16px;border-radius:6px;background:#2f4bd8;color:#fff;text-decoration:none}\
footer{max-width:560px;margin:12px auto 0;font-size:13px;color:#5c5c66}\
@media (prefers-color-scheme:dark){body{background:#121214;color:#ececf0}main{background:#1d1d21}dt,caption,footer{color:#a5a5b0}pre{background:#2a2a30}td{border-color:#34343c}a{color:#9db0ff}.go{background:#4a63e6;color:#fff}}";

/// Writes a letter. The heading is the page's first line; `subject` may be any text.
pub(super) fn write(kind: &'static str, subject: &str, heading: &str, parts: &[Part]) -> Letter {
    Letter {
        kind,
        subject: clean(subject, SUBJECT_CHARS),
        text: plain(kind, heading, parts),
        html: page(kind, heading, parts),
        unsubscribe: None,
        image: parts
            .iter()
            .find_map(|part| if let Part::Picture { png, .. } = part { Some(png.clone()) } else { None }),
    }
}

fn plain(kind: &str, heading: &str, parts: &[Part]) -> String {
    let mut text = format!("{heading}\n\n");
    for part in parts {
        match part {
            Part::Text(words) => text.push_str(words),
            Part::Code(code) => {
                text.push_str("    ");
                text.push_str(&code.replace('\n', "\n    "));
            }
            Part::Facts(facts) => {
                let lines: Vec<String> = facts.iter().map(|(label, value)| format!("{label}: {value}")).collect();
                text.push_str(&lines.join("\n"));
            }
            Part::Item(title, words, address) => {
                let lines: Vec<&str> =
                    [title, words, address].into_iter().map(|s| &**s).filter(|s| !s.is_empty()).collect();
                text.push_str(&lines.join("\n"));
            }
            Part::Table(title, rows) => {
                text.push_str(title);
                let width = rows.iter().map(|(_, number)| number.chars().count()).max().unwrap_or(0);
                for (name, number) in rows {
                    push(&mut text, format_args!("\n  {number:>width$}  {name}"));
                }
            }
            Part::Picture { alt, .. } => text.push_str(alt),
            Part::Link(words, address) => push(&mut text, format_args!("{words}: {address}")),
        }
        text.push_str("\n\n");
    }
    // RFC 3676, 4.3: this line sets a signature apart.
    text.push_str("-- \n");
    text.push_str(footer(kind));
    text.push('\n');
    text
}

fn page(kind: &str, heading: &str, parts: &[Part]) -> String {
    let heading = escape(heading);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"supported-color-schemes\" content=\"light dark\">\
         <title>{heading}</title><style>{STYLE}</style></head>\n<body><main>\n<h1>{heading}</h1>\n"
    );
    for part in parts {
        match part {
            Part::Text(words) => push(&mut html, format_args!("<p>{}</p>\n", escape(words))),
            Part::Code(code) => push(&mut html, format_args!("<pre>{}</pre>\n", escape(code))),
            Part::Facts(facts) => {
                html.push_str("<dl>\n");
                for (label, value) in facts {
                    push(&mut html, format_args!("<dt>{}</dt><dd>{}</dd>\n", escape(label), escape(value)));
                }
                html.push_str("</dl>\n");
            }
            Part::Item(title, words, address) => {
                let words = if words.is_empty() { String::new() } else { format!("<br>{}", escape(words)) };
                let (title, address) = (escape(title), escape(address));
                push(&mut html, format_args!("<p><a href=\"{address}\">{title}</a>{words}</p>\n"));
            }
            Part::Table(title, rows) => {
                push(&mut html, format_args!("<table><caption>{}</caption>\n", escape(title)));
                for (name, number) in rows {
                    push(&mut html, format_args!("<tr><td>{}</td><td>{}</td></tr>\n", escape(name), escape(number)));
                }
                html.push_str("</table>\n");
            }
            Part::Picture { alt, key, .. } => {
                let (alt, key) = (escape(alt), escape(key));
                push(
                    &mut html,
                    format_args!(
                        "<p><img src=\"cid:image\" width=\"520\" alt=\"{alt}\"><br><small>{key}</small></p>\n"
                    ),
                );
            }
            Part::Link(words, address) => {
                let (address, words) = (escape(address), escape(words));
                push(&mut html, format_args!("<p><a class=\"go\" href=\"{address}\">{words}</a></p>\n"));
            }
        }
    }
    push(&mut html, format_args!("</main>\n<footer>{}</footer></body></html>\n", escape(footer(kind))));
    html
}

fn push(html: &mut String, piece: std::fmt::Arguments<'_>) {
    html.write_fmt(piece).expect("a String takes everything");
}

/// A text as HTML shows it, in its content and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Somebody else's words, on one line and at most 300 characters long.
pub(super) fn quote(text: &str) -> String {
    clean(text, QUOTE_CHARS)
}

/// An address without its query, which may hold the customer's own secrets.
pub(super) fn quote_url(url: &str) -> String {
    match url.split_once(['?', '#']) {
        Some((address, _)) => format!("{}?…", quote(address)),
        None => quote(url),
    }
}

/// A moment as people write it.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M UTC").to_string()
}

/// One line of at most `max` characters, without what would break a header or turn the reading direction around.
fn clean(text: &str, max: usize) -> String {
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= max {
        return line;
    }
    line.chars().take(max - 1).chain(['…']).collect()
}
