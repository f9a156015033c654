//! PNG. Every module has the same whole number of pixels, so that edges are sharp; what is left over joins the quiet zone.

use image::{RgbaImage, imageops};
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use super::{DOT, Picture, TooSmall};
use crate::{
    colour::Colour,
    qr::{style::Shape, symbol::Symbol},
};

/// Points per side of a pixel that are asked whether they are dark.
const POINTS: usize = 4;
/// The least pixels of a module that can be round. With fewer nobody sees it, and readers lose what it leaves out.
const ROUND_LEAST: usize = 4;

/// How dark each pixel of a module is, row by row: 0 background, 15 foreground.
type Tile = Vec<u8>;

impl Picture {
    pub(super) fn png(&self, size: u32) -> Result<Vec<u8>, TooSmall> {
        let (side, width) = (size as usize, self.width());
        let scale = side / width;
        if scale == 0 {
            return Err(TooSmall(u32::try_from(width).unwrap_or(u32::MAX)));
        }
        let start = (side - scale * self.symbol.width) / 2;
        let shape = if scale < ROUND_LEAST { Shape::Square } else { self.style.shape };
        let raster = Raster { picture: self, shape, side, scale, start };
        Ok(match (&self.logo, shape) {
            (Some((_, logo)), _) => raster.colours(logo),
            (None, Shape::Square) => raster.palette(BitDepth::One),
            (None, Shape::Rounded | Shape::Dot) => raster.palette(BitDepth::Four),
        })
    }
}

/// A picture in pixels.
struct Raster<'p> {
    picture: &'p Picture,
    shape: Shape,
    /// Pixels of a side.
    side: usize,
    /// Pixels of a module's side.
    scale: usize,
    /// Where the symbol begins, from the left and from the top.
    start: usize,
}

impl Raster<'_> {
    /// The colours between background and foreground.
    fn shades(&self) -> [Colour; 16] {
        let style = &self.picture.style;
        let part = |n| style.background.towards(style.foreground, u8::try_from(n).unwrap_or(15));
        std::array::from_fn(part)
    }

    /// Calls `each` with every row of pixels and how often it stands there, from the top.
    fn rows(&self, mut each: impl FnMut(&[u8], usize)) {
        let Self { scale, start, .. } = *self;
        let symbol = &self.picture.symbol;
        let mut row = vec![0; self.side];
        each(&row, start);
        let tiles = Tiles::new(self.shape, scale);
        // Where nothing is round, all rows of a module are the same.
        let same = if self.shape == Shape::Square { scale } else { 1 };
        for (y, line) in (0..symbol.width).flat_map(|y| (0..scale).step_by(same).map(move |line| (y, line))) {
            for x in 0..symbol.width {
                let pixels = &mut row[start + x * scale..start + (x + 1) * scale];
                match symbol.is_dark(x, y) {
                    true => pixels.copy_from_slice(&tiles.of(symbol, x, y)[line * scale..(line + 1) * scale]),
                    false => pixels.fill(0),
                }
            }
            each(&row, same);
        }
        row.fill(0);
        each(&row, self.side - start - scale * symbol.width);
    }

    /// One or four bits to a pixel.
    fn palette(&self, depth: BitDepth) -> Vec<u8> {
        let bits = depth as usize;
        let mut data = Vec::with_capacity(self.side.div_ceil(8 / bits) * self.side);
        self.rows(|row, times| {
            let from = data.len();
            data.extend(row.chunks(8 / bits).map(|pixels| {
                let packed = pixels.iter().fold(0, |byte: u8, shade| (byte << bits) | (shade >> (4 - bits)));
                packed << (bits * (8 / bits - pixels.len()))
            }));
            let to = data.len();
            match times {
                0 => data.truncate(from),
                _ => (1..times).for_each(|_| data.extend_from_within(from..to)),
            }
        });
        let shades = self.shades();
        let colours: Vec<u8> = match depth {
            BitDepth::One => [shades[0], shades[15]].iter().flat_map(|color| color.0).collect(),
            _ => shades.iter().flat_map(|color| color.0).collect(),
        };
        encoded(self.side, &data, ColorType::Indexed, depth, Some(colours))
    }

    /// All colours, for the logo's sake.
    fn colours(&self, logo: &RgbaImage) -> Vec<u8> {
        let shades = self.shades().map(|color| color.0);
        let mut data = Vec::with_capacity(self.side * self.side * 3);
        self.rows(|row, times| {
            for _ in 0..times {
                data.extend(row.iter().flat_map(|shade| shades[usize::from(*shade)]));
            }
        });
        let [left, top, width, height] =
            self.picture.logo_box(logo).map(|modules| (modules * self.scale as f64).round() as u32);
        let drawn = imageops::resize(logo, width.max(1), height.max(1), imageops::FilterType::Triangle);
        for (x, y, pixel) in drawn.enumerate_pixels() {
            let at = 3 * ((self.start + (top + y) as usize) * self.side + self.start + (left + x) as usize);
            let [.., alpha] = pixel.0;
            for (below, above) in data[at..at + 3].iter_mut().zip(pixel.0) {
                let mixed = u16::from(*below) * u16::from(255 - alpha) + u16::from(above) * u16::from(alpha);
                *below = u8::try_from((mixed + 127) / 255).unwrap_or(u8::MAX);
            }
        }
        encoded(self.side, &data, ColorType::Rgb, BitDepth::Eight, None)
    }
}

/// The tiles that a picture needs: one for whole modules, one for dots, sixteen for round corners.
struct Tiles {
    whole: Tile,
    round: Vec<Tile>,
}

impl Tiles {
    fn new(shape: Shape, scale: usize) -> Self {
        let round = match shape {
            Shape::Square => vec![],
            Shape::Dot => vec![tile(scale, |x, y| x.hypot(y) <= DOT)],
            Shape::Rounded => (0..16).map(|corners| tile(scale, |x, y| in_rounded(corners, x, y))).collect(),
        };
        Self { whole: vec![15; scale * scale], round }
    }

    fn of(&self, symbol: &Symbol, x: usize, y: usize) -> &Tile {
        match self.round.as_slice() {
            [] => &self.whole,
            _ if symbol.is_whole(x, y) => &self.whole,
            [dot] => dot,
            rounded => {
                let corners = symbol.free_corners(x, y).into_iter().enumerate();
                &rounded[corners.map(|(n, free)| usize::from(free) << n).sum::<usize>()]
            }
        }
    }
}

/// Whether a point, from the middle of its module, is dark. A round corner is a quarter of a circle.
fn in_rounded(corners: usize, x: f64, y: f64) -> bool {
    let corner = match (x >= 0.0, y >= 0.0) {
        (false, false) => 0,
        (true, false) => 1,
        (true, true) => 2,
        (false, true) => 3,
    };
    corners & (1 << corner) == 0 || x.hypot(y) <= 0.5
}

fn tile(scale: usize, is_dark: impl Fn(f64, f64) -> bool) -> Tile {
    let place = |pixel: usize, point: usize| (pixel as f64 + (point as f64 + 0.5) / POINTS as f64) / scale as f64 - 0.5;
    let shade = |n: usize| {
        let points = (0..POINTS * POINTS).map(|p| (place(n % scale, p % POINTS), place(n / scale, p / POINTS)));
        let dark = points.filter(|(x, y)| is_dark(*x, *y)).count();
        u8::try_from((dark * 15 + POINTS * POINTS / 2) / (POINTS * POINTS)).unwrap_or(15)
    };
    (0..scale * scale).map(shade).collect()
}

fn encoded(side: usize, data: &[u8], color: ColorType, depth: BitDepth, palette: Option<Vec<u8>>) -> Vec<u8> {
    let mut file = vec![];
    let side = u32::try_from(side).unwrap_or(u32::MAX);
    let mut encoder = Encoder::new(&mut file, side, side);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    // Most rows are the one above again.
    encoder.set_filter(Filter::Up);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    // Into memory, of a size that fits: nothing can go wrong.
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(data)?;
        writer.finish()
    });
    written.expect("a picture fits its header");
    file
}
