//! The cluster's files: `data/`, `password`, `port`, `server.log` and `lock`, in one directory of their own.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    net::TcpListener,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use domain::chance::Chance;

use super::{
    ClusterError, Options,
    account::{self, Account},
    binaries::Binaries,
    refused,
};

pub(super) const SUPERUSER: &str = "inkfleet";
pub(super) const DATABASE: &str = "inkfleet";

/// Where the files go when the server's account cannot reach the directory that was asked for.
const ELSEWHERE: &str = "/var/lib/inkfleet";

/// An opened directory that the server's account can enter. Only `data` and the password belong to that account.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
    pub(super) account: Option<Account>,
    pub(super) password: String,
}

/// The lock that says: the server of this directory is ours. The kernel takes it back when the program ends.
#[derive(Debug)]
pub(super) struct Held {
    _lock: File,
}

impl Home {
    /// Makes or finds the directory, and a sentence if it is another than `asked`.
    pub(super) fn open(asked: &Path, account: Option<Account>) -> Result<(Self, Option<String>), ClusterError> {
        let closed = |dir: &Path| account.is_some_and(|account| !account.can_enter(dir));
        let mut dir = make_dir(asked)?;
        let mut notice = None;
        if closed(&dir) {
            let other = make_open_dir(&elsewhere(&dir))?;
            notice = Some(format!(
                "{} is closed to the account that Postgres runs as, so the database is in {}",
                dir.display(),
                other.display()
            ));
            dir = other;
        }
        if closed(&dir) {
            let reason = "the account that Postgres runs as may not enter it".to_owned();
            return Err(ClusterError::Directory { path: dir, reason });
        }
        let password = password(&dir, account)?;
        Ok((Self { dir, account, password }, notice))
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// The major version that made the data, if there is any.
    pub(super) fn version(&self) -> Option<String> {
        fs::read_to_string(self.data().join("PG_VERSION")).ok().map(|version| version.trim().to_owned())
    }

    /// The lock, or `None` while another living program has it.
    pub(super) fn hold(&self) -> Result<Option<Held>, ClusterError> {
        let path = self.dir.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| refused(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(refused(&path, &error)),
        }
    }

    /// Makes the data directory on first use. It appears whole or not at all, so that a kill half-way leaves nothing to
    /// trip over.
    pub(super) fn initialise(&self, binaries: &Binaries, options: Options) -> Result<(), ClusterError> {
        if self.version().is_some() {
            return Ok(());
        }
        let fresh = self.dir.join("data.new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(|error| refused(&fresh, &error))?;
        }
        DirBuilder::new().mode(0o700).create(&fresh).map_err(|error| refused(&fresh, &error))?;
        own(&fresh, self.account)?;
        let mut initdb = account::command(binaries.program("initdb"), self.account);
        initdb.arg("-D").arg(&fresh).args(["-U", SUPERUSER, "-E", "UTF8", "--locale", locale()]);
        initdb.arg("--auth=scram-sha-256").arg("--pwfile").arg(self.dir.join("password"));
        if !options.durable {
            initdb.arg("--no-sync");
        }
        run(&mut initdb, "initdb")?;
        // A single-user server takes one statement per line and needs no connection.
        let mut single = account::command(binaries.program("postgres"), self.account);
        single.args(["--single", "-D"]).arg(&fresh).arg("postgres").stdin(Stdio::piped());
        run_with(&mut single, "postgres --single", &format!("create database {DATABASE}\n"))?;
        fs::rename(&fresh, self.data()).map_err(|error| refused(&self.data(), &error))
    }

    /// Ends what a killed owner left behind. Only for the holder of the lock: any server here is nobody's.
    pub(super) fn clear_previous_run(&self, binaries: &Binaries) -> Result<(), ClusterError> {
        let pid_file = self.data().join("postmaster.pid");
        let Ok(text) = fs::read_to_string(&pid_file) else { return Ok(()) };
        let pid = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
        if pid.is_some_and(|pid| serves(pid, &self.data())) {
            let mut stop = account::command(binaries.program("pg_ctl"), self.account);
            stop.arg("stop").arg("-D").arg(self.data()).args(["-m", "fast", "-w", "-t", "30"]);
            // It may have ended by itself meanwhile; if it has not, the start says so.
            let _ = stop.output();
        } else {
            // Postgres would refuse to start if the number belongs to another process of that account by now.
            match fs::remove_file(&pid_file) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(refused(&pid_file, &error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The port of the last run if it is still free, so that addresses stay valid over restarts; otherwise another.
    pub(super) fn choose_port(&self) -> Result<u16, ClusterError> {
        let bind = |port| TcpListener::bind(("127.0.0.1", port)).and_then(|socket| socket.local_addr());
        let kept = self.port().filter(|port| bind(*port).is_ok());
        if let Some(port) = kept {
            return Ok(port);
        }
        let free = bind(0).map_err(|error| ClusterError::Failed(format!("127.0.0.1 has no free port: {error}")))?;
        let path = self.dir.join("port");
        fs::write(&path, format!("{}\n", free.port())).map_err(|error| refused(&path, &error))?;
        Ok(free.port())
    }

    /// The port that was chosen last.
    pub(super) fn port(&self) -> Option<u16> {
        fs::read_to_string(self.dir.join("port")).ok()?.trim().parse().ok()
    }
}

/// `C.UTF-8` knows letters beyond ASCII and sorts by code point; only Linux has it everywhere.
fn locale() -> &'static str {
    if cfg!(target_os = "linux") { "C.UTF-8" } else { "C" }
}

fn make_dir(dir: &Path) -> Result<PathBuf, ClusterError> {
    let make = || {
        // Open for passing through: the data directory inside is 0700.
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        let dir = dir.canonicalize()?;
        let probe = dir.join(".probe");
        fs::write(&probe, b"")?;
        fs::remove_file(&probe)?;
        Ok(dir)
    };
    make().map_err(|error| refused(dir, &error))
}

/// A directory under [`ELSEWHERE`] that every account can enter, whatever the umask.
fn make_open_dir(dir: &Path) -> Result<PathBuf, ClusterError> {
    let dir = make_dir(dir)?;
    for open in [Path::new(ELSEWHERE), &dir] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).map_err(|error| refused(open, &error))?;
    }
    Ok(dir)
}

fn own(path: &Path, account: Option<Account>) -> Result<(), ClusterError> {
    let Some(Account { uid, gid }) = account else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(|error| refused(path, &error))
}

/// The superuser's password, made once; only the server's account (and root) can read it.
fn password(dir: &Path, account: Option<Account>) -> Result<String, ClusterError> {
    let path = dir.join("password");
    let kept = fs::read_to_string(&path).map(|text| text.trim().to_owned());
    match kept {
        Ok(password) if !password.is_empty() => return Ok(password),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(refused(&path, &error)),
        _ => {}
    }
    let password = Chance::system().alphanumeric(32);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let write = file.and_then(|mut file| {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(password.as_bytes())
    });
    write.map_err(|error| refused(&path, &error))?;
    own(&path, account)?;
    Ok(password)
}

/// `/var/lib/inkfleet/<hash of the path>`: FNV-1a, because the name must be the same whatever built the program.
fn elsewhere(dir: &Path) -> PathBuf {
    let hash =
        dir.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    Path::new(ELSEWHERE).join(format!("{hash:016x}"))
}

/// Whether process `pid` is a server of `data`; without `/proc` to look in, it is taken for one.
pub(super) fn serves(pid: u32, data: &Path) -> bool {
    if !Path::new("/proc/self").exists() {
        return true;
    }
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    command.split(|byte| *byte == 0).any(|word| word == data.as_os_str().as_encoded_bytes())
}

fn run(command: &mut Command, name: &str) -> Result<(), ClusterError> {
    run_with(command, name, "")
}

fn run_with(command: &mut Command, name: &str, input: &str) -> Result<(), ClusterError> {
    let failed = |why: String| ClusterError::Failed(format!("`{name}` failed: {why}"));
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    let ended = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&ended.stderr).trim().to_owned()))
}
