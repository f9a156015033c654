//! The picture of a code: PNG of a wanted size, SVG and PDF without pixels.

mod pdf;
mod png;
mod svg;

use image::RgbaImage;

use super::{
    logo,
    style::{Shape, Style},
    symbol::{Symbol, TooLong},
};

/// The radius of a dot, in modules.
const DOT: f64 = 0.45;

/// A code that is ready to be drawn.
#[derive(Debug, Clone)]
pub struct Picture {
    symbol: Symbol,
    pub(super) style: Style,
    /// The logo's PNG, and its pixels.
    logo: Option<(Vec<u8>, RgbaImage)>,
}

/// The kinds of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pixels: two colours where modules are square, sixteen where they are round, and all with a logo.
    Png,
    /// Vectors.
    Svg,
    /// Vectors, one page.
    Pdf,
}

impl Format {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
            Self::Pdf => "application/pdf",
        }
    }
}

/// A size in which not every module would have a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be at least {0} for this code")]
pub struct TooSmall(pub u32);

/// Why there is no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPicture {
    /// The text is too long.
    #[error("{0}")]
    TooLong(#[from] TooLong),
    /// The size is too small.
    #[error("{0}")]
    TooSmall(#[from] TooSmall),
}

/// What is drawn of dark modules, in modules from the upper left of the symbol.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece {
    /// Squares side by side.
    Run { x: usize, y: usize, length: usize },
    /// A square with some of its corners round.
    Rounded { x: usize, y: usize, corners: [bool; 4] },
    /// A dot.
    Dot { x: usize, y: usize },
}

impl Picture {
    /// The picture of `text`. `logo` is as [`logo::kept`] wrote it; one that cannot be read is left out.
    pub fn new(text: &str, style: Style, logo: Option<&[u8]>) -> Result<Self, TooLong> {
        let logo = logo.and_then(|kept| Some((kept.to_vec(), logo::open(kept)?)));
        let symbol = Symbol::new(text, style.error_correction, logo.as_ref().map(|_| style.logo_percent))?;
        Ok(Self { symbol, style, logo })
    }

    /// Modules per side, quiet zone included.
    pub fn width(&self) -> usize {
        self.symbol.width + 2 * usize::from(self.style.quiet_zone)
    }

    /// The file. `size` is its width and height in pixels (CSS pixels where there are none, 96 to the inch).
    pub fn file(&self, format: Format, size: u32) -> Result<Vec<u8>, TooSmall> {
        match format {
            Format::Png => self.png(size),
            Format::Svg => Ok(self.svg(size)),
            Format::Pdf => Ok(self.pdf(size)),
        }
    }

    /// Where the logo is drawn, in modules from the upper left of the symbol: left, top, width, height. Half a module of
    /// the hole stays free around it.
    fn logo_box(&self, logo: &RgbaImage) -> [f64; 4] {
        let room = self.symbol.hole as f64 - 1.0;
        let (w, h) = (f64::from(logo.width()), f64::from(logo.height()));
        let (width, height) = if w >= h { (room, room * h / w) } else { (room * w / h, room) };
        let middle = self.symbol.width as f64 / 2.0;
        [middle - width / 2.0, middle - height / 2.0, width, height]
    }

    fn pieces(&self) -> Vec<Piece> {
        let symbol = &self.symbol;
        let mut pieces: Vec<Piece> = vec![];
        for y in 0..symbol.width {
            for x in (0..symbol.width).filter(|x| symbol.is_dark(*x, y)) {
                let piece = match self.style.shape {
                    _ if symbol.is_whole(x, y) => Piece::Run { x, y, length: 1 },
                    Shape::Dot => Piece::Dot { x, y },
                    Shape::Rounded => match symbol.free_corners(x, y) {
                        [false, false, false, false] => Piece::Run { x, y, length: 1 },
                        corners => Piece::Rounded { x, y, corners },
                    },
                    Shape::Square => Piece::Run { x, y, length: 1 },
                };
                match (pieces.last_mut(), piece) {
                    (Some(Piece::Run { x: from, y: row, length }), Piece::Run { .. })
                        if *row == y && *from + *length == x =>
                    {
                        *length += 1;
                    }
                    _ => pieces.push(piece),
                }
            }
        }
        pieces
    }
}
