//! A logo: a PNG or JPEG as it is given, made into a small PNG without whatever else its file held.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbaImage, imageops::FilterType};

/// The most bytes of a logo's file.
pub const BYTES_MAX: usize = 256 * 1024;
/// The most pixels of a side.
pub const SIDE_MAX: u32 = 4096;
/// The side of what is kept, in pixels: enough for a fifth of a code that is printed with 2560.
const KEPT: u32 = 512;
/// The most memory that reading may take, in bytes: a picture of the largest size.
const MEMORY: u64 = 96 * 1024 * 1024;

/// A picture that is no logo, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLogo {
    /// Its file is too large.
    #[error("must be at most {} KiB", BYTES_MAX / 1024)]
    TooLarge,
    /// It is neither PNG nor JPEG, or broken.
    #[error("must be a PNG or JPEG picture of at most {SIDE_MAX} × {SIDE_MAX} pixels")]
    Unreadable,
}

/// Reads a logo's file and writes it anew, at most 512 pixels wide and high. Takes its time: not for a thread that others
/// wait for.
pub fn kept(file: &[u8]) -> Result<Vec<u8>, InvalidLogo> {
    if file.len() > BYTES_MAX {
        return Err(InvalidLogo::TooLarge);
    }
    let mut picture = read(file).ok_or(InvalidLogo::Unreadable)?;
    if picture.width() > KEPT || picture.height() > KEPT {
        picture = picture.resize(KEPT, KEPT, FilterType::CatmullRom);
    }
    let mut kept = Cursor::new(vec![]);
    let written = DynamicImage::from(picture.into_rgba8()).write_to(&mut kept, ImageFormat::Png);
    written.map_err(|_| InvalidLogo::Unreadable)?;
    Ok(kept.into_inner())
}

fn read(file: &[u8]) -> Option<DynamicImage> {
    let mut reader = ImageReader::new(Cursor::new(file)).with_guessed_format().ok()?;
    if !matches!(reader.format()?, ImageFormat::Png | ImageFormat::Jpeg) {
        return None;
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(SIDE_MAX), Some(SIDE_MAX));
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let orientation = decoder.orientation().ok()?;
    let mut picture = DynamicImage::from_decoder(decoder).ok()?;
    picture.apply_orientation(orientation);
    (picture.width() > 0 && picture.height() > 0).then_some(picture)
}

/// What [`kept`] wrote; `None` if it is broken.
pub(super) fn open(kept: &[u8]) -> Option<RgbaImage> {
    Some(image::load_from_memory_with_format(kept, ImageFormat::Png).ok()?.into_rgba8())
}
