//! What is done to the installation.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::fleet::Role;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to a worker; another process takes its place.
    KillWorker,
    /// SIGTERM to a worker, then another process.
    StopWorker,
    /// SIGKILL to a web process; another takes its place.
    KillWeb,
    /// SIGTERM to a web process, then another.
    StopWeb,
    /// Postgres ends as in a crash, stays away for a while, and recovers.
    CrashPostgres,
    /// The same, and while Postgres is away a worker is killed and another started.
    KillInCrash,
    /// A worker's connections are closed; it may connect again at once.
    CutWorker,
    /// A worker's connections are closed, and it cannot connect for longer than others wait for it.
    SeverWorker,
    /// A web process's connections are closed.
    CutWeb,
    /// A worker's connections go silent for a while, new ones too.
    StallWorker,
    /// A web process's connections go silent for a while.
    StallWeb,
    /// All of Postgres's connections are in use for a while, and a worker that lost its own gets none.
    FillConnections,
    /// A worker runs on a machine whose clock is minutes off.
    SkewWorker,
    /// A worker stands still for longer than its lease, and goes on.
    PauseWorker,
    /// A worker's connections go silent for longer than its lease.
    BuryWorker,
    /// A worker's connections are lost: open at both ends, silent for ever; new ones work.
    LoseWorker,
    /// A web process's connections are lost.
    LoseWeb,
    /// SIGTERM to a worker whose connections are silent.
    StopSilent,
}

impl Fault {
    /// Those that are over within a few seconds.
    pub const QUICK: [Self; 13] = [
        Self::KillWorker,
        Self::StopWorker,
        Self::KillWeb,
        Self::StopWeb,
        Self::CrashPostgres,
        Self::KillInCrash,
        Self::CutWorker,
        Self::SeverWorker,
        Self::CutWeb,
        Self::StallWorker,
        Self::StallWeb,
        Self::FillConnections,
        Self::SkewWorker,
    ];
    /// Those that last for longer than a lease, or until a silence is noticed.
    pub const SLOW: [Self; 5] =
        [Self::PauseWorker, Self::BuryWorker, Self::LoseWorker, Self::LoseWeb, Self::StopSilent];

    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "kill-worker",
            Self::StopWorker => "stop-worker",
            Self::KillWeb => "kill-web",
            Self::StopWeb => "stop-web",
            Self::CrashPostgres => "crash-postgres",
            Self::KillInCrash => "kill-in-crash",
            Self::CutWorker => "cut-worker",
            Self::SeverWorker => "sever-worker",
            Self::CutWeb => "cut-web",
            Self::StallWorker => "stall-worker",
            Self::StallWeb => "stall-web",
            Self::FillConnections => "fill-connections",
            Self::SkewWorker => "skew-worker",
            Self::PauseWorker => "pause-worker",
            Self::BuryWorker => "bury-worker",
            Self::LoseWorker => "lose-worker",
            Self::LoseWeb => "lose-web",
            Self::StopSilent => "stop-silent",
        }
    }

    /// Whom it happens to.
    pub const fn role(self) -> Role {
        match self {
            Self::KillWeb | Self::StopWeb | Self::CutWeb | Self::StallWeb | Self::LoseWeb => Role::Web,
            _ => Role::Worker,
        }
    }
}

/// A fault, the member that it happens to, and how long it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Blow {
    /// What.
    pub fault: Fault,
    /// To whom: an index among those of its role.
    pub target: usize,
    /// How long it lasts, where it lasts.
    pub lasts: Duration,
    /// What part of the time between two faults passes before it.
    pub pause: f64,
}

/// The faults of a round.
#[derive(Debug)]
pub struct Plan {
    /// One that lasts, beside the others; it has its target for itself.
    pub slow: Option<Blow>,
    /// One after the other.
    pub quick: Vec<Blow>,
}

/// Every so many rounds one has a slow fault.
const SLOW_EVERY: u64 = 10;

/// Draws the faults of the round of `seed`; of one kind, if `only` names it.
pub fn draw(rng: &mut StdRng, seed: u64, only: Option<&str>) -> Plan {
    let wanted = |fault: &Fault| only.is_none_or(|only| only == fault.name());
    let quick: Vec<Fault> = Fault::QUICK.into_iter().filter(wanted).collect();
    let slow: Vec<Fault> = Fault::SLOW.into_iter().filter(wanted).collect();
    let count = rng.random_range(3..=6);
    let quick = (0..count).filter_map(|_| Some(blow(*quick.choose(rng)?, rng))).collect();
    let slow = if only.is_some() {
        slow.first().copied()
    } else {
        // In turn, so that every kind comes as often.
        seed.is_multiple_of(SLOW_EVERY).then(|| slow[(seed / SLOW_EVERY) as usize % slow.len()])
    };
    Plan { slow: slow.map(|fault| blow(fault, rng)), quick }
}

fn blow(fault: Fault, rng: &mut StdRng) -> Blow {
    let lasts = match fault {
        // Now and then long enough for an idle web process to see it.
        Fault::CrashPostgres if rng.random_bool(0.15) => 6.0..7.0,
        Fault::CrashPostgres | Fault::KillInCrash => 0.1..2.5,
        // Others take a session over when it has looked dead for 1.2 s.
        Fault::SeverWorker => 2.5..4.0,
        Fault::StallWorker => 0.2..3.0,
        Fault::StallWeb => 2.5..3.5,
        Fault::FillConnections => 1.5..2.5,
        Fault::PauseWorker | Fault::BuryWorker => 33.0..36.0,
        // A silence is noticed after 15 s at most.
        Fault::LoseWorker | Fault::LoseWeb => 18.0..20.0,
        // Longer than a stop takes: the grace period, and what is left after it.
        Fault::StopSilent => 25.0..26.0,
        _ => 0.0..0.1,
    };
    Blow {
        fault,
        target: rng.random_range(0..6),
        lasts: Duration::from_secs_f64(rng.random_range(lasts)),
        // Some come at once behind the one before.
        pause: if rng.random_bool(0.25) { 0.0 } else { rng.random_range(0.3..1.4) },
    }
}
