//! Letters: what they say, how they look where mail is read, and where developers see them.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::mail::{Letter, NewMail, escape, sample::letters};
use serde_json::Value;

use crate::support::TestApp;

const SNAPSHOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/letters");

#[test]
fn what_each_letter_says_is_known() {
    let record = std::env::var_os("UPDATE_GENERATED").is_some();
    for (name, letter) in letters() {
        let path = Path::new(SNAPSHOTS).join(format!("{name}.txt"));
        let text = format!("{}\n\n{}", letter.subject, letter.text);
        if record {
            fs::write(&path, &text).unwrap();
        }
        let known = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, known, "{name}: record it with UPDATE_GENERATED=1 if it is to read so");
    }
}

#[test]
fn letters_have_names_and_kinds_of_their_own() {
    let names: BTreeMap<&str, Letter> = letters().into_iter().collect();
    assert_eq!(names.len(), letters().len());
    for (name, letter) in names {
        assert_eq!(name.split('.').next(), letter.kind.split('.').next(), "{name} {}", letter.kind);
    }
}

/// The page as a mail program shows it: with the picture that came with it.
fn shown(letter: &Letter) -> String {
    let picture = letter.image.as_ref().map(|png| format!("data:image/png;base64,{}", STANDARD.encode(png)));
    picture.map_or_else(|| letter.html.clone(), |picture| letter.html.replace("cid:image", &picture))
}

/// Measures every letter in a frame as wide as a small telephone, in the light and in the dark: how wide it is, and the least
/// contrast of a text with what is behind it (WCAG 2.2, 1.4.3).
const MEASURE: &str = r#"
const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return {rgb: m.slice(0, 3), a: m.length > 3 ? m[3] : 1}; };
const light = rgb => { const l = rgb.map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
const behind = (win, e) => { for (; e; e = e.parentElement) { const b = parse(win.getComputedStyle(e).backgroundColor);
  if (b.a === 1) return b.rgb; } return null; };
addEventListener('load', () => {
  const found = [...document.querySelectorAll('iframe')].map(frame => {
    const win = frame.contentWindow, doc = frame.contentDocument;
    let least = 21, where = '';
    for (const e of doc.body.querySelectorAll('*')) {
      if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
      const over = behind(win, e);
      if (!over) { least = 0; where = 'nothing behind ' + e.tagName; continue; }
      const [a, b] = [light(parse(win.getComputedStyle(e).color).rgb), light(over)].sort((x, y) => y - x);
      const contrast = (a + 0.05) / (b + 0.05);
      if (contrast < least) { least = contrast; where = e.tagName + ': ' + e.textContent.trim().slice(0, 40); }
    }
    const pictures = [...doc.images].map(i => i.naturalWidth);
    return {name: frame.title, scheme: frame.dataset.scheme, width: doc.documentElement.scrollWidth, least, where, pictures,
            dark: light(behind(win, doc.body) || [255, 255, 255]) < 0.2};
  });
  document.body.textContent = 'MEASURED' + JSON.stringify(found) + 'END';
});"#;

#[test]
fn letters_fit_a_small_screen_and_read_well_in_the_light_and_in_the_dark() {
    let frames: String = letters()
        .iter()
        .flat_map(|(name, letter)| {
            ["light", "dark"].map(|scheme| {
                let page = escape(&shown(letter));
                format!(
                    "<iframe title={name} data-scheme={scheme} style=\"color-scheme:{scheme};width:320px;height:600px;border:0\" \
                     srcdoc=\"{page}\"></iframe>"
                )
            })
        })
        .collect();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("letters");
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join("all.html");
    fs::write(&file, format!("<!doctype html><meta charset=utf-8><body>{frames}<script>{MEASURE}</script>")).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-dev-shm-usage",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom"])
        .arg("--virtual-time-budget=20000")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("chromium: `bin/test` installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    let measured = said.split_once("MEASURED").and_then(|(_, rest)| rest.split_once("END"));
    let (json, _) = measured.unwrap_or_else(|| panic!("{said}\n{}", String::from_utf8_lossy(&output.stderr)));
    let found: Vec<Value> =
        serde_json::from_str(&json.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")).unwrap();
    assert_eq!(found.len(), 2 * letters().len());
    for of in found {
        assert!(of["width"].as_i64().unwrap() <= 320, "too wide: {of}");
        assert!(of["least"].as_f64().unwrap() >= 4.5, "hard to read: {of}");
        assert_eq!(of["dark"], of["scheme"] == "dark", "{of}");
        assert!(of["pictures"].as_array().unwrap().iter().all(|width| width.as_i64().unwrap() > 0), "no picture: {of}");
    }
}

#[tokio::test]
async fn developers_see_each_letter_and_the_mails_of_their_installation() {
    let app = TestApp::build().in_development().start().await;
    let org = app.org("acme").await;
    let list = app.get("/dev/letters", "").await;
    assert_eq!(list.status, 200);
    for (name, letter) in letters() {
        assert!(list.text.contains(&format!("/dev/letters/{name}\"")), "{name}");
        let page = app.get(&format!("/dev/letters/{name}"), "").await;
        assert_eq!((page.status, page.text), (200, shown(&letter)), "{name}");
    }
    let (_, letter) = letters().into_iter().find(|(name, _)| *name == "digest.weekly").unwrap();
    let new = NewMail::new(org.id, letter.clone(), "one", "ann@acme.example".parse().unwrap());
    let mut tx = app.store.begin().await.unwrap();
    jobs::mail::post(&mut tx, &new, app.clock.now(), &app.chance).await.unwrap();
    tx.commit().await.unwrap();
    app.drain().await;
    let id = app.mails().await[0].id;
    assert!(app.get("/dev/mails", "").await.text.contains(&format!("/dev/mails/{id}")));
    assert_eq!(app.get(&format!("/dev/mails/{id}"), "").await.text, shown(&letter));
    app.get("/dev/letters/none", "").await.expect(404);
    app.get("/dev/mails/none", "").await.expect(404);
}

#[tokio::test]
async fn nobody_else_sees_them() {
    let app = TestApp::start().await;
    for path in ["/dev/letters", "/dev/letters/digest.weekly", "/dev/mails"] {
        app.get(path, "").await.expect(404);
    }
}
