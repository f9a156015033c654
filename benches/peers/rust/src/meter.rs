//! Processor time and percentiles.

use std::time::Duration;

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

/// This process's processor time so far, user and system, in seconds.
pub fn cpu_s() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The nearest-rank percentile in milliseconds; `times` is sorted and not empty.
pub fn percentile_ms(times: &[Duration], percent: f64) -> f64 {
    let rank = (times.len() as f64 * percent / 100.0).ceil() as usize;
    round(times[rank.clamp(1, times.len()) - 1].as_secs_f64() * 1000.0)
}

/// To three decimals.
pub fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
