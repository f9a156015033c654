//! Reads JSON and writes it again as JavaScript would, in one pass and without a tree in between.

use super::{
    JsonError,
    object::{self, Member},
    write_escaped, write_unit,
};

const DEPTH: usize = 128;

/// The largest integer that JavaScript tells from its neighbours.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// Keys longer than this are cut in an error's path.
const KEY_IN_PATH: usize = 64;

/// `text` as `JSON.stringify(JSON.parse(text))` prints it.
pub(super) fn read(text: &str) -> Result<String, JsonError> {
    let out = String::with_capacity(text.len());
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, out, members: Vec::new(), depth: 0 };
    reader.document().map_err(|fault| fault.into_error())?;
    Ok(reader.out)
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    out: String,
    /// The members so far of every object that is open, the innermost last.
    members: Vec<Member>,
    depth: usize,
}

/// An error on its way up: each object and array puts its own step of the path in front.
struct Fault {
    /// The steps to the fault, the innermost first.
    steps: Vec<String>,
    rule: String,
}

type Read = Result<(), Box<Fault>>;

impl Fault {
    fn below(mut self: Box<Self>, step: String) -> Box<Self> {
        self.steps.push(step);
        self
    }

    fn into_error(self) -> JsonError {
        let path: String = self.steps.into_iter().rev().collect();
        JsonError { path: path.strip_prefix('.').map(str::to_owned).unwrap_or(path), rule: self.rule }
    }
}

impl Reader<'_> {
    fn document(&mut self) -> Read {
        self.value()?;
        self.skip_space();
        if self.at < self.bytes.len() { Err(self.unexpected("the end")) } else { Ok(()) }
    }

    fn value(&mut self) -> Read {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Read) -> Read {
        if self.depth == DEPTH {
            return Err(fault(format!("must not be nested deeper than {DEPTH} levels")));
        }
        self.depth += 1;
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self) -> Read {
        self.copy_byte();
        let (start, first) = (self.out.len(), self.members.len());
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.copy_byte();
            return Ok(());
        }
        loop {
            self.skip_space();
            let key_at = self.out.len();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in double quotes"));
            }
            self.string()?;
            let key_end = self.out.len();
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("a colon"));
            }
            self.copy_byte();
            self.value().map_err(|fault| fault.below(step(&self.out[key_at..key_end])))?;
            self.members.push(Member { key_at, key_end, end: self.out.len() });
            self.skip_space();
            match self.peek() {
                Some(b',') => self.copy_byte(),
                Some(b'}') => break,
                _ => return Err(self.unexpected("a comma or a closing brace")),
            }
        }
        object::settle(&mut self.out, start, &self.members[first..]);
        self.members.truncate(first);
        self.copy_byte();
        Ok(())
    }

    fn array(&mut self) -> Read {
        self.copy_byte();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.copy_byte();
            return Ok(());
        }
        for index in 0_usize.. {
            self.value().map_err(|fault| fault.below(format!("[{index}]")))?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.copy_byte(),
                Some(b']') => break,
                _ => return Err(self.unexpected("a comma or a closing bracket")),
            }
        }
        self.copy_byte();
        Ok(())
    }

    fn string(&mut self) -> Read {
        self.copy_byte();
        loop {
            let from = self.at;
            while self.peek().is_some_and(|byte| !matches!(byte, 0..0x20 | b'"' | b'\\')) {
                self.at += 1;
            }
            self.out.push_str(&self.text[from..self.at]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.unexpected("an escape for a control character")),
                None => return Err(self.unexpected("a closing quote")),
            }
        }
        self.copy_byte();
        Ok(())
    }

    fn escape(&mut self) -> Read {
        self.at += 1;
        let character = match self.peek() {
            Some(plain @ (b'"' | b'\\')) => plain,
            Some(b'/') => {
                self.copy_byte();
                return Ok(());
            }
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.unexpected("one of \"\\/bfnrtu after a backslash")),
        };
        self.at += 1;
        write_escaped(&mut self.out, character);
        Ok(())
    }

    fn unicode_escape(&mut self) -> Read {
        let unit = self.unit()?;
        let low = match unit {
            0xd800..=0xdbff if self.bytes[self.at..].starts_with(b"\\u") => {
                let back = self.at;
                self.at += 1;
                let low = self.unit()?;
                // Not the other half: it is read again, for it may begin a pair of its own.
                if !matches!(low, 0xdc00..=0xdfff) {
                    self.at = back;
                }
                Some(low)
            }
            _ => None,
        };
        match char::decode_utf16([unit].into_iter().chain(low)).next() {
            Some(Ok(character @ ('\0'..'\x20' | '"' | '\\'))) => write_escaped(&mut self.out, character as u8),
            Some(Ok(character)) => self.out.push(character),
            _ => {
                self.out.push('\\');
                write_unit(&mut self.out, unit);
            }
        }
        Ok(())
    }

    /// Reads `uxxxx`.
    fn unit(&mut self) -> Result<u16, Box<Fault>> {
        let mut unit = 0;
        for _ in 0..4 {
            self.at += 1;
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit << 4 | digit.ok_or_else(|| self.unexpected("four hexadecimal digits"))?;
        }
        self.at += 1;
        Ok(unit as u16)
    }

    fn number(&mut self) -> Read {
        let from = self.at;
        let negative = self.take(b'-');
        let digits_from = self.at;
        if !self.take(b'0') {
            self.digits()?;
        }
        let digits = self.at - digits_from;
        let whole_end = self.at;
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let token = &self.text[from..self.at];
        let is_whole = self.at == whole_end;
        if is_whole && digits < 16 && !(negative && self.bytes[digits_from] == b'0') {
            self.out.push_str(token);
            return Ok(());
        }

        let value: f64 = token.parse().expect("a JSON number is a Rust number");
        if !value.is_finite() {
            return Err(fault("is a number too large for JavaScript; send it as a string"));
        }
        let mut buffer = ryu_js::Buffer::new();
        let printed = buffer.format_finite(value);
        // Also what has become a whole number on the way: printed, it would not be taken a second time.
        if value.abs() > MAX_SAFE && (is_whole || !printed.contains('e')) {
            return Err(fault("is an integer beyond ±(2^53 − 1), which JavaScript would change; send it as a string"));
        }
        self.out.push_str(printed);
        Ok(())
    }

    fn digits(&mut self) -> Read {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from { Err(self.unexpected("a digit")) } else { Ok(()) }
    }

    fn word(&mut self, word: &str) -> Read {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.out.push_str(word);
        self.at += word.len();
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Copies a character of JSON's own, all of which are ASCII.
    fn copy_byte(&mut self) {
        self.out.push(char::from(self.bytes[self.at]));
        self.at += 1;
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn unexpected(&self, wanted: &str) -> Box<Fault> {
        let before = String::from_utf8_lossy(&self.bytes[..self.at]);
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().map_or(0, |last| last.chars().count());
        fault(format!("is not JSON: expected {wanted} at line {line}, column {column}"))
    }
}

fn fault(rule: impl Into<String>) -> Box<Fault> {
    Box::new(Fault { steps: Vec::new(), rule: rule.into() })
}

/// One step of a path, from a key as it was written.
fn step(quoted: &str) -> String {
    let key = &quoted[1..quoted.len() - 1];
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let is_identifier = key.chars().all(is_name) && key.starts_with(|c: char| !c.is_numeric());
    match key.char_indices().nth(KEY_IN_PATH) {
        Some((cut, _)) => format!("[\"{}…\"]", &key[..cut]),
        None if is_identifier => format!(".{key}"),
        None => format!("[\"{key}\"]"),
    }
}
