//! The whole course, and what must be true after it.

use super::machine::{End, Life, Metal, Pull};
use crate::emulator::Emulator;
use crate::guest::pattern::mix;
use crate::kernel::Kernel;
use crate::plan::{Guest, Luo, Plan, Workload};
use crate::qemu::Accel;
use crate::tsc;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toolbox::debian_root::{self, Base};
use toolbox::disk::{self, Put};
use toolbox::exec;
use toolbox::program::CP;
use toolbox::progress::Progress;

/// Units and scripts that make the host one of the lab's: what is in it, and where it goes.
const FILES: [(&str, &str); 8] = [
    (include_str!("guests.service"), "/etc/systemd/system/lab-guests.service"),
    (include_str!("restore.service"), "/etc/systemd/system/lab-restore.service"),
    (include_str!("administrator.service"), "/etc/systemd/system/lab-administrator.service"),
    (include_str!("administrator.sh"), "/usr/local/sbin/administrator"),
    (PAUSE_HOOK, "/usr/lib/systemd/system-shutdown/lab"),
    (include_str!("manager.conf"), "/etc/systemd/system.conf.d/lab.conf"),
    (include_str!("patient.conf"), "/etc/systemd/system/blackout-arm.service.d/lab.conf"),
    (include_str!("patient.conf"), "/etc/systemd/system/blackout-collect.service.d/lab.conf"),
];
/// Folders of these files that a new host lacks.
const FOLDERS: [&str; 3] = [
    "/etc/systemd/system.conf.d",
    "/etc/systemd/system/blackout-arm.service.d",
    "/etc/systemd/system/blackout-collect.service.d",
];
/// What a VMM's own hook does.
const PAUSE_HOOK: &str =
    "#!/bin/sh\n[ \"$1\" != kexec ] || exec /usr/local/bin/blackout-lab host-guests pause\n";
/// Units that are enabled, by the target that wants them.
const ENABLED: [(&str, &str); 2] =
    [("sysinit.target", "lab-restore.service"), ("multi-user.target", "lab-administrator.service")];
/// Where the administrator's notes and the profiler's recordings are.
const NOTES: &str = "/var/lib/lab";
const RECORDINGS: &str = "/var/lib/blackout";
/// From so many live updates on, the administrator keeps only so many recordings (administrator.sh), and growth would
/// show. The one that is loaded for is not begun yet.
const CHAIN: u32 = 5;
const KEPT: u64 = 4;
const GUEST_MEMORY_BYTES: u64 = 32 << 20;

/// What a host is made of, and where its traces go.
pub struct Host {
    /// The clean root.
    pub base: Base,
    /// The emulator.
    pub emulator: Emulator,
    /// What runs the machine.
    pub accel: Accel,
    /// The kernel of both sides.
    pub kernel: Kernel,
    /// The lab's program.
    pub lab: PathBuf,
    /// The package.
    pub deb: PathBuf,
    /// Memory of the machine, bytes.
    pub memory_bytes: u64,
    /// A machine that prints nothing for longer than this hangs: machine time.
    pub timeout: Duration,
    /// For disks.
    pub scratch: PathBuf,
    /// For what is left.
    pub out: PathBuf,
}

impl Host {
    /// Installs and sets up, reboots once, and makes `updates` live updates, as documented.
    ///
    /// # Errors
    /// When anything of it does not go as documented.
    pub fn measure(&self, updates: u32) -> Result<()> {
        let disk = self.scratch.join("host.img");
        self.make(&disk)?;
        let mut progress = Progress::start(format!("a Debian host, {updates} live update(s)"));
        let ended = self.metal(&disk, &format!("measure {updates}"), "serial").live(None);
        disk::take(&disk, NOTES, &self.out)?;
        disk::take(&disk, RECORDINGS, &self.out)?;
        let notes = self.out.join("lab");
        progress.note(&format!("what is left is in {}", self.out.display()));
        ensure!(ended?.end == End::Off(0), "the administrator gave up: {}", said(&notes));
        progress.done();
        check(&notes, updates)?;
        let note = |name: &str| fs::read_to_string(notes.join(name)).unwrap_or_default();
        print!("{}\n{}", note("last.txt"), overall(&note("security.txt")));
        if updates >= CHAIN {
            weigh(&note("weights.txt"))?;
        }
        if updates > 1 {
            print!(
                "\nlive update, MemAvailable KiB, pinned, recordings, KiB of them\n{}",
                note("weights.txt")
            );
        }
        Ok(())
    }

    /// Pulls the cable at `cuts` moments of a live update, and looks at what is there when the host is on again.
    ///
    /// # Errors
    /// When a host does not come up again, or a recording says more than happened.
    pub fn pull_the_cable(&self, cuts: u32, seed: u64) -> Result<()> {
        let before = self.scratch.join("before.img");
        self.make(&before)?;
        let set_up = self.metal(&before, "measure 0", "before").live(None)?;
        ensure!(set_up.end == End::Off(0), "the host could not be set up");
        let disk = self.scratch.join("cut.img");
        copy(&before, &disk)?;
        let whole = self.metal(&disk, "measure 1", "whole").live(None)?;
        ensure!(whole.end == End::Off(0), "no live update");
        let mut counts = [0_u32; 3];
        for cut in 0..cuts {
            copy(&before, &disk)?;
            let pull = moment(&whole, mix(seed.wrapping_add(u64::from(cut))));
            let name = format!("cut-{cut}");
            let cut_short = self.metal(&disk, "measure 1", &name).live(Some(pull))?;
            let again = self.metal(&disk, "look", &format!("{name}-again")).live(None)?;
            ensure!(again.end == End::Off(0), "{name}: the host did not come up again");
            let notes = self.out.join(&name);
            disk::take(&disk, NOTES, &notes)?;
            disk::take(&disk, RECORDINGS, &notes)?;
            let verdict = Verdict::of(&notes.join("lab"), cut_short.restored)
                .with_context(|| format!("{name}, pulled {pull:?}"))?;
            eprintln!("lab: {name}: pulled {pull:?}: {verdict:?}");
            counts[verdict as usize] += 1;
        }
        let [none, partial, complete] = counts;
        println!(
            "{cuts} cuts in {:.1} s before a live update and {:.1} s of one: {none} left no recording, {partial} \
             one that says it is partial, {complete} a complete one of a live update that was",
            whole.before.as_secs_f64(),
            whole.update.as_secs_f64()
        );
        Ok(())
    }

    /// A disk with everything on it but the package.
    fn make(&self, disk: &Path) -> Result<()> {
        copy(&self.base.disk, disk)?;
        let file = |name: &str, content: &[u8]| -> Result<PathBuf> {
            let path = self.scratch.join(name);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        let guest = Guest {
            name: "vm0".into(),
            memory_bytes: GUEST_MEMORY_BYTES,
            vcpus: 2,
            huge_pages: false,
            device: None,
        };
        let nothing = Luo { sessions: 0, files: 0, file_bytes: 0 };
        let plan = Plan { guests: vec![guest], ..Plan::new(Workload::Luo(nothing)) };
        let plan = file("lab.json", &serde_json::to_vec(&plan)?)?;
        // While the host stops the emulator, the clock runs on, which the kernel would take for a stall of RCU.
        let mut parameters = "rcupdate.rcu_cpu_stall_suppress=1".to_owned();
        if self.accel == Accel::Tcg {
            parameters += &format!(" {}", tsc::parameters());
        }
        let defaults = format!("GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {parameters}\"\n");
        let grub_defaults = file("grub-defaults", defaults.as_bytes())?;
        let grub =
            file("grub.cfg", debian_root::first_grub_cfg(&self.kernel.release, &parameters).as_bytes())?;
        let kernel = format!("/boot/vmlinuz-{}", self.kernel.release);
        let mut things = vec![
            Put::File(&self.kernel.image, &kernel),
            Put::Link("/vmlinuz", &kernel[1..]),
            Put::File(&grub, "/boot/grub/grub.cfg"),
            Put::Folder("/etc/default/grub.d"),
            Put::File(&grub_defaults, "/etc/default/grub.d/lab.cfg"),
            Put::File(&self.deb, "/root/blackout.deb"),
            Put::File(&self.lab, "/usr/local/bin/blackout-lab"),
            Put::File(&plan, "/lab.json"),
        ];
        let own: Vec<(PathBuf, &str)> = FILES
            .iter()
            .enumerate()
            .map(|(number, (content, path))| {
                let made = file(&format!("own-{number}"), content.as_bytes())?;
                let is_program = content.starts_with("#!");
                let mode = if is_program { 0o755 } else { 0o644 };
                fs::set_permissions(&made, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
                Ok((made, *path))
            })
            .collect::<Result<_>>()?;
        things.extend(FOLDERS.map(Put::Folder));
        things.extend(own.iter().map(|(made, path)| Put::File(made, path)));
        let links = ENABLED.map(|(target, unit)| {
            let folder = format!("/etc/systemd/system/{target}.wants");
            (format!("{folder}/{unit}"), folder, format!("../{unit}"))
        });
        for (link, folder, unit) in &links {
            things.extend([Put::Folder(folder), Put::Link(link, unit)]);
        }
        disk::put(disk, &things)
    }

    fn metal<'a>(&'a self, disk: &'a Path, orders: &'a str, name: &str) -> Metal<'a> {
        Metal {
            grub: &self.base.grub,
            disk,
            orders,
            emulator: &self.emulator,
            accel: self.accel,
            memory_bytes: self.memory_bytes,
            serial: self.out.join(format!("{name}.log")),
            timeout: self.timeout,
        }
    }
}

/// One moment of a life, each as likely as any other. What is within the live update is counted from its beginning, for
/// the way there takes its time on a busy machine.
fn moment(whole: &Life, random: u64) -> Pull {
    let whole_ms = (whole.before + whole.update).as_millis().max(1);
    let at = Duration::from_millis(u64::try_from(u128::from(random) % whole_ms).unwrap_or(0));
    at.checked_sub(whole.before).map_or(Pull::Before(at), Pull::Within)
}

/// What was found after the cable was pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Nothing,
    Partial,
    Complete,
}

impl Verdict {
    /// What `blackout` says of each recording, held against what happened: `restored` if the guests ran again.
    fn of(notes: &Path, restored: bool) -> Result<Self> {
        let mut verdict = Self::Nothing;
        for path in fs::read_dir(notes)?.flatten().map(|entry| entry.path()) {
            if !path.to_string_lossy().ends_with(".blackout.json") {
                continue;
            }
            // No report: it was refused, with a message.
            let Ok(report) = serde_json::from_slice::<serde_json::Value>(&fs::read(&path)?) else { continue };
            if report["outcome"] == "complete" {
                ensure!(restored, "a recording tells of a complete live update, and there was none");
                return Ok(Self::Complete);
            }
            verdict = Self::Partial;
        }
        Ok(verdict)
    }
}

/// Holds the administrator's notes against what is promised.
fn check(notes: &Path, updates: u32) -> Result<()> {
    for update in 1..=updates {
        let path = notes.join(format!("last-{update}.json"));
        let text = fs::read(&path).with_context(|| format!("no report of live update {update}"))?;
        let report: serde_json::Value = serde_json::from_slice(&text)?;
        let told = |field: &str| report[field].as_str().unwrap_or_default().to_owned();
        ensure!(told("outcome") == "complete", "live update {update} is {}", told("outcome"));
        ensure!(told("handover") == "intact", "live update {update}: flight recorder {}", told("handover"));
        let guests = report["vms"].as_array().map_or(0, Vec::len);
        ensure!(guests == 1, "live update {update}: the report tells of {guests} guests");
        // What systemd ran in the window has its unit's name.
        for unit in ["systemd-journald.service", "blackout-collect.service"] {
            let subject = format!(", {unit}\"");
            ensure!(
                String::from_utf8_lossy(&text).contains(&subject),
                "live update {update}: no program of {unit} in the report"
            );
        }
    }
    let note = |name: &str| fs::read_to_string(notes.join(name)).unwrap_or_default();
    if updates == 0 {
        return Ok(());
    }
    let fate = note("guests.txt");
    ensure!(fate == "1 guest(s) restored and intact", "the guest: {fate}");
    ensure!(note("failed.txt").is_empty(), "units failed: {}", note("failed.txt"));
    unprivileged(note)
}

/// What a user without rights was told and shown.
fn unprivileged(note: impl Fn(&str) -> String) -> Result<()> {
    ensure!(note("nobody-report.txt") == note("last.txt"), "report is another for nobody than for root");
    let told = |name: &str, words: &str| {
        let text = note(name);
        ensure!(text.contains(words), "{name} lacks `{words}`: {text}");
        Ok(())
    };
    // One run a side tells nothing, and that is said.
    told("nobody-compare.txt", "INCONCLUSIVE")?;
    told("nobody-export.txt", "blackout_window_seconds")?;
    told("nobody-tui.txt", "overview")?;
    told("nobody-tui.txt", "tui 0")?;
    told("nobody-last.txt", "ermission denied")?;
    ["CAP_SYSLOG", "CAP_PERFMON", "CAP_BPF"].iter().try_for_each(|lacking| told("nobody-arm.txt", lacking))
}

/// What must not grow: memory, pinned objects, and recordings beyond what is to be kept (`KEEP` of the
/// administrator). Memory is compared between the halves of the chain: a leak of a hundredth each time would show.
fn weigh(text: &str) -> Result<()> {
    let lines: Vec<Vec<u64>> = text
        .lines()
        .map(|line| line.split_whitespace().filter_map(|number| number.parse().ok()).collect())
        .collect();
    let mut available = Vec::new();
    for line in &lines {
        let [update, memory, pinned, recordings, _] = line[..] else { bail!("weights: {line:?}") };
        ensure!(pinned == 0, "after live update {update}, {pinned} objects are pinned");
        ensure!(recordings <= KEPT, "after live update {update}, {recordings} recordings are kept");
        available.push(memory);
    }
    let (early, late) = available.split_at(available.len() / 2);
    let median = |values: &[u64]| {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    };
    let lost = median(early).saturating_sub(median(late));
    ensure!(lost < median(early) / 50, "{lost} KiB of memory went between the halves of the chain");
    Ok(())
}

/// The scores of `systemd-analyze security`.
fn overall(text: &str) -> String {
    text.lines().filter(|line| line.contains("Overall exposure")).map(|line| format!("{line}\n")).collect()
}

/// What the administrator's programs said last.
fn said(notes: &Path) -> String {
    let last = |name: &str| -> Option<String> {
        let text = fs::read_to_string(notes.join(name)).ok()?;
        Some(format!("{name}: {}", text.lines().last()?))
    };
    ["install.txt", "setup.txt", "last.txt"].into_iter().filter_map(last).collect::<Vec<_>>().join("; ")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    match fs::metadata(from) {
        Ok(_) => exec::output(CP.command()?.arg("--sparse=always").arg(from).arg(to)).map(drop),
        Err(error) => bail!("{}: {error}", from.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen() {
        let line = |update: u64, memory: u64, pinned: u64, kept: u64| {
            format!("{update} {memory} {pinned} {kept} 99\n")
        };
        let steady: String = (1..=10).map(|n| line(n, 1_000_000 - n % 3 * 1000, 0, n.min(4))).collect();
        weigh(&steady).unwrap();
        assert!(weigh(&(steady.clone() + &line(11, 1_000_000, 1, 4))).is_err());
        assert!(weigh(&(steady + &line(11, 1_000_000, 0, 5))).is_err());
        let leaking: String = (1..=10).map(|n| line(n, 1_000_000 - n * 10_000, 0, 1)).collect();
        assert!(weigh(&leaking).is_err());
    }

    #[test]
    fn a_recording_may_not_tell_more_than_happened() {
        let notes = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(notes.path().join("1.blackout.json"), text).unwrap();
        assert_eq!(Verdict::of(notes.path(), true).unwrap(), Verdict::Nothing);
        write("");
        assert_eq!(Verdict::of(notes.path(), false).unwrap(), Verdict::Nothing);
        write(r#"{"outcome":"partial"}"#);
        assert_eq!(Verdict::of(notes.path(), false).unwrap(), Verdict::Partial);
        write(r#"{"outcome":"complete"}"#);
        assert_eq!(Verdict::of(notes.path(), true).unwrap(), Verdict::Complete);
        assert!(Verdict::of(notes.path(), false).is_err());
    }
}
