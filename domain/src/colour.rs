//! Colours, and how much light they give back: whether a scanner can tell them apart.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An sRGB colour, `#rrggbb`.
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

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    pub fn light(self) -> [f64; 3] {
        self.0.map(|channel| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// All light that it gives back, from 0 to 1 (ITU-R BT.709).
    pub fn luminance(self) -> f64 {
        let [r, g, b] = self.light();
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// The contrast of two colours by WCAG 2.1, from 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// The brightness that a camera without colours sees (ITU-R BT.601).
    pub fn grey(self) -> u8 {
        let [r, g, b] = self.0.map(u32::from);
        u8::try_from((299 * r + 587 * g + 114 * b + 500) / 1000).unwrap_or(u8::MAX)
    }

    /// The colour on the way to `other`: 0 is this one, 15 the other.
    pub fn towards(self, other: Self, part: u8) -> Self {
        let mix = |a: u8, b: u8| (u16::from(a) * u16::from(15 - part) + u16::from(b) * u16::from(part) + 7) / 15;
        Self(std::array::from_fn(|n| u8::try_from(mix(self.0[n], other.0[n])).unwrap_or(u8::MAX)))
    }
}
