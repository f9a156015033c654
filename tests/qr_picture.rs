//! Pictures of QR codes: whatever is saved can be scanned, by decoders that nobody here wrote; and what cannot is refused
//! with its reason.

use std::io::Cursor;

use domain::qr::{
    content::{Content, Email, Event, Geo, Security, Sms, Vcard, Wifi},
    logo,
    picture::{Format, Picture, TooSmall},
    proof::{Refused, prove},
    style::{Level, Shape, Style},
};
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use proptest::prelude::*;

use crate::support::scanner::{Seen, scan};

/// 2026-03-02T12:00:00Z.
const NOW: i64 = 1_772_452_800_000;
const LEVELS: [Level; 4] = [Level::L, Level::M, Level::Q, Level::H];
const SHAPES: [Shape; 3] = [Shape::Square, Shape::Rounded, Shape::Dot];

fn contents() -> Vec<Content> {
    let text = |text: &str| Some(text.to_owned());
    vec![
        Content::Url("https://shop.example/summer?a=1&b=%20#part".into()),
        Content::Text("Grüße aus Köln, 東京 and 🎈\nsecond line".into()),
        Content::Text("0123456789012345".into()),
        Content::Text("点".into()),
        Content::Vcard(Box::new(Vcard {
            first_name: text("Zoë"),
            last_name: text("O'Brien; Jr."),
            organization: text("Acme, Inc."),
            title: text("Head of \\ things"),
            phone: text("+1 (555) 010-0199"),
            mobile: text("0151 23456789"),
            email: text("zoe@acme.example"),
            url: text("https://acme.example/a,b;c"),
            street: text("1 Main St"),
            city: text("Springfield"),
            country: text("USA"),
            note: text("first\nsecond"),
            ..Vcard::default()
        })),
        Content::Wifi(Wifi {
            ssid: "Café; \"free\"".into(),
            security: Security::Wpa,
            password: text("a:b,c;d\\e"),
            hidden: true,
        }),
        Content::Email(Email {
            to: "a+b@acme.example".into(),
            cc: text("c@acme.example"),
            subject: text("50% & more?"),
            body: text("Hello,\nworld"),
        }),
        Content::Sms(Sms { phone: "+1 555 010-0199".into(), message: text("Hi: there; you") }),
        Content::Phone("+49 (0) 30/123456".into()),
        Content::Geo(Geo { latitude: 52.5200066, longitude: -13.404954, altitude: Some(34.5) }),
        Content::Event(Box::new(Event {
            title: "Summer; party, with a very long title that does not fit into seventy-five octets".into(),
            start: "2026-06-01T18:00:00+02:00".into(),
            end: text("2026-06-01T23:00:00+02:00"),
            location: text("Köln"),
            description: text("Bring\nfriends"),
        })),
    ]
}

fn picture(text: &str, style: Style, logo: Option<&[u8]>) -> Picture {
    Picture::new(text, style, logo).unwrap()
}

#[track_caller]
fn reads(seen: &Seen, text: &str, of: &str) {
    let told = |found: &[(String, String)]| found.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    assert_eq!(told(&seen.zxing), [text], "zxing-cpp, {of}");
    assert_eq!(told(&seen.zbar), [text], "zbar, {of}");
}

/// A round logo on nothing, in two colours.
fn round_logo(format: ImageFormat, side: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| {
        let (x, y) = (f64::from(x) - f64::from(side) / 2.0, f64::from(y) - f64::from(side) / 2.0);
        match x.hypot(y) {
            r if r < f64::from(side) / 5.0 => Rgba([255, 255, 255, 255]),
            r if r < f64::from(side) / 2.0 => Rgba([200, 30, 30, 255]),
            _ => Rgba([0, 0, 0, 0]),
        }
    };
    let picture = DynamicImage::from(RgbaImage::from_fn(side, side, pixel));
    let picture = if format == ImageFormat::Jpeg { picture.into_rgb8().into() } else { picture };
    let mut file = Cursor::new(vec![]);
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

#[test]
fn every_content_in_every_error_correction_and_shape_is_read_by_others() {
    let mut made = vec![];
    for content in contents() {
        assert_eq!(content.broken(), [], "{content:?}");
        let text = content.text(NOW);
        for (error_correction, shape) in LEVELS.iter().flat_map(|level| SHAPES.map(|shape| (*level, shape))) {
            let style = Style { error_correction, shape, ..Style::default() };
            let file = picture(&text, style, None).file(Format::Png, 640).unwrap();
            made.push((format!("{error_correction:?} {shape:?}"), text.clone(), file));
        }
    }
    let seen = scan(made.iter().map(|(_, _, file)| ("png", file.as_slice())));
    assert_eq!(seen.len(), made.len());
    for (seen, (of, text, _)) in seen.iter().zip(&made) {
        reads(seen, text, of);
    }
}

#[test]
fn pixels_vectors_and_pages_show_the_same_code() {
    let logo = logo::kept(&round_logo(ImageFormat::Jpeg, 300)).unwrap();
    let text = "https://shop.example/summer";
    let mut made = vec![];
    for shape in SHAPES {
        for logo in [None, Some(logo.as_slice())] {
            let (foreground, background) = ("#123a7b".parse().unwrap(), "#fff4dd".parse().unwrap());
            let style = Style { foreground, background, shape, error_correction: Level::H, ..Style::default() };
            prove(text, &style, logo).unwrap();
            let picture = picture(text, style, logo);
            for (format, extension) in [(Format::Png, "png"), (Format::Svg, "svg"), (Format::Pdf, "pdf")] {
                let file = picture.file(format, 600).unwrap();
                assert_eq!(file, picture.file(format, 600).unwrap(), "the same code is the same file");
                made.push((format!("{shape:?} {format:?} {}", logo.is_some()), extension, file));
            }
        }
    }
    for (seen, (of, ..)) in scan(made.iter().map(|(_, kind, file)| (*kind, file.as_slice()))).iter().zip(&made) {
        reads(seen, text, of);
    }
}

#[test]
fn a_picture_has_its_size_and_no_more_colours_than_it_needs() {
    let text = "https://shop.example/summer";
    let logo = logo::kept(&round_logo(ImageFormat::Png, 64)).unwrap();
    let mut made = vec![];
    for (shape, logo, mode, most) in [
        (Shape::Square, None, "P", 2),
        (Shape::Dot, None, "P", 16),
        (Shape::Rounded, None, "P", 16),
        (Shape::Square, Some(logo.as_slice()), "RGB", u32::MAX),
    ] {
        let style = Style { shape, error_correction: Level::H, ..Style::default() };
        for size in [256, 1000, 1024, 1027] {
            let file = picture(text, style, logo).file(Format::Png, size).unwrap();
            made.push((size, mode, most, file));
        }
    }
    for (seen, (size, mode, most, file)) in scan(made.iter().map(|m| ("png", m.3.as_slice()))).iter().zip(&made) {
        assert_eq!((seen.size, seen.mode.as_str()), ((*size, *size), *mode));
        assert!(seen.colours.unwrap() <= *most && seen.colours != Some(0) || *most == u32::MAX, "{seen:?}");
        // The bit depth (PNG, 11.2.2).
        assert_eq!(
            file[24],
            if *most == 2 {
                1
            } else if *most == 16 {
                4
            } else {
                8
            }
        );
    }
    assert_eq!(picture(text, Style::default(), None).file(Format::Png, 36), Err(TooSmall(37)));
    assert!(picture(text, Style::default(), None).file(Format::Png, 37).is_ok());
}

fn refused(style: Style, logo: Option<&[u8]>) -> (&'static str, String) {
    match prove("https://shop.example/summer", &style, logo) {
        Err(Refused::Style(why)) => (why.field, why.rule),
        other => panic!("{style:?}: {other:?}"),
    }
}

#[test]
fn a_style_that_does_not_scan_is_refused_with_the_reason() {
    let logo = logo::kept(&round_logo(ImageFormat::Png, 200)).unwrap();
    let plain = Style::default();
    for (style, logo, field, rule) in [
        (Style { foreground: "#ffd700".parse().unwrap(), ..plain }, None, "foreground", "has a contrast of 1.4"),
        (
            Style { foreground: plain.background, background: plain.foreground, ..plain },
            None,
            "foreground",
            "must be darker",
        ),
        (Style { quiet_zone: 1, ..plain }, None, "quietZone", "must be 2 to 20 modules"),
        (
            Style { logo_percent: 40, error_correction: Level::L, ..plain },
            Some(logo.as_slice()),
            "logo",
            "covers too much of the code: with 40 percent of its width and error correction L",
        ),
    ] {
        let (wrong, why) = refused(style, logo);
        assert_eq!(wrong, field);
        assert!(why.contains(rule), "{why}");
    }
    let long = "x".repeat(2332);
    let told = prove(&long, &plain, None).unwrap_err().to_string();
    assert_eq!(told, "the content is too long for a QR code with error correction M: it holds up to 2331 bytes");
}

#[test]
fn the_largest_codes_are_proven_too() {
    for (level, most) in [(Level::L, 2953), (Level::M, 2331), (Level::Q, 1663), (Level::H, 1273)] {
        for shape in SHAPES {
            let style = Style { error_correction: level, shape, ..Style::default() };
            assert_eq!(prove(&"x".repeat(most), &style, None), Ok(()), "{style:?}");
            assert!(prove(&"x".repeat(most + 1), &style, None).is_err(), "{level:?}");
        }
    }
}

#[test]
fn a_logo_is_read_once_and_kept_small() {
    for (format, side) in [(ImageFormat::Png, 900), (ImageFormat::Jpeg, 700), (ImageFormat::Png, 3)] {
        let kept = logo::kept(&round_logo(format, side)).unwrap();
        let picture = image::load_from_memory_with_format(&kept, ImageFormat::Png).unwrap();
        assert_eq!(picture.width(), side.min(512), "{format:?}");
    }
    let png = round_logo(ImageFormat::Png, 64);
    for broken in [&b""[..], b"GIF89a", &png[..png.len() / 2], b"<svg/>"] {
        assert_eq!(logo::kept(broken), Err(logo::InvalidLogo::Unreadable));
    }
    assert_eq!(logo::kept(&vec![0; 256 * 1024 + 1]), Err(logo::InvalidLogo::TooLarge));
    // Small as a file, and 900 million pixels once it is read.
    let mut bomb = png;
    bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    assert_eq!(logo::kept(&bomb), Err(logo::InvalidLogo::Unreadable));
}

fn level() -> impl Strategy<Value = Level> {
    proptest::sample::select(&LEVELS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The proof holds what it promises: any text, in any style that passes, is the text that the decoder reads.
    #[test]
    fn any_text_is_read_back_as_it_was(text in "\\PC{1,120}", level in level(), shape in proptest::sample::select(&SHAPES)) {
        let style = Style { error_correction: level, shape, ..Style::default() };
        prop_assert_eq!(prove(&text, &style, None), Ok(()));
    }
}
