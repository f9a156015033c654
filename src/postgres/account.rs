//! The account that the server runs as: Postgres refuses to run as root.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Command};

use super::ClusterError;

/// Accounts that may serve when this program is root; the first that exists is taken.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The numbers of an account other than our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// The account to change to; `None` when this program is not root and the server can run as it is.
    pub(super) fn to_serve_as() -> Result<Option<Self>, ClusterError> {
        let id = Command::new("id").arg("-u").output();
        let id = id.map_err(|error| ClusterError::Failed(format!("the program `id` cannot be run: {error}")))?;
        if id.stdout.trim_ascii() != b"0" {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let account = UNPRIVILEGED.iter().find_map(|name| Self::named(name, &passwd));
        account.map(Some).ok_or_else(|| {
            ClusterError::Failed(
                "Postgres does not run as root, and this machine has neither an account `postgres` nor `nobody`; make \
                 one, or start this program as an ordinary user"
                    .to_owned(),
            )
        })
    }

    fn named(name: &str, passwd: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        })
    }

    /// Whether this account gets through to `dir`.
    pub(super) fn can_enter(self, dir: &Path) -> bool {
        let mut probe = command("sh", Some(self));
        probe.args(["-c", "cd -- \"$1\"", "sh"]).arg(dir);
        probe.output().is_ok_and(|tried| tried.status.success())
    }
}

/// A command that runs as `account`, from `/`: the caller's directory may be closed to that account.
pub(super) fn command(program: impl AsRef<std::ffi::OsStr>, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(std::process::Stdio::null());
    if let Some(Account { uid, gid }) = account {
        command.uid(uid).gid(gid);
    }
    command
}
