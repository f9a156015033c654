//! How a QR code looks, and which looks are refused before a scanner is asked.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The least contrast between foreground and background: what WCAG 2.1 (1.4.11) asks of graphics.
pub const CONTRAST_LEAST: f64 = 3.0;
/// The bounds of the quiet zone, in modules. ISO/IEC 18004 asks for four; readers need one to see where the code ends, and
/// paper is cut.
pub const QUIET_ZONE: std::ops::RangeInclusive<u8> = 2..=20;
/// The bounds of a logo's width, in percent of the code's.
pub const LOGO_PERCENT: std::ops::RangeInclusive<u8> = 5..=40;

/// How a code looks, but for its logo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Style {
    /// The colour of its dark modules.
    pub foreground: Color,
    /// The colour behind them.
    pub background: Color,
    /// How many modules of background surround it.
    pub quiet_zone: u8,
    /// How much of it may be lost.
    pub error_correction: Level,
    /// What its modules look like.
    pub shape: Shape,
    /// The logo's width in percent of the code's, where there is one.
    pub logo_percent: u8,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            foreground: Color([0; 3]),
            background: Color([255; 3]),
            quiet_zone: 4,
            error_correction: Level::M,
            shape: Shape::Square,
            logo_percent: 20,
        }
    }
}

/// An sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

/// A text that is no colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a colour such as #1a2b3c")]
pub struct InvalidColor;

impl FromStr for Color {
    type Err = InvalidColor;

    fn from_str(text: &str) -> Result<Self, InvalidColor> {
        let digits = text.strip_prefix('#').ok_or(InvalidColor)?;
        let mut parts = [0; 3];
        hex::decode_to_slice(digits, &mut parts).map_err(|_| InvalidColor)?;
        Ok(Self(parts))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", hex::encode(self.0))
    }
}

impl Serialize for Color {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Color {
    /// Relative luminance by WCAG 2.1, from 0 to 1.
    pub fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [r, g, b] = self.0.map(linear);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// The brightness that a camera without colours sees (ITU-R BT.601).
    pub fn grey(self) -> u8 {
        let [r, g, b] = self.0.map(u32::from);
        u8::try_from((299 * r + 587 * g + 114 * b + 500) / 1000).unwrap_or(u8::MAX)
    }

    /// The contrast of two colours by WCAG 2.1, from 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// `part` sixteenths less one of the way to `other`: 0 is this colour, 15 the other.
    pub(super) fn towards(self, other: Self, part: u8) -> Self {
        let mix = |a: u8, b: u8| (u16::from(a) * u16::from(15 - part) + u16::from(b) * u16::from(part) + 7) / 15;
        Self(std::array::from_fn(|n| u8::try_from(mix(self.0[n], other.0[n])).unwrap_or(u8::MAX)))
    }
}

/// How much of a code may be lost: about 7, 15, 25 or 30 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "ISO/IEC 18004 calls them so")]
pub enum Level {
    L,
    M,
    Q,
    H,
}

impl Level {
    /// Its letter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L => "L",
            Self::M => "M",
            Self::Q => "Q",
            Self::H => "H",
        }
    }
}

/// What a module looks like. The patterns by which a scanner finds the code stay square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A square.
    Square,
    /// A square whose corners are round where nothing dark is beside them.
    Rounded,
    /// A dot.
    Dot,
}

/// Why a style is refused: the field, as [`Style`] spells it outside, and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct Unscannable {
    /// `foreground`, `quietZone`, `logo`, `shape` …
    pub field: &'static str,
    /// To stand after the field's name.
    pub rule: String,
}

impl Unscannable {
    pub(super) fn new(field: &'static str, rule: impl Into<String>) -> Self {
        Self { field, rule: rule.into() }
    }
}

impl Style {
    /// What no scanner needs to be asked about.
    pub fn check(&self) -> Result<(), Unscannable> {
        let (dark, light) = (self.foreground, self.background);
        let contrast = dark.contrast(light);
        if contrast < CONTRAST_LEAST {
            // Rounded down, so that it never reads as if it were enough.
            let contrast = (contrast * 10.0).floor() / 10.0;
            let rule = format!(
                "has a contrast of {contrast:.1} to the background, and must have {CONTRAST_LEAST:.0} at least"
            );
            return Err(Unscannable::new("foreground", rule));
        }
        if dark.luminance() > light.luminance() || dark.grey() > light.grey() {
            let rule = "must be darker than the background: many scanners do not read light codes on dark ground";
            return Err(Unscannable::new("foreground", rule));
        }
        if !QUIET_ZONE.contains(&self.quiet_zone) {
            let rule = format!("must be {} to {} modules", QUIET_ZONE.start(), QUIET_ZONE.end());
            return Err(Unscannable::new("quietZone", rule));
        }
        if !LOGO_PERCENT.contains(&self.logo_percent) {
            let rule = format!("must be {} to {} percent", LOGO_PERCENT.start(), LOGO_PERCENT.end());
            return Err(Unscannable::new("logoPercent", rule));
        }
        Ok(())
    }
}
