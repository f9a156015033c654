//! The symbol: which modules are dark, what must stay whole of them, and the hole that a logo stands in.

use qrcode::{
    EcLevel, QrCode, Version,
    bits::{Bits, encode_auto},
    types::Color,
};

use super::style::Level;

/// The modules of a code, row by row, without the quiet zone.
#[derive(Debug, Clone)]
pub struct Symbol {
    /// Modules per side: 21 to 177.
    pub width: usize,
    /// Modules per side of the hole in the middle; 0 where there is none.
    pub hole: usize,
    dark: Vec<bool>,
    whole: Vec<bool>,
}

/// A text that is too long for any symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is too long for a QR code with error correction {}: it holds up to {most} bytes", .level.name())]
pub struct TooLong {
    level: Level,
    most: usize,
}

impl Symbol {
    /// The smallest symbol for `text`, with a hole of at least `hole_percent` of its width.
    pub fn new(text: &str, level: Level, hole_percent: Option<u8>) -> Result<Self, TooLong> {
        let (ec, most) = match level {
            Level::L => (EcLevel::L, 2953),
            Level::M => (EcLevel::M, 2331),
            Level::Q => (EcLevel::Q, 1663),
            Level::H => (EcLevel::H, 1273),
        };
        let too_long = TooLong { level, most };
        let code = bits(text, ec).and_then(|bits| QrCode::with_bits(bits, ec).ok()).ok_or(too_long)?;
        let width = code.width();
        let places = (0..width * width).map(|n| (n % width, n / width));
        let whole = places.map(|(x, y)| code.is_functional(x, y)).collect();
        // Odd, as the width is, so that the hole is in the middle.
        let hole = hole_percent.map_or(0, |percent| (width * usize::from(percent)).div_ceil(100) | 1);
        let dark = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        Ok(Self { width, hole, dark, whole })
    }

    /// Where the hole begins, from the left and from the top.
    pub fn hole_at(&self) -> usize {
        (self.width - self.hole) / 2
    }

    /// Whether the module is dark; nothing is in the hole, or outside.
    pub fn is_dark(&self, x: usize, y: usize) -> bool {
        let hole = self.hole_at()..self.hole_at() + self.hole;
        let inside = x < self.width && y < self.width;
        inside && self.dark[y * self.width + x] && !(hole.contains(&x) && hole.contains(&y))
    }

    /// Whether the module belongs to a pattern by which scanners find and measure the code.
    pub fn is_whole(&self, x: usize, y: usize) -> bool {
        self.whole[y * self.width + x]
    }

    /// Whether nothing dark is on either side of each corner: above left, above right, below right, below left.
    pub fn free_corners(&self, x: usize, y: usize) -> [bool; 4] {
        let left = x.checked_sub(1).is_some_and(|x| self.is_dark(x, y));
        let above = y.checked_sub(1).is_some_and(|y| self.is_dark(x, y));
        let (right, below) = (self.is_dark(x + 1, y), self.is_dark(x, y + 1));
        [!left && !above, !right && !above, !right && !below, !left && !below]
    }
}

/// The text in the modes that take the least room. What is not ASCII stands as UTF-8 and says so, because readers guess
/// otherwise (zbar reads é as 矇), and never as Kanji, for which the encoder would take some of its bytes.
fn bits(text: &str, ec: EcLevel) -> Option<Bits> {
    /// UTF-8 among the extended channel interpretations.
    const UTF_8: u32 = 26;
    if text.is_ascii() {
        return encode_auto(text.as_bytes(), ec).ok();
    }
    (1..=40).find_map(|version| {
        let mut bits = Bits::new(Version::Normal(version));
        bits.push_eci_designator(UTF_8).ok()?;
        bits.push_byte_data(text.as_bytes()).ok()?;
        bits.push_terminator(ec).ok()?;
        Some(bits)
    })
}
