//! How a barcode is drawn, within what scanners can tell apart.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::colour::Colour;

/// The widest empty margin, in modules.
pub const QUIET_MAX: u32 = 60;
/// How high bars are, in percent of the width of all of them: the least (ISO/IEC 16388), the most, and what they are
/// unless somebody chose.
pub const BAR_HEIGHT: (u32, u32, u32) = (15, 100, 40);
/// How much more light the ground must give back than the bars, of all: grade B of ISO/IEC 15416.
const CONTRAST_LEAST: f64 = 0.55;

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
        let all = self.background.luminance() - self.foreground.luminance();
        all >= CONTRAST_LEAST && ground[0] - bars[0] >= CONTRAST_LEAST
    }
}
