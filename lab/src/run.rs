//! One live update after the other, each with its results.

use crate::cpio::Archive;
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::mailbox::{self, MAILBOX_BYTES};
use crate::plan::{Fault, Plan};
use crate::qemu::{Accel, Counting, Iommu, Machine};
use crate::result::{LabResult, Outcome, RESULT_FILE, Stage};
use crate::session::Session;
use crate::tsc;
use crate::watch::{Console, End, Event};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use toolbox::progress::Progress;

/// Machine time that a guest has to power off once it said it would.
const POWER_OFF: Duration = Duration::from_secs(10);
/// Machine time in which a crashed kernel may go on printing: a panic ends it, after an oops it may come through.
const AFTER_PANIC: Duration = Duration::from_secs(2);
const AFTER_OOPS: Duration = Duration::from_secs(10);
/// The flight recorder: memory that KHO preserves, with a trace instance in it.
const FLIGHT_RECORDER: &str = "reserve_mem=12M:4096:trace trace_instance=boot_map@trace";

/// File behind the mailbox, in the folder that others share with their guest.
const MAILBOX: &str = "mailbox";

/// The files a run leaves, by name and extension.
const RESULTS: [(&str, &str); 7] = [
    ("check", "json"),
    ("recording", "blackout"),
    ("report", "json"),
    ("report", "txt"),
    ("result", "json"),
    ("serial", "log"),
    ("qemu", "log"),
];

/// Everything that the runs of one invocation share.
#[derive(Debug)]
pub struct Lab {
    /// The kernel QEMU boots.
    pub outgoing: Kernel,
    /// The kernel it kexecs.
    pub incoming: Kernel,
    /// Initramfs of both.
    pub initrd: Vec<u8>,
    /// What the guest does.
    pub plan: Plan,
    /// Appended to both kernels' command lines.
    pub append: String,
    /// The emulator.
    pub emulator: Emulator,
    /// What runs the guest.
    pub accel: Accel,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// NUMA nodes that share memory and CPUs.
    pub numa_nodes: u32,
    /// Its IOMMU.
    pub iommu: Iommu,
    /// A machine that prints nothing for longer than this hangs: machine time.
    pub timeout: Duration,
    /// Folder for the results.
    pub out: PathBuf,
    /// Socket for a reader of the stream, if there is to be one.
    pub live: Option<PathBuf>,
    /// Counting of the machine's instructions, if it is asked for.
    pub counting: Option<Counting>,
}

/// Files a run left.
#[derive(Debug)]
pub struct Finished {
    /// What came of it.
    pub result: LabResult,
    /// The recording, if there is one.
    pub recording: Option<PathBuf>,
}

impl Lab {
    /// Does one live update. `suffix` tells the files of several runs apart; `share` is the folder the guest
    /// sees, emptied first.
    ///
    /// # Errors
    /// When the host cannot do its part. A live update that fails is no error here but a result.
    pub fn run(&self, suffix: &str, share: &Path) -> Result<Finished> {
        self.fill(share)?;
        for (name, extension) in RESULTS {
            // An earlier run's results in the same folder must not pass for this one's.
            let _ = fs::remove_file(self.file(name, suffix, extension));
        }
        let deterministic = self.plan.deterministic;
        let serial = self.file("serial", suffix, "log");
        let messages = self.file("qemu", suffix, "log");
        let machine = Machine {
            emulator: self.emulator.clone(),
            accel: self.accel,
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            numa_nodes: self.numa_nodes,
            iommu: self.iommu,
            device: self.plan.guests.iter().any(|guest| guest.device.is_some()),
            kernel: self.outgoing.image.clone(),
            initrd: Some(share.join("initrd")),
            cmdline: cmdline(&self.plan, self.accel, &self.append),
            serial: serial.clone(),
            messages: messages.clone(),
            share: (!deterministic).then(|| share.into()),
            mailbox: deterministic.then(|| share.join(MAILBOX)),
            live: self.live.clone(),
            deterministic,
            counting: self.counting.clone(),
            disks: Vec::new(),
        };
        if let Some(socket) = &self.live {
            eprintln!("lab: waiting for a reader: blackout tui --connect unix:{}", socket.display());
        }
        let title = format!("live update {} -> {}", self.outgoing.release, self.incoming.release);
        let mut progress = Progress::start(title);
        let mut session = Session::start(&machine)?;
        let end = watch(&mut session, self.timeout, &mut progress)?;
        let console = std::mem::take(&mut session.console);
        drop(session);
        if deterministic {
            deliver(share)?;
        }
        let result = result(&end, &console, share);
        if result.outcome == Outcome::Complete {
            progress.done();
        } else {
            progress.note(&format!("failed: {}", result.message));
            eprintln!("lab: the last lines of {}:", serial.display());
            console.tail().for_each(|line| eprintln!("  {line}"));
        }
        write(&self.file("result", suffix, "json"), &serde_json::to_vec_pretty(&result)?)?;
        if fs::metadata(&messages).is_ok_and(|file| file.len() == 0) {
            // Nothing said: nothing to keep.
            let _ = fs::remove_file(&messages);
        }
        // There only if it was asked for.
        let _ = fs::copy(share.join("check.json"), self.file("check", suffix, "json"));
        let recording = match newest_recording(&share.join("state")) {
            Some(found) => {
                let kept = self.file("recording", suffix, "blackout");
                fs::copy(&found, &kept).with_context(|| format!("cannot copy {}", found.display()))?;
                Some(kept)
            }
            None => None,
        };
        Ok(Finished { result, recording })
    }

    /// The path of one of a run's results.
    pub fn file(&self, name: &str, suffix: &str, extension: &str) -> PathBuf {
        self.out.join(format!("{name}{suffix}.{extension}"))
    }

    /// Puts into the shared folder what the guest kexecs, and an empty place for its state.
    fn fill(&self, share: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(share);
        let state = share.join("state");
        fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
        // This folder is this user's, and in the guest the profiler may not be.
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777))
            .with_context(|| format!("cannot open {} to the guest", state.display()))?;
        let image = &self.incoming.image;
        if self.plan.deterministic {
            let mailbox = share.join(MAILBOX);
            let made = File::create(&mailbox).and_then(|file| file.set_len(MAILBOX_BYTES));
            made.with_context(|| format!("cannot create {}", mailbox.display()))?;
            return write(&share.join("initrd"), &self.initrd_with_kernel()?);
        }
        fs::copy(image, share.join("kernel")).with_context(|| format!("cannot copy {}", image.display()))?;
        write(&share.join("initrd"), &self.initrd)
    }

    /// The initramfs, and behind it one with what the guest kexecs: the kernel unpacks both, one over the other.
    fn initrd_with_kernel(&self) -> Result<Vec<u8>> {
        let image = &self.incoming.image;
        let kernel = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
        let mut archive = Archive::default();
        archive.file("host/kernel", 0o644, &kernel)?;
        archive.file("host/initrd", 0o644, &self.initrd)?;
        Ok([self.initrd.as_slice(), &archive.finish()].concat())
    }
}

/// Puts what a deterministic guest left in its mailbox where another leaves it itself.
fn deliver(share: &Path) -> Result<()> {
    let mailbox = share.join(MAILBOX);
    let bytes = fs::read(&mailbox).with_context(|| format!("cannot read {}", mailbox.display()))?;
    for letter in mailbox::unpack(&bytes)? {
        let path = share.join(&letter.path);
        let parent = path.parent().unwrap_or(share);
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        write(&path, &letter.bytes)?;
    }
    Ok(())
}

/// The outgoing kernel's command line. Console output costs time in the window: only errors go there.
fn cmdline(plan: &Plan, accel: Accel, append: &str) -> String {
    let mut words = vec!["console=ttyS0 loglevel=4 panic=-1 kho=on liveupdate=on"];
    // Others look without it, and nobody without anything.
    if plan.fault != Some(Fault::NoFlightRecorder) && plan.observer.is_blackout() {
        words.push(FLIGHT_RECORDER);
    }
    if plan.fault == Some(Fault::NoKvm) {
        // In both kernels: the incoming one's command line is made from this one.
        words.push("clearcpuid=svm,vmx");
    }
    if accel == Accel::Kvm {
        // The scheduler clock is then the TSC, as on a host.
        words.push("no-kvmclock");
    }
    if plan.deterministic {
        // Random numbers are the same in each run, but a build that draws one more must not move everything to other
        // addresses. The last word is for the report: its times are no real machine's.
        words.push("nokaslr norandmaps blackout.deterministic");
    }
    let late_timers = match accel {
        Accel::Tcg if !plan.deterministic => tsc::parameters(),
        Accel::Tcg | Accel::Kvm => String::new(),
    };
    words.extend(Some(late_timers.as_str()).filter(|words| !words.is_empty()));
    // The incoming kernel inherits it.
    words.extend(Some(append).filter(|append| !append.is_empty()));
    words.join(" ")
}

/// Follows a machine to its end, and brings the end about if need be.
fn watch(session: &mut Session, timeout: Duration, progress: &mut Progress) -> Result<End> {
    // The end that is coming, and when it is taken for granted.
    let mut end: Option<(End, Duration)> = None;
    loop {
        let news = session.step()?;
        for event in news.events {
            match event {
                Event::Stage(stage) => progress.note(&stage.to_string()),
                Event::Error(message) => progress.note(&format!("guest: {message}")),
                Event::Done(code) => end = Some((End::Done(code), session.now + POWER_OFF)),
                Event::Panic(line) => end = Some((End::Crash(line), session.now + AFTER_PANIC)),
                Event::Oops(line) if end.is_none() => {
                    end = Some((End::Crash(line), session.now + AFTER_OOPS))
                }
                Event::Oops(_) => {}
            }
        }
        if let Some(status) = news.ended {
            let by_itself = || match status.signal() {
                Some(signal) => End::Killed(signal, session.messages()),
                None => End::Exited(session.messages()),
            };
            return Ok(end.map_or_else(by_itself, |(end, _)| end));
        }
        if end.as_ref().is_some_and(|(_, deadline)| session.now > *deadline)
            && let Some((end, _)) = end
        {
            return Ok(end);
        }
        if session.silent() > timeout {
            return Ok(End::Silence(timeout.as_secs()));
        }
        progress.detail(&format!("{}", session.console.stage()));
    }
}

/// The guest's own result, corrected by how the machine ended; a guest that crashed left none.
fn result(end: &End, console: &Console, share: &Path) -> LabResult {
    let left = fs::read(share.join(RESULT_FILE)).ok();
    let left: Option<LabResult> = left.and_then(|text| serde_json::from_slice(&text).ok());
    let stage = console.stage();
    match (left, end.complaint(stage)) {
        (Some(left), None) => left,
        (None, None) => nothing_left(stage, format!("the guest left no {RESULT_FILE}")),
        // The guest knows better why it ended with an error; of a crash it knows nothing.
        (Some(left), Some(_)) if matches!(end, End::Done(_)) && !left.message.is_empty() => {
            LabResult { outcome: Outcome::Failed, ..left }
        }
        (Some(left), Some(message)) => LabResult { stage, outcome: Outcome::Failed, message, ..left },
        // Without the shared folder, the console is all it had.
        (None, Some(message)) => match console.error() {
            Some(error) if matches!(end, End::Done(_)) => nothing_left(stage, error.into()),
            _ => nothing_left(stage, message),
        },
    }
}

fn nothing_left(stage: Stage, message: String) -> LabResult {
    LabResult { stage, message, ..LabResult::empty() }
}

fn newest_recording(state: &Path) -> Option<PathBuf> {
    let paths = fs::read_dir(state).ok()?.flatten().map(|entry| entry.path());
    let recordings = paths.filter(|path| path.extension().is_some_and(|extension| extension == "blackout"));
    recordings.max_by_key(|path| {
        path.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Workload;

    #[test]
    fn the_flight_recorder_can_be_left_off() {
        let mut plan = Plan::new(Workload::Custom);
        assert!(cmdline(&plan, Accel::Tcg, "").contains("trace_instance="));
        assert!(cmdline(&plan, Accel::Kvm, "a=1").ends_with(" no-kvmclock a=1"));
        assert!(cmdline(&plan, Accel::Tcg, "").contains(" tsc_early_khz="));
        plan.deterministic = true;
        assert!(!cmdline(&plan, Accel::Tcg, "").contains("tsc"), "that would be another each time");
        plan.fault = Some(Fault::NoKvm);
        assert!(cmdline(&plan, Accel::Tcg, "").contains("clearcpuid=svm,vmx"));
        plan.fault = Some(Fault::NoFlightRecorder);
        assert!(!cmdline(&plan, Accel::Tcg, "").contains("trace"));
    }

    #[test]
    fn the_guests_word_counts_unless_it_crashed() {
        let share = tempfile::tempdir().unwrap();
        let mut console = Console::default();
        console.feed(b"LAB: incoming up\n");
        let crash = End::Crash("Kernel panic".into());
        console.feed(b"LAB: error no share\n");
        assert_eq!(result(&End::Done(1), &console, share.path()).message, "no share");
        assert_eq!(result(&End::Done(0), &console, share.path()).outcome, Outcome::Failed);
        assert!(result(&crash, &console, share.path()).message.contains("Kernel panic"));

        let mut left = nothing_left(Stage::Done, "lab-0: byte 5 differs".into());
        let save =
            |left: &LabResult| write(&share.path().join(RESULT_FILE), &serde_json::to_vec(left).unwrap());
        save(&left).unwrap();
        assert_eq!(result(&End::Done(1), &console, share.path()), left);
        let crashed = result(&crash, &console, share.path());
        assert_eq!((crashed.stage, crashed.outcome), (Stage::IncomingUp, Outcome::Failed));
        left.outcome = Outcome::Complete;
        save(&left).unwrap();
        assert_eq!(result(&End::Done(0), &console, share.path()), left);
        assert_eq!(result(&End::Done(1), &console, share.path()).outcome, Outcome::Failed);
    }

    #[test]
    fn the_newest_recording_wins() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest_recording(dir.path()), None);
        for (name, seconds) in [("a.blackout", 20), ("b.blackout", 10), ("c.other", 30)] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        }
        assert_eq!(newest_recording(dir.path()), Some(dir.path().join("a.blackout")));
    }
}
