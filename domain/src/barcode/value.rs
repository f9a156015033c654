//! Values: what each kind can say. A number that ends in a check digit gets it where it is missing, and is refused, with the
//! digit that would be right, where it is wrong.

use super::Kind;

/// The longest value, in characters.
pub const VALUE_MAX: usize = 2000;
/// The longest value of a kind with bars: more are not one line any more that a scanner sees at once.
pub const BARS_MAX: usize = 80;

/// Why a text is no value of a kind; the text stands after the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// Not that many characters.
    #[error("must be {0} to {1} characters")]
    Length(usize, usize),
    /// Not that many digits.
    #[error("must be {without} digits, or {with} with the check digit")]
    Digits {
        /// How many without the check digit.
        without: &'static str,
        /// How many with it.
        with: usize,
    },
    /// The last digit is not what the others make it.
    #[error("has a wrong check digit: {right} would be right")]
    CheckDigit {
        /// The value with the right one.
        right: String,
    },
    /// Other characters than the kind has.
    #[error("must be {0}")]
    Characters(&'static str),
}

use InvalidValue::{Characters, CheckDigit, Digits, Length};

/// A value as it is stored and read by scanners.
pub fn normal(kind: Kind, text: &str) -> Result<String, InvalidValue> {
    match kind {
        Kind::Ean13 => gtin(text, "12", 13),
        Kind::Ean8 => gtin(text, "7", 8),
        Kind::UpcA => gtin(text, "11", 12),
        Kind::Itf14 => gtin(text, "13", 14),
        Kind::UpcE => upc_e(text),
        Kind::Itf => bars(text, |c| c.is_ascii_digit(), "digits").and_then(|text| {
            let even = text.len().is_multiple_of(2);
            if even { Ok(text) } else { Err(Characters("an even number of digits; put a 0 before them")) }
        }),
        Kind::Code39 => {
            let has = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "-. $/+%".contains(c);
            bars(text, has, "capital letters, digits, blanks and - . $ / + %")
        }
        Kind::Code93 | Kind::Code128 => bars(text, |c| c.is_ascii() && c != '\0', "ASCII characters"),
        Kind::Codabar => codabar(text),
        Kind::DataMatrix => cells(text, |c| c <= 'ÿ' && c != '\0', "characters of ISO 8859-1 (Latin-1)"),
        Kind::Pdf417 | Kind::Aztec => cells(text, |c| c != '\0', "characters without U+0000"),
    }
}

/// The digits of a number, which people also write in groups.
fn digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    digits.bytes().all(|b| b.is_ascii_digit()).then_some(digits)
}

/// The check digit of a GTIN (GS1 General Specifications 7.9): the digits before it count three and one in turn, three for
/// the last.
fn check_digit(body: &str) -> char {
    let weighted = |(n, b): (usize, u8)| u32::from(b - b'0') * if n.is_multiple_of(2) { 3 } else { 1 };
    let sum: u32 = body.bytes().rev().enumerate().map(weighted).sum();
    char::from_digit((10 - sum % 10) % 10, 10).unwrap_or('0')
}

/// A body with its check digit, if `given` is that or nothing.
fn checked(body: &str, given: Option<char>, right: char) -> Result<String, InvalidValue> {
    let whole = format!("{body}{right}");
    if given.is_none_or(|given| given == right) { Ok(whole) } else { Err(CheckDigit { right: whole }) }
}

fn gtin(text: &str, without: &'static str, with: usize) -> Result<String, InvalidValue> {
    let wrong = Digits { without, with };
    let Some(digits) = digits(text).filter(|digits| (with - 1..=with).contains(&digits.len())) else {
        return Err(wrong);
    };
    let (body, given) = digits.split_at(with - 1);
    checked(body, given.chars().next(), check_digit(body))
}

fn upc_e(text: &str) -> Result<String, InvalidValue> {
    let wrong = Digits { without: "6 or 7", with: 8 };
    let Some(digits) = digits(text).filter(|digits| (6..=8).contains(&digits.len())) else { return Err(wrong) };
    // Six digits are of the number system 0.
    let digits = if digits.len() == 6 { format!("0{digits}") } else { digits };
    if !digits.starts_with(['0', '1']) {
        return Err(Characters("of the number system 0 or 1: its first of seven digits"));
    }
    let (body, given) = digits.split_at(7);
    checked(body, given.chars().next(), check_digit(&upc_a_of(body)))
}

/// The eleven digits of the UPC-A that a UPC-E of seven stands for (GS1 General Specifications 5.2.2.4.2).
fn upc_a_of(body: &str) -> String {
    let (system, d) = body.split_at(1);
    match &d[5..] {
        "0" | "1" | "2" => format!("{system}{}{}0000{}", &d[..2], &d[5..], &d[2..5]),
        "3" => format!("{system}{}00000{}", &d[..3], &d[3..5]),
        "4" => format!("{system}{}00000{}", &d[..4], &d[4..5]),
        last => format!("{system}{}0000{last}", &d[..5]),
    }
}

fn bars(text: &str, has: impl Fn(char) -> bool, what: &'static str) -> Result<String, InvalidValue> {
    sized(text, BARS_MAX, has, what)
}

fn cells(text: &str, has: impl Fn(char) -> bool, what: &'static str) -> Result<String, InvalidValue> {
    sized(text, VALUE_MAX, has, what)
}

fn sized(text: &str, most: usize, has: impl Fn(char) -> bool, what: &'static str) -> Result<String, InvalidValue> {
    if !(1..=most).contains(&text.chars().count()) {
        return Err(Length(1, most));
    }
    if text.chars().all(has) { Ok(text.to_owned()) } else { Err(Characters(what)) }
}

/// The letters at both ends are part of what a scanner reads; without them they are A. Scanners take shorter ones for noise.
fn codabar(text: &str) -> Result<String, InvalidValue> {
    let wrong = Characters("2 to 78 digits and - $ : / . + that may stand between two letters of A to D");
    let text = text.to_ascii_uppercase();
    let is_guard = |c: char| ('A'..='D').contains(&c);
    let whole = if text.starts_with(is_guard) { text } else { format!("A{text}A") };
    let inner = whole.strip_prefix(is_guard).and_then(|rest| rest.strip_suffix(is_guard));
    let fits = inner.is_some_and(|inner| {
        (2..=BARS_MAX - 2).contains(&inner.len()) && inner.chars().all(|c| c.is_ascii_digit() || "-$:/.+".contains(c))
    });
    if fits { Ok(whole) } else { Err(wrong) }
}
