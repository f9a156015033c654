//! Signing secrets: what one looks like in each dialect, who makes it, and a new one.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::Dialect;
use crate::chance::Chance;

/// A dialect's rule for its secrets: the prefix, then `least` to `most` units of the alphabet.
#[derive(Debug, PartialEq, Eq)]
pub struct SecretPolicy {
    /// What every secret begins with; may be empty.
    pub prefix: &'static str,
    /// What follows the prefix.
    pub alphabet: Alphabet,
    /// Units after the prefix in a secret that we make.
    pub generated: usize,
    /// Units after the prefix, at least.
    pub least: usize,
    /// Units after the prefix, at most.
    pub most: usize,
    /// Who makes it.
    pub choice: Choice,
    /// How often it is shown.
    pub shown: Shown,
}

/// What follows a secret's prefix, and the unit in which it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Bytes in standard base64 with padding; counted in bytes.
    Base64,
    /// A–Z, a–z and 0–9; counted in characters.
    LettersAndDigits,
    /// ASCII from the space to the tilde; counted in characters.
    Printable,
}

/// Who makes a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Always we.
    Generated,
    /// The caller if they send one, otherwise we.
    Either,
    /// Always the caller.
    Required,
}

/// When a secret is shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// In the answer that made it, and never again.
    Once,
    /// Not at all: the caller has it.
    Never,
}

/// A text that breaks the policy; its message is the rule, to stand after the field's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidSecret(pub &'static SecretPolicy);

impl fmt::Display for SecretPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be ")?;
        if !self.prefix.is_empty() {
            write!(f, "{} followed by ", self.prefix)?;
        }
        let Self { least, most, .. } = self;
        match self.alphabet {
            Alphabet::Base64 => write!(f, "the base64 of {least} to {most} bytes"),
            Alphabet::LettersAndDigits => write!(f, "{least} to {most} letters and digits"),
            Alphabet::Printable => write!(f, "{least} to {most} printable ASCII characters"),
        }
    }
}

/// A new secret that [`check_secret`] accepts.
pub fn new_secret(dialect: &Dialect, chance: &Chance) -> String {
    let SecretPolicy { prefix, generated, .. } = dialect.secret;
    let tail = match dialect.secret.alphabet {
        Alphabet::Base64 => STANDARD.encode(&chance.bytes::<64>()[..generated]),
        Alphabet::LettersAndDigits | Alphabet::Printable => chance.alphanumeric(generated),
    };
    format!("{prefix}{tail}")
}

/// Whether `secret` can sign for the dialect; the error says in words what it must be, and never repeats the secret.
pub fn check_secret(dialect: &'static Dialect, secret: &str) -> Result<(), InvalidSecret> {
    let policy = &dialect.secret;
    let units = secret.strip_prefix(policy.prefix).and_then(|tail| match policy.alphabet {
        Alphabet::Base64 => STANDARD.decode(tail).ok().map(|bytes| bytes.len()),
        Alphabet::LettersAndDigits => tail.bytes().all(|b| b.is_ascii_alphanumeric()).then_some(tail.len()),
        Alphabet::Printable => tail.bytes().all(|b| matches!(b, b' '..=b'~')).then_some(tail.len()),
    });
    match units {
        Some(units) if (policy.least..=policy.most).contains(&units) => Ok(()),
        _ => Err(InvalidSecret(policy)),
    }
}
