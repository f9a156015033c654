//! `.env.sample`, written from the settings themselves so that it cannot miss one.

use std::fmt::Write as _;

use clap::CommandFactory;

use super::{Settings, env_name};

const OPENING: &str = "\
# Every setting of inkfleet with its default. Generated from src/config/section.rs; a test compares them.
# Copy the lines you change into the environment: the program reads no file by itself.
";

const WIDTH: usize = 110;

/// The text of `.env.sample`: by section, each variable's doc as a comment over `#NAME=default`.
pub fn env_sample() -> String {
    let mut sample = OPENING.to_owned();
    let mut section = None;
    for arg in Settings::command().get_arguments() {
        let Some(name) = env_name(arg) else { continue };
        if section.as_deref() != arg.get_help_heading() {
            section = arg.get_help_heading().map(str::to_owned);
            let _ = write!(sample, "\n# --- {} ---\n", section.as_deref().unwrap_or_default());
        }
        let doc = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let default: Vec<&str> = arg.get_default_values().iter().filter_map(|value| value.to_str()).collect();
        let _ = write!(sample, "\n{}#{name}={}\n", comment(&doc), default.join(","));
    }
    sample
}

/// `doc` as comment lines of at most `WIDTH` characters.
fn comment(doc: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in doc.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    // clap takes the last full stop of a doc away.
    let stop = if line.ends_with(['.', '?', '!']) { "" } else { "." };
    let _ = writeln!(lines, "{line}{stop}");
    lines
}
