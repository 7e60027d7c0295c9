//! A host and its live updates, as plausible as they need to be: phases of the size that 256-CPU hosts show, noise of
//! some percent, and in known places what operators look for.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use profiler_report::{
    catalogue::{CATALOGUE, Place},
    report::{
        self, Clock, Failure, Handover, Identity, Kernel, Outcome, Phase, Report, Run, SCHEMA, Span, Vcpu,
        Vm, VmStatus, Window,
    },
};

use crate::random::Random;

const MS: f64 = 1e6;
const WEEK_NS: u64 = 7 * 86_400 * 1_000_000_000;
/// What every host ran at first, what all come into, and what most are then given.
pub const KERNELS: [&str; 3] = ["7.1.20", "7.2.13", "7.3.4"];
/// Phases of a window, and their length in milliseconds; that of `device-shutdown` is its devices'.
const PHASES: [(&str, f64); 17] = [
    ("reboot-call", 0.1),
    ("freeze", 4.0),
    ("notifiers", 3.0),
    ("device-shutdown", 0.0),
    ("stop", 12.0),
    ("dark", 900.0),
    ("early-boot", 150.0),
    ("page-handover", 120.0),
    ("core-init", 200.0),
    ("smp", 150.0),
    ("deferred-pages", 80.0),
    ("initcalls", 700.0),
    ("boot-end", 60.0),
    ("user-space", 250.0),
    ("restore", 180.0),
    ("vcpus", 30.0),
    ("finish", 4.0),
];
/// Driver, address, and milliseconds of a device's shutdown; a host has the first two, three or four.
const DEVICES: [(&str, &str, f64); 4] = [
    ("mlx5_core", "0000:3b:00.0", 120.0),
    ("nvme", "0000:5e:00.0", 45.0),
    ("nvme", "0000:5f:00.0", 40.0),
    ("vfio-pci", "0000:86:00.0", 60.0),
];
const INITCALLS: [(&str, f64); 3] = [("acpi_init", 0.2), ("svm_init", 0.15), ("pci_subsys_init", 0.1)];

/// What all hosts have in common.
pub struct Fleet {
    hosts: u32,
    /// Live updates of each host.
    pub updates: u32,
    seed: u64,
    slower: f64,
    now_ns: u64,
}

impl Fleet {
    pub fn new(hosts: u32, updates: u32, seed: u64, slower: f64) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
        Ok(Self { hosts, updates, seed, slower, now_ns: u64::try_from(now.as_nanos())? })
    }
}

/// What is the matter with one live update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Nothing,
    /// A file was not retrieved: its guest does not run again.
    Failed,
    /// The outgoing half is lost.
    HalfLost,
    Rejected,
    /// Records were lost.
    Lossy,
    /// The dark stretch is four times as long.
    Outlier,
}

/// One host.
pub struct Host<'a> {
    fleet: &'a Fleet,
    number: u32,
    /// Its name.
    pub name: String,
}

impl<'a> Host<'a> {
    pub fn new(fleet: &'a Fleet, number: u32) -> Self {
        Self { fleet, number, name: format!("hv-{number:06}") }
    }

    /// Three of five hosts are given the newest kernel in the second half of their live updates.
    fn kernel(&self, update: u32) -> &'static str {
        let newest = self.number % 5 < 3 && update >= self.fleet.updates / 2;
        KERNELS[if newest { 2 } else { 1 }]
    }

    fn trouble(&self, update: u32, random: &mut Random) -> Trouble {
        let all = [Trouble::Failed, Trouble::HalfLost, Trouble::Rejected, Trouble::Lossy, Trouble::Outlier];
        // So that even the smallest fleet has each today.
        let last = update + 1 == self.fleet.updates && self.fleet.hosts >= 16;
        let chosen = self.number.checked_sub(5).filter(|_| last).and_then(|index| all.get(index as usize));
        if let Some(trouble) = chosen {
            return *trouble;
        }
        match (random.unit() * 1_000.0) as u32 {
            0..4 => Trouble::Failed,
            4..9 => Trouble::HalfLost,
            9..11 => Trouble::Rejected,
            11..21 => Trouble::Lossy,
            21..26 => Trouble::Outlier,
            _ => Trouble::Nothing,
        }
    }

    /// The report of one of its live updates.
    pub fn report(&self, update: u32) -> Report {
        let mut random = Random::new(self.fleet.seed, self.number, update);
        let trouble = self.trouble(update, &mut random);
        let began = self.fleet.now_ns
            - u64::from(self.fleet.updates - 1 - update) * WEEK_NS
            - (random.unit() * 20.0 * 3_600.0 * 1e9) as u64;
        let outgoing = update.checked_sub(1).map_or(KERNELS[0], |before| self.kernel(before));
        let kernel = |release: &str| Kernel { release: release.to_owned(), ..Kernel::default() };
        let phases = self.phases(self.kernel(update), trouble, &mut random);
        let window_ns: u64 = phases.iter().map(|phase| phase.duration_ns).sum();
        let half = matches!(trouble, Trouble::HalfLost | Trouble::Rejected);
        let failed = trouble == Trouble::Failed;
        let mut report = Report {
            schema: SCHEMA.to_owned(),
            tool: report::tool(),
            run: Run {
                id: format!("{:016x}", random.next()),
                recorded_at: report::rfc3339(began),
                host: self.name.clone(),
                arch: "x86_64".to_owned(),
                cpus: 64 << (self.number % 3),
                memory_bytes: (512 << 30) << (self.number % 3),
                numa_nodes: 2,
                deterministic: false,
            },
            outgoing: Some(kernel(outgoing)),
            incoming: Some(kernel(self.kernel(update))),
            liveupdate_number: Some(u64::from(update) + 1),
            outcome: if failed {
                Outcome::Failed
            } else if half {
                Outcome::Partial
            } else {
                Outcome::Complete
            },
            handover: match trouble {
                Trouble::HalfLost => Handover::Absent,
                Trouble::Rejected => Handover::Rejected,
                _ => Handover::Intact,
            },
            clock: Clock {
                source: "tsc".to_owned(),
                hz: 2_500_000_000,
                error_ns: 2_000,
                origin_unix_ns: Some(began),
            },
            window: Some(Window {
                definition: "host".to_owned(),
                vm: None,
                start: "enter reboot-syscall".to_owned(),
                end: "exit session-finish".to_owned(),
                duration_ns: window_ns,
                error_ns: 2_500,
            }),
            vms: (0..1 + self.number % 8).map(|vm| guest(vm, window_ns, failed && vm == 0)).collect(),
            unobserved_ns: phases
                .iter()
                .filter(|phase| phase.id == "unobserved")
                .map(|phase| phase.duration_ns)
                .sum(),
            phases,
            ..Report::default()
        };
        if failed {
            report.failures.push(Failure {
                kernel: Place::Incoming,
                function: "file-retrieve".to_owned(),
                session: Some("vm-0".to_owned()),
                token: Some("0x1".to_owned()),
                errno: Some(5),
                at_ns: None,
                message: "file-retrieve: token 0x1 of session vm-0: Input/output error".to_owned(),
            });
        }
        let lost = if trouble == Trouble::Lossy { 1 + random.next() % 100 } else { 0 };
        (report.loss.flight_recorder, report.loss.boot_trace, report.loss.kmsg) =
            (Some(lost), Some(0), Some(0));
        report.overhead.load_ns = Some((40.0 * MS * random.about_one(0.1)) as u64);
        report.overhead.attach_ns = Some((15.0 * MS * random.about_one(0.1)) as u64);
        report.overhead.in_window_ns = Some((30.0 * MS * random.about_one(0.1)) as u64);
        report
    }

    fn phases(&self, incoming: &str, trouble: Trouble, random: &mut Random) -> Vec<Phase> {
        let newest = incoming == KERNELS[2];
        let memory = f64::from(1 << (self.number % 3));
        let mut phases: Vec<Phase> = Vec::new();
        let mut at_ns = 0;
        for (id, ms) in PHASES {
            let known = CATALOGUE.phases.iter().find(|phase| phase.id == id);
            let kernel = known.map_or(Place::Incoming, |phase| phase.kernel);
            let factor = match id {
                "dark" if trouble == Trouble::Outlier => 4.0,
                "deferred-pages" => memory * if newest { 0.5 } else { 1.0 },
                "initcalls" if newest => self.fleet.slower,
                _ => 1.0,
            };
            let spans = self.spans(id, at_ns, newest, random);
            let devices: u64 = spans.iter().filter_map(|span| span.duration_ns).sum();
            let own = ms * factor * MS * random.about_one(0.03);
            let duration_ns = if id == "device-shutdown" { devices + 2_000_000 } else { own as u64 };
            let unseen =
                matches!(trouble, Trouble::HalfLost | Trouble::Rejected) && kernel == Place::Outgoing;
            let last = phases.last_mut().filter(|last| unseen && last.id == "unobserved");
            match last {
                // What nobody saw is one hole.
                Some(hole) => hole.duration_ns += duration_ns,
                None => phases.push(Phase {
                    id: if unseen { "unobserved" } else { id }.to_owned(),
                    title: known.map_or(id, |phase| phase.title.as_str()).to_owned(),
                    kernel,
                    start_ns: at_ns,
                    duration_ns,
                    share: 0.0,
                    error_ns: 2_000,
                    begins_with: String::new(),
                    chain: Vec::new(),
                    spans: if unseen { Vec::new() } else { spans },
                }),
            }
            at_ns = at_ns.saturating_add_unsigned(duration_ns);
        }
        phases
    }

    fn spans(&self, phase: &str, at_ns: i64, newest: bool, random: &mut Random) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut add = |name: &str, kind: &str, subject: String, ns: f64| {
            let before: u64 = spans.iter().filter_map(|span: &Span| span.duration_ns).sum();
            spans.push(Span {
                name: name.to_owned(),
                kind: kind.to_owned(),
                subject,
                start_ns: at_ns.saturating_add_unsigned(before),
                duration_ns: Some(ns as u64),
                self_ns: Some(ns as u64),
                cpu: Some(0),
                pid: Some(1),
                comm: Some("init".to_owned()),
                retval: Some(0),
                critical: false,
                spans: Vec::new(),
            });
        };
        match phase {
            "device-shutdown" => {
                for (driver, address, ms) in DEVICES.iter().take(2 + (self.number % 3) as usize) {
                    // One host in twenty has a card whose driver takes its time under the newest kernel.
                    let ill = newest && self.number % 20 == 7 && *driver == "mlx5_core";
                    let ns = ms * MS * if ill { 12.0 } else { 1.0 } * random.about_one(0.05);
                    add("pci-device-shutdown", "device-shutdown", format!("{driver} {address}"), ns);
                }
            }
            "initcalls" => {
                for (name, share) in INITCALLS {
                    add(name, "initcalls", String::new(), 700.0 * share * MS * random.about_one(0.05));
                }
            }
            "restore" => {
                for vm in 0..1 + self.number % 8 {
                    let subject = format!("session vm-{vm}");
                    add("session-retrieve", "luo", subject, 2.0 * MS * random.about_one(0.1));
                }
            }
            _ => {}
        }
        spans
    }
}

/// Guests stop a little before the window and run again a little before its end, one after the other.
fn guest(number: u32, window_ns: u64, lost: bool) -> Vm {
    let start_ns = -i64::from(number) * 1_000_000;
    let end_ns = i64::try_from(window_ns).unwrap_or(i64::MAX) - 5_000_000 + i64::from(number) * 500_000;
    let length = (!lost).then(|| end_ns.abs_diff(start_ns));
    let name = format!("vm-{number}");
    Vm {
        id: name.clone(),
        name,
        identity: Identity::Mark,
        status: if lost { VmStatus::NotResumed } else { VmStatus::Measured },
        why: None,
        blackout_ns: length,
        error_ns: length.map(|_| 50_000),
        switch_ns: length.map(|_| 48_000),
        start_ns: Some(start_ns),
        end_ns: (!lost).then_some(end_ns),
        outgoing_pid: Some(700 + number),
        incoming_pid: Some(400 + number),
        vcpus: vec![Vcpu {
            id: 0,
            pause_ns: length,
            error_ns: length.map(|_| 2_600),
            last_exit_ns: Some(start_ns),
            first_entry_ns: (!lost).then_some(end_ns),
            exits: Some(1_234),
        }],
    }
}
