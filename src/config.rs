//! Every setting, read once from the environment at the start.
//!
//! One struct per section; each field's doc is also its comment in `.env.sample`. A wrong value ends the start with
//! one sentence that names the variable and the rule. Secrets are wrapped and never printed, not even when wrong.

mod check;
mod rule;
mod sample;
mod section;

use std::{env, ffi::OsString};

use clap::{
    CommandFactory, FromArgMatches, Parser,
    error::{ContextKind, ContextValue},
};

pub use sample::env_sample;
pub use section::{Billing, Cron, Database, Http, Limits, Log, LogFormat, Mail, Places, Security, Webhooks, Workers};

/// What the program was started for; decides which settings must be there, and some defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `inkfleet migrate` and `inkfleet admin`: the database is enough.
    Administer,
    /// `inkfleet serve`.
    Serve,
    /// `inkfleet work`.
    Work,
    /// `inkfleet dev`: what is missing is made, and local receivers are allowed.
    Develop,
}

/// All settings.
#[derive(Debug, Clone, Parser)]
#[command(name = "inkfleet", disable_help_flag = true)]
pub struct Settings {
    /// Where the rows are.
    #[command(flatten)]
    pub database: Database,
    /// Where the API listens.
    #[command(flatten)]
    pub http: Http,
    /// Where visitors of codes are.
    #[command(flatten)]
    pub places: Places,
    /// Keys and sessions.
    #[command(flatten)]
    pub security: Security,
    /// Outgoing webhooks.
    #[command(flatten)]
    pub webhooks: Webhooks,
    /// The fleet.
    #[command(flatten)]
    pub workers: Workers,
    /// Outgoing mail.
    #[command(flatten)]
    pub mail: Mail,
    /// Scheduled work.
    #[command(flatten)]
    pub cron: Cron,
    /// What organisations pay.
    #[command(flatten)]
    pub billing: Billing,
    /// What one key may ask for.
    #[command(flatten)]
    pub limits: Limits,
    /// Logs and traces.
    #[command(flatten)]
    pub log: Log,
}

/// Why the program does not start: one sentence that names the variable and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// Defaults of `inkfleet dev` that production must choose knowingly.
const DEVELOPMENT: [(&str, &str); 3] =
    [("BIND", "127.0.0.1"), ("INKFLEET_ALLOW_PRIVATE_TARGETS", "true"), ("INKFLEET_ALLOW_HTTP_TARGETS", "true")];

impl Settings {
    /// Reads and checks the environment of this process.
    pub fn from_env(purpose: Purpose) -> Result<Self, SettingsError> {
        Self::read(purpose, |name| env::var_os(name))
    }

    /// Reads and checks settings from wherever `value_of` finds them by name. An empty value counts as none, so that a
    /// line `NAME=` in an environment file is harmless.
    pub fn read(purpose: Purpose, value_of: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let command = Self::command();
        let mut words = vec!["inkfleet".to_owned()];
        for arg in command.get_arguments() {
            let (Some(name), Some(long)) = (env_name(arg), arg.get_long()) else { continue };
            let given = value_of(name).filter(|value| !value.is_empty());
            let given = given.map(OsString::into_string).transpose();
            let given = given.map_err(|_| SettingsError(format!("{name} must be UTF-8 text.")))?;
            let default = DEVELOPMENT.iter().find(|(wanted, _)| purpose == Purpose::Develop && *wanted == name);
            if let Some(value) = given.or_else(|| default.map(|(_, value)| (*value).to_owned())) {
                words.push(format!("--{long}={value}"));
            }
        }
        // The values are handed over as words: clap would read the environment by itself, empty values included.
        let parsed = command.mut_args(|arg| arg.env(None::<&str>)).try_get_matches_from(words);
        let settings = parsed.and_then(|matches| Self::from_arg_matches(&matches)).map_err(sentence)?;
        settings.check(purpose)?;
        Ok(settings)
    }
}

/// The variable behind an argument.
fn env_name(arg: &clap::Arg) -> Option<&str> {
    arg.get_env().and_then(|name| name.to_str())
}

/// `PORT must be a whole number from 0 to 65535; it is "abc".`, without the last part for a secret.
fn sentence(error: clap::Error) -> SettingsError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let mut command = Settings::command();
    // Only a built argument knows how it is written in an error.
    command.build();
    let wrong = command.get_arguments().find(|arg| arg.to_string() == text(ContextKind::InvalidArg));
    let (Some(arg), Some(rule)) = (wrong, std::error::Error::source(&error)) else {
        return SettingsError(format!("The settings cannot be read: {}.", error.kind()));
    };
    let name = env_name(arg).unwrap_or_default();
    if arg.is_hide_env_values_set() {
        return SettingsError(format!("{name} {rule}."));
    }
    SettingsError(format!("{name} {rule}; it is {:?}.", text(ContextKind::InvalidValue)))
}
