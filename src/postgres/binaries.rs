//! Finding the server's programs: most distributions keep them out of `PATH`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::ClusterError;

/// Directories with one subdirectory per major version, as distributions and Homebrew lay them out.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
];

const HOW_TO_INSTALL: &str = "install the package `postgresql` (Debian, Ubuntu), `postgresql-server` (Fedora) or \
                              `postgresql` (Homebrew), or set DATABASE_URL to a running Postgres";

/// The directory that holds `postgres`, `initdb` and `pg_ctl` of one version.
#[derive(Debug)]
pub(super) struct Binaries(PathBuf);

impl Binaries {
    /// Those of major version `wanted` (data on disk binds to it), otherwise the first in `PATH`, otherwise the newest.
    pub(super) fn find(wanted: Option<&str>) -> Result<Self, ClusterError> {
        let mut candidates = candidates().into_iter().filter(|dir| is_complete(dir));
        let Some(version) = wanted else {
            let none = || ClusterError::NotInstalled(format!("no PostgreSQL server was found: {HOW_TO_INSTALL}"));
            return candidates.next().map(Self).ok_or_else(none);
        };
        let found = candidates.find(|dir| major_version(dir).as_deref() == Some(version)).map(Self);
        found.ok_or_else(|| {
            ClusterError::NotInstalled(format!(
                "the database files were made by PostgreSQL {version}, which was not found: {HOW_TO_INSTALL}; or \
                 remove the files to begin anew"
            ))
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).filter(|dir| dir.is_absolute());
    let mut versioned: Vec<(u32, PathBuf)> = VERSIONED
        .iter()
        .flat_map(|(parent, prefix)| {
            let entries = fs::read_dir(parent).into_iter().flatten().flatten();
            entries.filter_map(move |entry| {
                let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
                Some((version, entry.path().join("bin")))
            })
        })
        .collect();
    versioned.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    in_path.chain(versioned.into_iter().map(|(_, dir)| dir)).collect()
}

fn is_complete(dir: &Path) -> bool {
    ["postgres", "initdb", "pg_ctl"].iter().all(|name| dir.join(name).is_file())
}

/// `15` of `postgres (PostgreSQL) 15.14 (Debian 15.14-0)`, `18` of `postgres (PostgreSQL) 18beta1`.
fn major_version(dir: &Path) -> Option<String> {
    let told = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let version = told.split_once(") ")?.1;
    Some(version.chars().take_while(char::is_ascii_digit).collect())
}
