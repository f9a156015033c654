//! The words of a command line: `--name value` pairs and `--flags`.

use std::str::FromStr;

/// The words after a benchmark's name.
#[derive(Debug, Clone)]
pub struct Words(pub Vec<String>);

impl Words {
    /// Whether `--name` stands there.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|word| word.strip_prefix("--") == Some(name))
    }

    /// The value after `--name`, if it stands there and can be read.
    pub fn value<T: FromStr>(&self, name: &str) -> Option<T> {
        let at = self.0.iter().position(|word| word.strip_prefix("--") == Some(name))?;
        self.0.get(at + 1)?.parse().ok()
    }

    /// The value after `--name`, or `default`.
    pub fn or<T: FromStr>(&self, name: &str, default: T) -> T {
        self.value(name).unwrap_or(default)
    }
}
