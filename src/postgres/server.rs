//! The server process, under a watchdog.
//!
//! The watchdog is a shell that holds the read end of a pipe whose write end only this program has. However this
//! program ends, the pipe closes, and the shell stops the server. No process of ours is left to clean up after us.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    ClusterError, Options, account,
    binaries::Binaries,
    home::{Home, serves},
    refused,
};

/// Fd 3 is the pipe. The reader is a process of its own, so that it works even when the shell itself is killed, and
/// the shell ends when the server does. SIGINT is Postgres's fast shutdown.
const WATCHDOG: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ read -r _ <&3; kill -INT "$server"; } 2>/dev/null &
reader=$!
exec 3<&-
wait "$server"; code=$?
kill "$reader" 2>/dev/null
exit "$code"
"#;

/// Same on every start; the port and durability follow.
const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1",
    // A socket path has a length limit that a deep checkout exceeds.
    "unix_socket_directories=",
    "max_connections=300",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "timezone=UTC",
    "log_timezone=UTC",
    "logging_collector=off",
];

/// What a test does not need: nothing of it outlives the run.
const NOT_DURABLE: [&str; 5] =
    ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0"];

/// Log lines of a start that failed for a reason that passes: another program took the port in between, or a killed
/// server's last processes are still leaving.
const PASSING: [&str; 3] = ["could not create any TCP/IP sockets", "pre-existing shared memory block", "lock file"];

/// A server that accepts connections.
#[derive(Debug)]
pub(super) struct Server {
    watchdog: Child,
}

/// How a start went, if not wrong.
pub(super) enum Started {
    Ready(Server),
    TryAgain,
}

impl Server {
    /// Starts the server and waits until it accepts connections.
    pub(super) fn start(
        home: &Home,
        binaries: &Binaries,
        port: u16,
        options: Options,
        deadline: Instant,
    ) -> Result<Started, ClusterError> {
        let log = File::create(home.log()).map_err(|error| refused(&home.log(), &error))?;
        let log_too = log.try_clone().map_err(|error| refused(&home.log(), &error))?;
        let mut shell = account::command("sh", home.account);
        shell.args(["-c", WATCHDOG, "inkfleet-postgres-watchdog"]);
        shell.arg(binaries.program("postgres")).arg("-D").arg(home.data()).args(["-p", &port.to_string()]);
        let more: &[&str] = if options.durable { &[] } else { &NOT_DURABLE };
        for setting in SETTINGS.iter().chain(more) {
            shell.args(["-c", setting]);
        }
        // A group of its own: Ctrl-C in the terminal is for us, and the server goes last.
        shell.process_group(0).stdin(Stdio::piped()).stdout(log).stderr(log_too);
        let watchdog = shell.spawn().map_err(|error| ClusterError::Failed(format!("`sh` cannot be run: {error}")))?;
        let mut server = Self { watchdog };
        loop {
            if is_ready(home) {
                return Ok(Started::Ready(server));
            }
            if server.has_ended() {
                let log = fs::read_to_string(home.log()).unwrap_or_default();
                if PASSING.iter().any(|reason| log.contains(reason)) && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(50));
                    return Ok(Started::TryAgain);
                }
                return Err(failed(home, "did not start"));
            }
            if Instant::now() >= deadline {
                return Err(failed(home, "did not become ready in time"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks for a fast shutdown, and waits for it. A second call does nothing.
    pub(super) fn stop(&mut self) -> Result<(), ClusterError> {
        drop(self.watchdog.stdin.take());
        match self.watchdog.wait() {
            Ok(_) => Ok(()),
            Err(error) => Err(ClusterError::Failed(format!("Postgres did not stop: {error}"))),
        }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.watchdog.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to be told of an error here.
        let _ = self.stop();
    }
}

/// Waits until the server of another owner is ready, and returns its port.
pub(super) fn wait_for_owner(home: &Home, deadline: Instant) -> Result<u16, ClusterError> {
    loop {
        if is_ready(home)
            && let Some(port) = home.port()
        {
            return Ok(port);
        }
        if Instant::now() >= deadline {
            return Err(failed(home, "belongs to another program, which does not get it ready"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The eighth line of `postmaster.pid` is the state, as `pg_ctl` reads it; a file left by a killed server says nothing.
fn is_ready(home: &Home) -> bool {
    let text = fs::read_to_string(home.data().join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    let alive = lines.next().and_then(|pid| pid.parse().ok()).is_some_and(|pid| serves(pid, &home.data()));
    alive && lines.nth(6).is_some_and(|state| state.trim() == "ready")
}

fn failed(home: &Home, what: &str) -> ClusterError {
    let log = fs::read_to_string(home.log()).unwrap_or_default();
    let telling = |line: &&str| ["FATAL", "PANIC", "ERROR", "HINT"].iter().any(|level| line.contains(level));
    let lines: Vec<&str> = log.lines().filter(telling).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" / ");
    ClusterError::Failed(format!("Postgres {what}; its log is {}: {last}", home.log().display()))
}
