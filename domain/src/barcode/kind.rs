//! The kinds of barcode: their names, however people spell them, and what a scanner needs around and of each.

use std::str::FromStr;

use rxing::BarcodeFormat;

/// A kind of barcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// EAN-13, the number of a thing in a shop (GTIN-13; books: ISBN).
    Ean13,
    /// EAN-8, for small things.
    Ean8,
    /// UPC-A, North America's GTIN-12.
    UpcA,
    /// UPC-E, a UPC-A with its zeros left out.
    UpcE,
    /// Code 128: ASCII, densely.
    Code128,
    /// Code 39: capital letters, digits and seven signs.
    Code39,
    /// Code 93: ASCII.
    Code93,
    /// Interleaved 2 of 5: an even number of digits.
    Itf,
    /// ITF-14, the number of a box (GTIN-14).
    Itf14,
    /// Codabar (NW-7): digits and six signs between two of A to D.
    Codabar,
    /// Data Matrix ECC 200.
    DataMatrix,
    /// PDF417.
    Pdf417,
    /// Aztec.
    Aztec,
}

/// What is known of a kind.
struct Facts {
    kind: Kind,
    name: &'static str,
    /// More spellings, as [`plain`] leaves them.
    also: &'static [&'static str],
    format: BarcodeFormat,
    /// How many modules must stay empty on either side; of those with cells, on every side.
    quiet: u32,
    /// Whether it is of bars, which may be as high as one likes, and not of cells.
    bars: bool,
}

const fn row(
    kind: Kind,
    name: &'static str,
    also: &'static [&'static str],
    format: BarcodeFormat,
    quiet: u32,
    bars: bool,
) -> Facts {
    Facts { kind, name, also, format, quiet, bars }
}

/// Quiet zones: GS1 General Specifications 5.2 and 5.3; ISO/IEC 15417, 16388, 16390, 16022, 15438; Aztec needs none and
/// has one all the same, because it may stand on anything.
const KINDS: [Facts; 13] = [
    row(Kind::Ean13, "EAN_13", &["EAN", "GTIN13", "JAN13", "ISBN", "ISBN13"], BarcodeFormat::EAN_13, 11, true),
    row(Kind::Ean8, "EAN_8", &["GTIN8", "JAN8"], BarcodeFormat::EAN_8, 7, true),
    row(Kind::UpcA, "UPC_A", &["UPC", "GTIN12"], BarcodeFormat::UPC_A, 9, true),
    row(Kind::UpcE, "UPC_E", &[], BarcodeFormat::UPC_E, 9, true),
    row(Kind::Code128, "CODE_128", &["128"], BarcodeFormat::CODE_128, 10, true),
    row(Kind::Code39, "CODE_39", &["39", "CODE3OF9"], BarcodeFormat::CODE_39, 10, true),
    row(Kind::Code93, "CODE_93", &["93"], BarcodeFormat::CODE_93, 10, true),
    row(Kind::Itf, "ITF", &["I2OF5", "INTERLEAVED2OF5", "ITF25"], BarcodeFormat::ITF, 10, true),
    row(Kind::Itf14, "ITF_14", &["GTIN14"], BarcodeFormat::ITF, 10, true),
    row(Kind::Codabar, "CODABAR", &["NW7"], BarcodeFormat::CODABAR, 10, true),
    row(Kind::DataMatrix, "DATA_MATRIX", &[], BarcodeFormat::DATA_MATRIX, 2, false),
    row(Kind::Pdf417, "PDF_417", &[], BarcodeFormat::PDF_417, 2, false),
    row(Kind::Aztec, "AZTEC", &["AZTECCODE"], BarcodeFormat::AZTEC, 2, false),
];

/// A text that names no kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", Kind::ALL.map(Kind::name).join(", "))]
pub struct InvalidKind;

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = {
        let mut all = [Self::Aztec; 13];
        let mut n = 0;
        while n < all.len() {
            all[n] = KINDS[n].kind;
            n += 1;
        }
        all
    };

    const fn facts(self) -> &'static Facts {
        &KINDS[self as usize]
    }

    /// Its name in rows and answers.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// How many modules must stay empty on either side of it.
    pub const fn quiet(self) -> u32 {
        self.facts().quiet
    }

    /// Whether it is of bars and not of cells.
    pub const fn has_bars(self) -> bool {
        self.facts().bars
    }

    pub(super) const fn format(self) -> BarcodeFormat {
        self.facts().format
    }
}

/// What is left of a name without case and signs.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

impl FromStr for Kind {
    type Err = InvalidKind;

    /// Takes any spelling: `EAN_13`, `ean13`, `Ean-13`.
    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        let given = plain(text);
        let fits = |facts: &&Facts| plain(facts.name) == given || facts.also.contains(&given.as_str());
        KINDS.iter().find(fits).map(|facts| facts.kind).ok_or(InvalidKind)
    }
}

impl sqlx::Type<sqlx::Postgres> for Kind {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <&str as sqlx::Type<sqlx::Postgres>>::type_info()
    }

    fn compatible(ty: &sqlx::postgres::PgTypeInfo) -> bool {
        <&str as sqlx::Type<sqlx::Postgres>>::compatible(ty)
    }
}

impl<'r> sqlx::Decode<'r, sqlx::Postgres> for Kind {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(<&str as sqlx::Decode<sqlx::Postgres>>::decode(value)?.parse()?)
    }
}
