//! The code as a page.

use image::RgbaImage;
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Ref};

use super::{DOT, Picture, Piece};
use crate::pdf::{FREE, POINTS, fill, packed, page};

const LOGO: Ref = Ref::new(FREE);
const MASK: Ref = Ref::new(FREE + 1);
const LOGO_NAME: Name<'static> = Name(b"Logo");
/// How far the handles of a cubic curve reach along a quarter of a circle of radius 1.
const HANDLE: f32 = 0.552_285;

impl Picture {
    pub(super) fn pdf(&self, size: u32) -> Vec<u8> {
        let side = size as f32 * POINTS;
        let pictures = if self.logo.is_some() { &[(LOGO_NAME, LOGO)][..] } else { &[] };
        let mut pdf = page(side, side, &self.drawing(side), pictures);
        if let Some((_, logo)) = &self.logo {
            embed(&mut pdf, logo);
        }
        pdf.finish()
    }

    /// The page's content, in units of modules from the symbol's upper left.
    fn drawing(&self, side: f32) -> Vec<u8> {
        let (width, quiet) = (self.width() as f32, f32::from(self.style.quiet_zone));
        let module = side / width;
        let mut content = Content::new();
        fill(&mut content, self.style.background);
        content.rect(0.0, 0.0, side, side).fill_nonzero();
        // PDF counts from below.
        content.transform([module, 0.0, 0.0, -module, quiet * module, side - quiet * module]);
        fill(&mut content, self.style.foreground);
        for piece in self.pieces() {
            match piece {
                Piece::Run { x, y, length } => drop(content.rect(x as f32, y as f32, length as f32, 1.0)),
                Piece::Dot { x, y } => round(&mut content, x, y, DOT as f32, [true; 4]),
                Piece::Rounded { x, y, corners } => round(&mut content, x, y, 0.5, corners),
            }
        }
        content.fill_nonzero();
        if let Some((_, logo)) = &self.logo {
            let [x, y, width, height] = self.logo_box(logo).map(|modules| modules as f32);
            // A picture's unit square counts from below too.
            content.transform([width, 0.0, 0.0, -height, x, y + height]).x_object(LOGO_NAME);
        }
        content.finish().into_vec()
    }
}

/// A module of radius `r` with some of its corners round, from its left side around.
fn round(content: &mut Content, x: usize, y: usize, r: f32, corners: [bool; 4]) {
    let (x, y, near) = (x as f32 + 0.5, y as f32 + 0.5, r * HANDLE);
    // The directions in which the path goes before and after each corner.
    let ways =
        [[(-1.0, 0.0), (0.0, -1.0)], [(0.0, -1.0), (1.0, 0.0)], [(1.0, 0.0), (0.0, 1.0)], [(0.0, 1.0), (-1.0, 0.0)]];
    content.move_to(x - r, y);
    for ([(ax, ay), (bx, by)], is_round) in ways.into_iter().zip(corners) {
        let (end_x, end_y) = (x + r * bx, y + r * by);
        if is_round {
            let (x1, y1) = (x + r * ax + near * bx, y + r * ay + near * by);
            content.cubic_to(x1, y1, end_x + near * ax, end_y + near * ay, end_x, end_y);
        } else {
            content.line_to(x + r * (ax + bx), y + r * (ay + by)).line_to(end_x, end_y);
        }
    }
    content.close_path();
}

/// The logo's colours, and how much of them is seen.
fn embed(pdf: &mut Pdf, logo: &RgbaImage) {
    let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
    let (width, height) = (side(logo.width()), side(logo.height()));
    let colours: Vec<u8> = logo.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]).collect();
    let colours = packed(&colours);
    let mut picture = pdf.image_xobject(LOGO, &colours);
    picture.width(width).height(height).bits_per_component(8).s_mask(MASK).filter(Filter::FlateDecode);
    picture.color_space().device_rgb();
    picture.finish();
    let seen = packed(&logo.pixels().map(|pixel| pixel.0[3]).collect::<Vec<u8>>());
    let mut mask = pdf.image_xobject(MASK, &seen);
    mask.width(width).height(height).bits_per_component(8).filter(Filter::FlateDecode);
    mask.color_space().device_gray();
}
