//! The proof that a code can be scanned: drawn at three sizes and read back by a decoder that shares nothing with the
//! encoder. It says of this code, in this style, what no rule of thumb can.

use super::{
    picture::{Format, Picture},
    style::{Style, Unscannable},
    symbol::TooLong,
};

/// The sizes: the least pixels of a side, and of a module.
const SIZES: [(u32, u32); 3] = [(200, 3), (300, 4), (800, 8)];
/// The dark frame that the picture stands in, as on a dark table, in modules.
const FRAME: usize = 3;

/// Why a code cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The text is too long.
    #[error("the content {0}")]
    TooLong(#[from] TooLong),
    /// It could not be scanned.
    #[error(transparent)]
    Style(#[from] Unscannable),
}

/// Proves that `text` in this style can be scanned. Takes its time: not for a thread that others wait for.
pub fn prove(text: &str, style: &Style, logo: Option<&[u8]>) -> Result<(), Refused> {
    style.check()?;
    let picture = Picture::new(text, *style, logo)?;
    let Some(size) = SIZES.into_iter().find(|size| !reads(&picture, *size, text)) else { return Ok(()) };
    // Whose fault it is, by leaving out one thing after the other.
    let without = |style: Style, logo| Picture::new(text, style, logo).is_ok_and(|picture| reads(&picture, size, text));
    if logo.is_some() && without(*style, None) {
        let rule = format!(
            "covers too much of the code: with {} percent of its width and error correction {} it is not read back",
            style.logo_percent,
            style.error_correction.name()
        );
        return Err(Unscannable::new("logo", rule).into());
    }
    let fault = |field, rule: &str| Err(Unscannable::new(field, rule).into());
    if without(Style { quiet_zone: 4, ..*style }, logo) {
        return fault("quietZone", "is too small: on a dark ground the code is not read back");
    }
    if without(Style { shape: super::style::Shape::Square, ..*style }, logo) {
        return fault("shape", "makes this code unreadable; square modules are read");
    }
    fault("style", "makes this code unreadable")
}

/// Whether the decoder reads `text` from the picture.
fn reads(picture: &Picture, (least, per_module): (u32, u32), text: &str) -> bool {
    let size = least.max(per_module * u32::try_from(picture.width()).unwrap_or(u32::MAX));
    let Ok(file) = picture.file(Format::Png, size) else { return false };
    let Ok(seen) = image::load_from_memory_with_format(&file, image::ImageFormat::Png) else { return false };
    let (seen, dark) = (seen.into_luma8(), picture.style.foreground.grey());
    let frame = FRAME * size as usize / picture.width();
    let side = size as usize + 2 * frame;
    let mut grey = vec![dark; side * side];
    for (row, line) in seen.as_raw().chunks_exact(size as usize).zip(frame..) {
        grey[line * side + frame..][..row.len()].copy_from_slice(row);
    }
    let mut seen = rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| grey[y * side + x]);
    seen.detect_grids().into_iter().any(|grid| {
        let mut read = vec![];
        grid.decode_to(&mut read).is_ok() && read == text.as_bytes()
    })
}
