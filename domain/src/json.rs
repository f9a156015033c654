//! JSON text exactly as `JSON.stringify(JSON.parse(text))` prints it in JavaScript (ECMA-262, 25.5).
//!
//! Receivers check signatures over a body that they have parsed and printed again, so ours must already be what they
//! will print. It is made once, where data comes in, and only copied from then on. Numbers that JavaScript would change
//! unseen are refused instead; a lone surrogate, which only an escape can write, is kept escaped as JavaScript does.

mod object;
mod reader;

use std::fmt;

use self::object::Member;

/// JSON as JavaScript prints it; in a row, a `text` column (`jsonb` would print it anew).
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct JsonText(String);

/// Why a text was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Where, as JavaScript would write it (`a.b[3]`, `["two words"][0]`); empty for the whole.
    pub path: String,
    /// What is wrong there, to follow the path in a sentence.
    pub rule: String,
}

impl std::error::Error for JsonError {}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.path.is_empty() { "the JSON text" } else { &self.path };
        write!(f, "{at} {}", self.rule)
    }
}

/// The value of one member of an object that the program writes itself.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// A string, as it is before escaping.
    Text(&'a str),
    /// An integer within ±(2^53 − 1).
    Integer(i64),
    /// What was read before, copied.
    Json(&'a JsonText),
    /// An object within the object.
    Object(&'a [(&'a str, Part<'a>)]),
}

impl JsonText {
    /// Reads any JSON text (RFC 8259) of at most 128 levels, in one pass.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        reader::read(text).map(Self)
    }

    /// Writes an object with these members, in JavaScript's order.
    pub fn object(members: &[(&str, Part<'_>)]) -> Self {
        let mut out = String::new();
        write_object(&mut out, members);
        Self(out)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, taken out.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn write_object(out: &mut String, members: &[(&str, Part<'_>)]) {
    out.push('{');
    let start = out.len();
    let mut written = Vec::with_capacity(members.len());
    for (key, part) in members {
        if out.len() > start {
            out.push(',');
        }
        let key_at = out.len();
        write_string(out, key);
        let key_end = out.len();
        out.push(':');
        write_part(out, part);
        written.push(Member { key_at, key_end, end: out.len() });
    }
    object::settle(out, start, &written);
    out.push('}');
}

fn write_part(out: &mut String, part: &Part<'_>) {
    match part {
        Part::Text(text) => write_string(out, text),
        Part::Integer(number) => {
            debug_assert!(number.unsigned_abs() < 1 << 53, "{number} would be changed by JavaScript");
            out.push_str(&number.to_string());
        }
        Part::Json(json) => out.push_str(json.as_str()),
        Part::Object(members) => write_object(out, members),
    }
}

fn write_string(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| matches!(byte, 0..0x20 | b'"' | b'\\')) {
        out.push_str(&text[from..at]);
        write_escaped(out, byte);
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// Writes one of the 34 characters that JavaScript escapes in a well-formed string.
fn write_escaped(out: &mut String, character: u8) {
    out.push('\\');
    match character {
        b'"' | b'\\' => out.push(char::from(character)),
        0x08 => out.push('b'),
        0x0c => out.push('f'),
        b'\n' => out.push('n'),
        b'\r' => out.push('r'),
        b'\t' => out.push('t'),
        _ => write_unit(out, u16::from(character)),
    }
}

/// Writes what follows the backslash of a `\uxxxx`.
fn write_unit(out: &mut String, unit: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push('u');
    for shift in [12, 8, 4, 0] {
        out.push(char::from(DIGITS[usize::from(unit >> shift & 0xf)]));
    }
}
