//! How a barcode is drawn, within what scanners can tell apart.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Kind;

/// The widest empty margin, in modules.
pub const QUIET_MAX: u32 = 60;
/// How high bars are, in percent of the width of all of them: the least (ISO/IEC 16388), the most, and what they are
/// unless somebody chose.
pub const BAR_HEIGHT: (u32, u32, u32) = (15, 100, 40);
/// How much more light the ground must give back than the bars, of all: grade B of ISO/IEC 15416.
const CONTRAST_LEAST: f64 = 0.55;

/// A colour, `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

/// A text that is no colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a colour such as #1a2b3c")]
pub struct InvalidColour;

impl FromStr for Colour {
    type Err = InvalidColour;

    fn from_str(text: &str) -> Result<Self, InvalidColour> {
        let mut rgb = [0; 3];
        let digits = text.strip_prefix('#').ok_or(InvalidColour)?;
        hex::decode_to_slice(digits, &mut rgb).map_err(|_| InvalidColour)?;
        Ok(Self(rgb))
    }
}

impl std::fmt::Display for Colour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", hex::encode(self.0))
    }
}

impl Serialize for Colour {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Colour {
    /// Its channels as shares of the light that they give back (sRGB, IEC 61966-2-1).
    fn light(self) -> [f64; 3] {
        self.0.map(|channel| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        })
    }
}

/// How a barcode is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Style {
    /// The colour of bars and cells.
    pub foreground: Colour,
    /// The colour of what is around them.
    pub background: Colour,
    /// The empty margin on either side in modules; what the kind needs if not chosen.
    pub quiet_zone: Option<u32>,
    /// How high bars are, in percent of the width of all of them; cells have their own height.
    pub bar_height: u32,
}

impl Default for Style {
    fn default() -> Self {
        Self { foreground: Colour([0; 3]), background: Colour([255; 3]), quiet_zone: None, bar_height: BAR_HEIGHT.2 }
    }
}

impl Style {
    /// The empty margin on either side of a barcode of this kind, in modules.
    pub fn quiet(&self, kind: Kind) -> u32 {
        self.quiet_zone.unwrap_or_default().max(kind.quiet())
    }

    /// Whether a scanner can tell bars from ground. Many see by red light only, so both all light and the red must differ.
    pub fn has_contrast(&self) -> bool {
        let (bars, ground) = (self.foreground.light(), self.background.light());
        // Rec. 709.
        let all = |[r, g, b]: [f64; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
        all(ground) - all(bars) >= CONTRAST_LEAST && ground[0] - bars[0] >= CONTRAST_LEAST
    }
}
