//! Barcodes as pictures. Modules are drawn as whole pixels, so that every edge is sharp; what is left of the wanted width
//! goes to the margins. A value is proven before it is stored: its picture is decoded again.

use std::{
    collections::HashSet,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use pdf_writer::Content;
use png::{BitDepth, ColorType, Compression};
use rxing::{
    BinaryBitmap, DecodeHints, EncodeHints, Luma8Source, MultiFormatReader, MultiFormatWriter, Reader as _,
    Writer as _, common::HybridBinarizer,
};

use super::{Kind, Style};
use crate::pdf::{POINTS, fill, page};

/// The widths of pictures, in pixels.
pub const SIZES: (u32, u32) = (64, 4096);
/// The empty margin above and below bars, in modules.
const ABOVE: u32 = 2;
/// How many pixels wide a module is where a picture is proven.
const PROOF_SCALE: u32 = 3;

/// Why there is no picture; the text stands after the name of [`Unrenderable::field`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unrenderable {
    /// More than the kind can hold, or something else that its encoder refuses.
    #[error("does not fit into a barcode of the type {}", .0.name())]
    Value(Kind),
    /// Bars and ground are too alike.
    #[error(
        "must have a foreground that is much darker than its background, in red light too: many scanners have no other"
    )]
    Contrast,
    /// The picture does not decode to its value.
    #[error("could not be read back from its picture; take another type for it")]
    Unreadable,
    /// A module would be narrower than a pixel.
    #[error("must be at least {needs}, a pixel for each module; or ask for an SVG or PDF")]
    TooNarrow {
        /// The least width in pixels.
        needs: u32,
    },
}

impl Unrenderable {
    /// What must be another.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Value(_) | Self::Unreadable => "value",
            Self::Contrast => "style",
            Self::TooNarrow { .. } => "size",
        }
    }
}

/// A barcode's modules, row by row; bars have one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    kind: Kind,
    width: u32,
    dark: Vec<bool>,
}

impl Modules {
    /// The modules of a value that is [`normal`](super::normal).
    pub fn encode(kind: Kind, value: &str) -> Result<Self, Unrenderable> {
        let mut hints = EncodeHints { Margin: Some("0".into()), ..EncodeHints::default() };
        if !value.is_ascii() && kind != Kind::DataMatrix {
            hints.CharacterSet = Some("UTF-8".into());
            hints.Pdf417AutoEci = (kind == Kind::Pdf417).then(|| "true".into());
        }
        // What it cannot encode it sometimes tells by a panic.
        let encode = || MultiFormatWriter.encode_with_hints(value, &kind.format(), 0, 0, &hints);
        let matrix =
            catch_unwind(AssertUnwindSafe(encode)).ok().and_then(Result::ok).ok_or(Unrenderable::Value(kind))?;
        let (width, rows) = (matrix.getWidth(), if kind.has_bars() { 1 } else { matrix.getHeight() });
        let dark = (0..rows).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| matrix.get(x, y)).collect();
        Ok(Self { kind, width, dark })
    }

    fn rows(&self) -> impl Iterator<Item = &[bool]> {
        self.dark.chunks(self.width as usize)
    }

    /// Dark modules in a row as boxes: left, top, width and height, in modules, margins included.
    fn runs(&self, style: &Style) -> impl Iterator<Item = [u32; 4]> {
        let (quiet, (_, down)) = (style.quiet(self.kind), self.extent(style));
        let (top, high) = if self.kind.has_bars() { (ABOVE, down - 2 * ABOVE) } else { (quiet, 1) };
        self.rows().enumerate().flat_map(move |(n, row)| {
            let mut x = quiet;
            row.chunk_by(|a, b| a == b).filter_map(move |run| {
                let (left, wide) = (x, run.len() as u32);
                x += wide;
                run[0].then_some([left, top + n as u32, wide, high])
            })
        })
    }

    /// Width and height with margins, in modules; bars are as high as `style` says.
    fn extent(&self, style: &Style) -> (u32, u32) {
        let quiet = style.quiet(self.kind);
        let height = if self.kind.has_bars() {
            (self.width * style.bar_height).div_ceil(100) + 2 * ABOVE
        } else {
            self.rows().count() as u32 + 2 * quiet
        };
        (self.width + 2 * quiet, height)
    }
}

/// A picture of one byte per pixel: 1 where it is dark.
struct Raster {
    width: u32,
    height: u32,
    dark: Vec<u8>,
}

impl Raster {
    fn draw(modules: &Modules, style: &Style, width: u32) -> Result<Self, Unrenderable> {
        let (across, down) = modules.extent(style);
        let scale = width / across;
        if scale == 0 {
            return Err(Unrenderable::TooNarrow { needs: across });
        }
        // Cells keep their margins alike on all sides.
        let left_over = width - across * scale;
        let height = down * scale + if modules.kind.has_bars() { 0 } else { left_over };
        let left = style.quiet(modules.kind) * scale + left_over / 2;
        let top = if modules.kind.has_bars() { ABOVE * scale } else { left };
        let row_height = if modules.kind.has_bars() { (down - 2 * ABOVE) * scale } else { scale };
        let mut dark = vec![0; (width * height) as usize];
        for (n, row) in modules.rows().enumerate() {
            let line: Vec<u8> =
                row.iter().flat_map(|dark| std::iter::repeat_n(u8::from(*dark), scale as usize)).collect();
            for y in 0..row_height {
                let start = ((top + n as u32 * row_height + y) * width + left) as usize;
                dark[start..start + line.len()].copy_from_slice(&line);
            }
        }
        Ok(Self { width, height, dark })
    }
}

/// A PNG of two colours, `width` pixels wide.
pub fn png(modules: &Modules, style: &Style, width: u32) -> Result<Vec<u8>, Unrenderable> {
    let raster = Raster::draw(modules, style, width)?;
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, raster.width, raster.height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::One);
    encoder.set_compression(Compression::Balanced);
    encoder.set_palette([style.background.0, style.foreground.0].concat());
    let packed: Vec<u8> = raster.dark.chunks(raster.width as usize).flat_map(pack).collect();
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&packed));
    written.expect("a picture in memory is written");
    Ok(bytes)
}

/// A row's pixels as bits, the first the highest.
fn pack(row: &[u8]) -> impl Iterator<Item = u8> {
    row.chunks(8).map(|bits| bits.iter().enumerate().fold(0, |byte, (n, bit)| byte | bit << (7 - n)))
}

/// An SVG, `width` pixels wide where it is shown as it is.
pub fn svg(modules: &Modules, style: &Style, width: u32) -> String {
    let (across, down) = modules.extent(style);
    let mut path = String::new();
    for [left, above, wide, high] in modules.runs(style) {
        let _ = write!(path, "M{left} {above}h{wide}v{high}h-{wide}z");
    }
    let height = (u64::from(width) * u64::from(down)).div_ceil(u64::from(across));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {across} {down}\" shape-rendering=\"crispEdges\"><path fill=\"{}\" d=\"M0 0h{across}v{down}h-{across}z\"/>\
         <path fill=\"{}\" d=\"{path}\"/></svg>",
        style.background, style.foreground
    )
}

/// A PDF of one page, as wide as `width` pixels of 1/96 inch.
pub fn pdf(modules: &Modules, style: &Style, width: u32) -> Vec<u8> {
    let (across, down) = modules.extent(style);
    let module = width as f32 * POINTS / across as f32;
    let (wide, high) = (width as f32 * POINTS, down as f32 * module);
    let mut content = Content::new();
    fill(&mut content, style.background);
    content.rect(0.0, 0.0, wide, high).fill_nonzero();
    // PDF counts from below.
    content.transform([module, 0.0, 0.0, -module, 0.0, high]);
    fill(&mut content, style.foreground);
    for run in modules.runs(style) {
        let [left, above, wide, high] = run.map(|modules| modules as f32);
        content.rect(left, above, wide, high);
    }
    content.fill_nonzero();
    page(wide, high, &content.finish().into_vec(), &[]).finish()
}

/// Whether a scanner will read the value: its colours differ enough, and its picture decodes to it. The decoder is of the
/// same library as the encoder; the tests use another.
pub fn prove(kind: Kind, value: &str, style: &Style) -> Result<(), Unrenderable> {
    if !style.has_contrast() {
        return Err(Unrenderable::Contrast);
    }
    let modules = Modules::encode(kind, value)?;
    let raster = Raster::draw(&modules, style, modules.extent(style).0 * PROOF_SCALE)?;
    let luma = raster.dark.iter().map(|dark| if *dark == 1 { 0 } else { 255 }).collect();
    let hints = DecodeHints {
        PossibleFormats: Some(HashSet::from([kind.format()])),
        TryHarder: Some(true),
        PureBarcode: Some(!kind.has_bars()),
        AllowedLengths: Some(vec![value.len() as u32]),
        ..DecodeHints::default()
    };
    let decode = || {
        let source = Luma8Source::new(luma, raster.width, raster.height).ok()?;
        let mut bitmap = BinaryBitmap::new(HybridBinarizer::new(source));
        let read = MultiFormatReader::default().decode_with_hints(&mut bitmap, &hints).ok()?;
        Some(read.getText().to_owned())
    };
    // This decoder leaves out the letters at the ends of a Codabar.
    let said = if kind == Kind::Codabar { &value[1..value.len() - 1] } else { value };
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Some(read)) if read == said => Ok(()),
        _ => Err(Unrenderable::Unreadable),
    }
}
