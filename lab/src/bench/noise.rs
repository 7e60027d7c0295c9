//! What else the machine did during a run.

use serde::{Deserialize, Serialize};
use std::fs;
use std::time::Instant;

/// How disturbed a run was. `None` where the machine does not say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// How long the run took, milliseconds.
    pub wall_ms: u64,
    /// Load average over a minute when the run began, in thousandths.
    pub load_milli: Option<u64>,
    /// Time that a hypervisor gave to others, in thousandths of all CPUs' time.
    pub steal_milli: Option<u64>,
    /// Time that the CPUs were not idle, likewise: the run's own and others'.
    pub busy_milli: Option<u64>,
}

/// CPU time since boot, of all CPUs, in the kernel's ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CpuTime {
    all: u64,
    idle: u64,
    steal: u64,
}

/// Watches from now on.
#[derive(Debug)]
pub struct Watch {
    started: Instant,
    load_milli: Option<u64>,
    before: Option<CpuTime>,
}

impl Watch {
    /// Begins.
    pub fn start() -> Self {
        let load = fs::read_to_string("/proc/loadavg").ok().and_then(|text| load_milli(&text));
        Self { started: Instant::now(), load_milli: load, before: now() }
    }

    /// Ends.
    pub fn stop(self) -> Noise {
        let share = |part: fn(CpuTime) -> u64| {
            let (before, after) = (self.before?, now()?);
            let all = after.all.saturating_sub(before.all);
            part(after).saturating_sub(part(before)).saturating_mul(1000).checked_div(all)
        };
        Noise {
            wall_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            load_milli: self.load_milli,
            steal_milli: share(|time| time.steal),
            busy_milli: share(|time| time.all.saturating_sub(time.idle)),
        }
    }
}

fn now() -> Option<CpuTime> {
    cpu_time(&fs::read_to_string("/proc/stat").ok()?)
}

/// The first field of `/proc/loadavg`, such as `0.52`.
fn load_milli(text: &str) -> Option<u64> {
    let (whole, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = hundredths.parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(hundredths.checked_mul(10)?)
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)). What follows
/// is part of user and nice.
fn cpu_time(text: &str) -> Option<CpuTime> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> =
        line.split_ascii_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let field = |index: usize| fields.get(index).copied();
    let all = fields.iter().try_fold(0_u64, |sum, field| sum.checked_add(*field))?;
    Some(CpuTime { all, idle: field(3)?.saturating_add(field(4)?), steal: field(7)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        assert_eq!(load_milli("12.05 1.00 0.50 2/130 4711\n"), Some(12_050));
        assert_eq!(load_milli(""), None);
        let stat = "cpu  100 5 20 800 30 1 2 42 7 0\ncpu0 1 2\n";
        assert_eq!(cpu_time(stat), Some(CpuTime { all: 1000, idle: 830, steal: 42 }));
        assert_eq!(cpu_time("cpu  1 2 3\n"), None);
        assert_eq!(cpu_time("intr 5\n"), None);
    }

    #[test]
    fn this_machine_answers() {
        let noise = Watch::start().stop();
        assert!(noise.load_milli.is_some());
    }
}
