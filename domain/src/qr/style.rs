//! How a QR code looks, and which looks are refused before a scanner is asked.

use serde::{Deserialize, Serialize};

use crate::colour::Colour;

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
    pub foreground: Colour,
    /// The colour behind them.
    pub background: Colour,
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
            foreground: Colour([0; 3]),
            background: Colour([255; 3]),
            quiet_zone: 4,
            error_correction: Level::M,
            shape: Shape::Square,
            logo_percent: 20,
        }
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
