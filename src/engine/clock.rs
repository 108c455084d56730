//! The engine's clocks: wall time for people, monotonic time for durations, the boot that both belong to. The only
//! place that asks the machine what time it is.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// The clocks of one process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    offset_ns: u64,
    /// Wall time at the start, where time is tokio's own (paused in simulations) and not the machine's.
    simulated: Option<DateTime<Utc>>,
}

impl Clock {
    /// The machine's clocks. The monotonic one counts from the machine's start, so that processes of one boot agree.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            offset_ns: since_boot_ns(),
            simulated: None,
        }
    }

    /// Clocks that begin at `start` and go as tokio's time goes: the same run tells the same times.
    pub fn simulated(start: DateTime<Utc>) -> Self {
        Self {
            started: Instant::now(),
            offset_ns: 0,
            simulated: Some(start),
        }
    }

    /// Wall time.
    pub fn now(&self) -> DateTime<Utc> {
        match self.simulated {
            None => Utc::now(),
            Some(start) => start + TimeDelta::from_std(self.started.elapsed()).unwrap_or_default(),
        }
    }

    /// Nanoseconds since the machine started.
    pub fn mono_ns(&self) -> u64 {
        let here = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.offset_ns.saturating_add(here)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// From `clock_gettime(2)`, `CLOCK_BOOTTIME`.
fn since_boot_ns() -> u64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(at.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The kernel's id of this boot (`random(4)`), or `unknown` where there is none.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_missing| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// This machine's name.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
