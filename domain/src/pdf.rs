//! Pages of vectors, PDF 1.7. Nothing in one tells a time, so the same picture is the same file.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref};

use crate::colour::Colour;

const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const PAGE: Ref = Ref::new(3);
const CONTENT: Ref = Ref::new(4);
/// The first that a page's pictures may have.
pub const FREE: i32 = 5;
/// Points (1/72 inch) to a CSS pixel (1/96 inch).
pub const POINTS: f32 = 0.75;

/// A file with one page, `width` and `height` points, and the pictures that its content draws.
pub fn page(width: f32, height: f32, content: &[u8], pictures: &[(Name<'_>, Ref)]) -> Pdf {
    let mut pdf = Pdf::new();
    pdf.catalog(CATALOG).pages(PAGES);
    pdf.pages(PAGES).kids([PAGE]).count(1);
    let mut page = pdf.page(PAGE);
    page.parent(PAGES).media_box(Rect::new(0.0, 0.0, width, height)).contents(CONTENT);
    let mut resources = page.resources();
    for (name, picture) in pictures {
        resources.x_objects().pair(*name, *picture);
    }
    resources.finish();
    page.finish();
    pdf.stream(CONTENT, &packed(content)).filter(Filter::FlateDecode);
    pdf
}

/// What is drawn from here on has this colour.
pub fn fill(content: &mut Content, colour: Colour) {
    let [r, g, b] = colour.0.map(|part| f32::from(part) / 255.0);
    content.set_fill_rgb(r, g, b);
}

/// Deflated, as [`Filter::FlateDecode`] reads it.
pub fn packed(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(vec![], Compression::default());
    let written = encoder.write_all(data).and_then(|()| encoder.finish());
    written.expect("memory takes everything")
}
