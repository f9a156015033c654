//! A private Postgres cluster for development and tests: made on first use, found again on the next.
//!
//! It listens on 127.0.0.1 only, needs no system service, runs as an unprivileged account when this program is root,
//! and never outlives its owner, however that ends. Production brings its own Postgres; nothing here is used there.

mod account;
mod binaries;
mod home;
mod server;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use account::Account;
use binaries::Binaries;
use home::{Held, Home};
use server::{Server, Started};

/// How long a start may take, recovery after a kill included.
const START_WITHIN: Duration = Duration::from_secs(60);

/// What distinguishes a developer's cluster from one for tests.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether data must survive a power cut. Tests say no, and run several times as fast.
    pub durable: bool,
}

/// Why there is no cluster; each displays as one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No server binaries, or not those of the version that made the data.
    #[error("{0}")]
    NotInstalled(String),
    /// The directory cannot hold a cluster.
    #[error("the database directory {} cannot be used: {reason}", path.display())]
    Directory {
        /// The directory or file in question.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Postgres program could not be run, or ended with an error; the text holds its last words.
    #[error("{0}")]
    Failed(String),
}

/// A running cluster. The owner's end, clean or not, stops it; so does dropping this value.
#[derive(Debug)]
pub struct Cluster {
    home: Home,
    port: u16,
    notice: Option<String>,
    // Dropped in this order: the server first, then the lock that says it is ours.
    server: Option<Server>,
    _held: Option<Held>,
}

impl Cluster {
    /// Starts the cluster of `dir` and returns when it accepts connections: within a second or so, a few on first use.
    ///
    /// Blocks; call it from `spawn_blocking` in async code. If another living program owns the cluster, that one is
    /// used as it is, and stays that program's to stop.
    pub fn start(dir: &Path, options: Options) -> Result<Self, ClusterError> {
        let account = Account::to_serve_as()?;
        let (home, notice) = Home::open(dir, account)?;
        let deadline = Instant::now() + START_WITHIN;
        let Some(held) = home.hold()? else {
            let port = server::wait_for_owner(&home, deadline)?;
            return Ok(Self { home, port, notice, server: None, _held: None });
        };
        let binaries = Binaries::find(home.version().as_deref())?;
        home.initialise(&binaries, options)?;
        home.clear_previous_run(&binaries)?;
        loop {
            let port = home.choose_port()?;
            match Server::start(&home, &binaries, port, options, deadline)? {
                Started::Ready(server) => {
                    return Ok(Self { home, port, notice, server: Some(server), _held: Some(held) });
                }
                Started::TryAgain => {}
            }
        }
    }

    /// The address of its database `inkfleet`, password included, for the account that may do everything.
    pub fn url(&self) -> String {
        self.url_of(home::DATABASE)
    }

    /// The address of another database of this cluster; the name goes in as it is.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{}:{}@127.0.0.1:{}/{database}", home::SUPERUSER, self.home.password, self.port)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are: the data, the server's log, the password.
    pub fn home(&self) -> &Path {
        &self.home.dir
    }

    /// A sentence for the developer if the files are not in the directory that was asked for.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// Whether another program owns the server, and will stop it.
    pub fn is_borrowed(&self) -> bool {
        self.server.is_none()
    }

    /// Stops the server, open connections included, and returns when it has ended. Blocks.
    pub fn stop(mut self) -> Result<(), ClusterError> {
        match &mut self.server {
            Some(server) => server.stop(),
            None => Ok(()),
        }
    }
}

/// The sentence for a file or directory that the system refuses.
fn refused(path: &Path, error: &io::Error) -> ClusterError {
    ClusterError::Directory { path: path.to_owned(), reason: error.to_string() }
}
