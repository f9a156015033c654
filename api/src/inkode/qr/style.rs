//! How QR codes look, on the wire.

use domain::qr::style::{Level, Shape, Style};
use poem_openapi::{Enum, Object, types::MaybeUndefined};
use serde::Deserialize;

use crate::{
    input,
    text::{self, Text},
};

/// How a code looks. What is not given stays; for a new code it is black on white, square, and can lose 15 percent.
#[derive(Debug, Clone, Default, Object, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase", remote = "Self")]
pub(super) struct QrStyleInput {
    /// The colour of its modules; darker than the background, with a contrast of at least 3.
    pub(super) foreground: Option<Text<text::Colour>>,
    /// The colour behind them.
    pub(super) background: Option<Text<text::Colour>>,
    /// How many modules of background surround it; 4 for a new code, as ISO/IEC 18004 asks.
    #[oai(validator(minimum(value = "2"), maximum(value = "20")))]
    pub(super) quiet_zone: Option<u8>,
    /// How much of it may be lost; M for a new code, and H for one with a logo.
    #[serde(default, deserialize_with = "input::word")]
    pub(super) error_correction: Option<QrErrorCorrection>,
    /// What its modules look like.
    #[serde(default, deserialize_with = "input::word")]
    pub(super) shape: Option<QrShape>,
    /// A picture in the middle: PNG or JPEG, at most 256 KiB, in base64 or as such a `data:` URL.
    #[serde(default)]
    pub(super) logo: MaybeUndefined<Text<text::LogoData>>,
    /// How wide the logo is, in percent of the code's width; 20 for a new code.
    #[oai(validator(minimum(value = "5"), maximum(value = "40")))]
    pub(super) logo_percent: Option<u8>,
}

input::objects!(QrStyleInput);

/// How much of a code may be lost: about 7 (L), 15 (M), 25 (Q) or 30 (H) percent.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
pub(super) enum QrErrorCorrection {
    /// About 7 percent.
    L,
    /// About 15 percent.
    M,
    /// About 25 percent.
    Q,
    /// About 30 percent.
    H,
}

/// What modules look like.
#[derive(Debug, Clone, Copy, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum QrShape {
    /// Squares.
    Square,
    /// Squares that grow together, with round ends.
    Rounded,
    /// Dots.
    Dot,
}

impl From<QrErrorCorrection> for Level {
    fn from(level: QrErrorCorrection) -> Self {
        match level {
            QrErrorCorrection::L => Self::L,
            QrErrorCorrection::M => Self::M,
            QrErrorCorrection::Q => Self::Q,
            QrErrorCorrection::H => Self::H,
        }
    }
}

impl From<Level> for QrErrorCorrection {
    fn from(level: Level) -> Self {
        match level {
            Level::L => Self::L,
            Level::M => Self::M,
            Level::Q => Self::Q,
            Level::H => Self::H,
        }
    }
}

impl From<QrShape> for Shape {
    fn from(shape: QrShape) -> Self {
        match shape {
            QrShape::Square => Self::Square,
            QrShape::Rounded => Self::Rounded,
            QrShape::Dot => Self::Dot,
        }
    }
}

impl From<Shape> for QrShape {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Square => Self::Square,
            Shape::Rounded => Self::Rounded,
            Shape::Dot => Self::Dot,
        }
    }
}

/// How a code looks.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct QrStyle {
    /// The colour of its modules.
    foreground: Text<text::Colour>,
    /// The colour behind them.
    background: Text<text::Colour>,
    /// How many modules of background surround it.
    quiet_zone: u8,
    /// How much of it may be lost.
    error_correction: QrErrorCorrection,
    /// What its modules look like.
    shape: QrShape,
    /// Whether there is a picture in the middle.
    has_logo: bool,
    /// How wide that is, in percent of the code's width.
    logo_percent: u8,
}

impl QrStyle {
    pub(super) fn new(style: &Style, has_logo: bool) -> Self {
        Self {
            foreground: style.foreground.to_string().into(),
            background: style.background.to_string().into(),
            quiet_zone: style.quiet_zone,
            error_correction: style.error_correction.into(),
            shape: style.shape.into(),
            has_logo,
            logo_percent: style.logo_percent,
        }
    }
}
