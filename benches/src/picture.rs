//! Pictures of a QR code: how long one takes on one core, how large its file is, and what the proof costs that it is read.

use anyhow::Context;
use domain::qr::{
    logo,
    picture::{Format, Picture},
    proof::prove,
    style::{Level, Shape, Style},
};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use tokio::time::Instant;

use crate::report::{median, section};

const TEXT: &str = "https://ink.example/r/summer24";
const SIZE: u32 = 1024;
const TIMES: usize = 200;

/// Runs it.
pub fn run(words: &[String]) -> anyhow::Result<()> {
    let mut file = std::io::Cursor::new(vec![]);
    let picture = RgbImage::from_fn(400, 400, |x, y| Rgb([x as u8, y as u8, 90]));
    DynamicImage::from(picture).write_to(&mut file, ImageFormat::Png)?;
    let logo = logo::kept(&file.into_inner())?;
    let mut table = format!(
        "A QR code of {} bytes at {SIZE} px; the middle of {TIMES} runs on one core, drawing and writing the file.\n\n\
         | picture | ms | bytes | proof, ms |\n|---|---|---|---|\n",
        TEXT.len()
    );
    for (name, shape, logo, format) in [
        ("PNG, square", Shape::Square, None, Format::Png),
        ("PNG, rounded", Shape::Rounded, None, Format::Png),
        ("PNG, dots", Shape::Dot, None, Format::Png),
        ("PNG, square, with a logo", Shape::Square, Some(logo.as_slice()), Format::Png),
        ("SVG, rounded", Shape::Rounded, None, Format::Svg),
        ("PDF, rounded", Shape::Rounded, None, Format::Pdf),
    ] {
        let style = Style { shape, error_correction: Level::H, ..Style::default() };
        let draw = || Picture::new(TEXT, style, logo)?.file(format, SIZE).context("the picture is large enough");
        let bytes = draw()?.len();
        let mut took = vec![];
        for _ in 0..TIMES {
            let started = Instant::now();
            std::hint::black_box(draw()?);
            took.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        let started = Instant::now();
        prove(TEXT, &style, logo)?;
        let proof = started.elapsed().as_secs_f64() * 1000.0;
        table += &format!("| {name} | {:.2} | {bytes} | {proof:.0} |\n", median(&mut took));
    }
    section("picture", &table, words.iter().any(|word| word == "--write"))
}
