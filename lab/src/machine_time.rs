//! Time as a virtual machine has it: what it used of the processor, and what it was idle.
//!
//! Whether a machine hangs is a question of this time and not of the clock. A machine that waits for a processor, or
//! that is stopped, has none of it; so a slow or busy host makes a run longer and changes nothing else.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a machine is looked at: what it was idle is counted in these steps.
pub const STEP: Duration = Duration::from_millis(20);

/// The time of one process, which runs a machine.
#[derive(Debug)]
pub struct MachineTime {
    process: PathBuf,
    ticks_per_s: u64,
    used: Duration,
    idle: Duration,
}

impl MachineTime {
    /// The time of the process `id`.
    pub fn of(id: u32) -> Self {
        let ticks_per_s = rustix::param::clock_ticks_per_second().max(1);
        Self {
            process: Path::new("/proc").join(id.to_string()),
            ticks_per_s,
            used: Duration::ZERO,
            idle: Duration::ZERO,
        }
    }

    /// Looks at the machine, as is to be done once each [`STEP`]: all time so far. A process that has ended keeps the
    /// time it had.
    ///
    /// # Errors
    /// When `/proc` cannot be understood.
    pub fn look(&mut self) -> Result<Duration> {
        let Ok(stat) = fs::read_to_string(self.process.join("stat")) else {
            return Ok(self.used + self.idle);
        };
        let ticks =
            processor_ticks(&stat).with_context(|| format!("{}/stat: {stat}", self.process.display()))?;
        if self.sleeps() {
            self.idle += STEP;
        }
        let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks_per_s);
        self.used = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        Ok(self.used + self.idle)
    }

    /// Whether every thread waits for an event: none runs, waits for a processor or a disk, or is stopped.
    fn sleeps(&self) -> bool {
        let threads = fs::read_dir(self.process.join("task")).into_iter().flatten().flatten();
        let mut stats = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
        stats.all(|stat| fields(&stat).next() == Some("S"))
    }
}

/// The fields of a `stat` file behind the name, which may hold anything: state, parent, ... (proc_pid_stat(5)).
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ')
}

/// Time in user and in kernel mode of all threads of a process, in clock ticks.
fn processor_ticks(stat: &str) -> Option<u64> {
    // Fields 14 and 15 of the file; the first behind the name is field 3.
    let mut times = fields(stat).skip(11).map(|field| field.parse::<u64>().ok());
    times.next()??.checked_add(times.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::{Child, Stdio};
    use toolbox::program;

    #[test]
    fn both_times_of_a_process_count() {
        let stat = "42 (a) S) R 1 42 42 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 1 0 99 1 1";
        assert_eq!((processor_ticks(stat), fields(stat).next()), (Some(300), Some("R")));
        assert_eq!(processor_ticks("42 (a) R 1"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in ".{0,200}") {
            let _ = (processor_ticks(&text), fields(&text).count());
        }
    }

    /// A process of a test; killed when dropped.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn sh(script: &str) -> (Running, MachineTime) {
        let child = program::command("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let time = MachineTime::of(child.id());
        (Running(child), time)
    }

    #[test]
    fn a_busy_process_has_time_without_being_idle() {
        let (_busy, mut time) = sh("while :; do :; done");
        // However long it takes to be given a processor.
        while time.look().unwrap() - time.idle < Duration::from_millis(100) {
            std::thread::sleep(STEP);
        }
    }

    #[test]
    fn a_process_that_has_ended_keeps_its_time() {
        let (mut busy, mut time) = sh("while :; do :; done");
        while time.look().unwrap() < STEP * 2 {
            std::thread::sleep(STEP);
        }
        let before = time.look().unwrap();
        busy.0.kill().unwrap();
        busy.0.wait().unwrap();
        assert!(time.look().unwrap() >= before);
    }

    #[test]
    fn an_idle_process_has_time_and_a_stopped_one_has_none() {
        let (idle, mut time) = sh("read line");
        while time.look().unwrap() < STEP * 10 {
            std::thread::sleep(STEP);
        }
        let process = rustix::process::Pid::from_child(&idle.0);
        rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
        let stopped = || fs::read_to_string(time.process.join("stat")).unwrap();
        while fields(&stopped()).next() != Some("T") {
            std::thread::sleep(STEP);
        }
        let before = time.look().unwrap();
        for _ in 0..10 {
            std::thread::sleep(STEP);
            assert_eq!(time.look().unwrap(), before);
        }
    }
}
