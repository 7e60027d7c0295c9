//! Runs for tests: what `blackout` would have recorded of machines that never were.

use profiler_report::{
    catalogue::Place,
    report::{Clock, Handover, Kernel, Loss, Outcome, Overhead, Phase, Report, SCHEMA, Span, Window, tool},
};

use super::{Run, random::Random};

/// Phases of [`report`]: id, kernel, nanoseconds.
pub const PHASES: [(&str, Place, u64); 5] = [
    ("freeze", Place::Outgoing, 5_000_000),
    ("dark", Place::Jump, 600_000_000),
    ("initcalls", Place::Incoming, 900_000_000),
    ("restore", Place::Incoming, 120_000_000),
    ("finish", Place::Incoming, 20_000),
];

/// A complete report; `time` may change each phase's nanoseconds.
pub fn report(id: &str, mut time: impl FnMut(&str, u64) -> u64) -> Report {
    let mut start_ns = 0;
    let mut phases = Vec::new();
    for (id, kernel, ns) in PHASES {
        let duration_ns = time(id, ns);
        phases.push(Phase {
            id: id.to_owned(),
            title: format!("the {id} phase"),
            kernel,
            start_ns,
            duration_ns,
            share: 0.0,
            error_ns: 0,
            begins_with: format!("enter {id}-function"),
            spans: vec![span(id, start_ns, duration_ns)],
            chain: Vec::new(),
        });
        start_ns += duration_ns as i64;
    }
    let kernel = Kernel {
        release: "7.3.4".to_owned(),
        cmdline: format!("quiet kho=on blackout.run={id}"),
        ..Kernel::default()
    };
    Report {
        schema: SCHEMA.to_owned(),
        tool: tool(),
        run: profiler_report::report::Run {
            id: id.to_owned(),
            recorded_at: format!("2026-11-22T00:00:{id:0>9}Z"),
            host: "lab".to_owned(),
            arch: "x86_64".to_owned(),
            cpus: 2,
            memory_bytes: 2 << 30,
            numa_nodes: 1,
            deterministic: false,
        },
        outgoing: Some(kernel.clone()),
        incoming: Some(kernel),
        liveupdate_number: Some(1),
        kexec_count: Some(1),
        outcome: Outcome::Complete,
        failures: Vec::new(),
        handover: Handover::Intact,
        clock: Clock::default(),
        window: Some(Window {
            definition: "host".to_owned(),
            vm: None,
            start: "enter reboot-syscall".to_owned(),
            end: "exit session-finish".to_owned(),
            duration_ns: start_ns as u64,
            error_ns: 0,
        }),
        vms: Vec::new(),
        marks: Vec::new(),
        phases,
        unobserved_ns: 0,
        attributed_ns: None,
        deferred_pages: Vec::new(),
        brownout: Vec::new(),
        hot: Vec::new(),
        coverage: Vec::new(),
        loss: Loss { flight_recorder: Some(0), boot_trace: Some(0), kmsg: Some(0), ..Loss::default() },
        overhead: Overhead::default(),
        advice: Vec::new(),
        commands: Vec::new(),
        notes: Vec::new(),
    }
}

/// One span that is most of its phase.
pub fn span(phase: &str, start_ns: i64, duration_ns: u64) -> Span {
    Span {
        name: format!("{phase}-function"),
        kind: "luo".to_owned(),
        subject: String::new(),
        start_ns,
        duration_ns: Some(duration_ns),
        self_ns: Some(duration_ns),
        cpu: Some(0),
        pid: Some(1),
        comm: None,
        retval: Some(0),
        critical: true,
        spans: Vec::new(),
    }
}

/// Noise: a factor around 1 with this relative deviation.
pub fn noisy(random: &mut Random, deviation: f64) -> impl FnMut(&str, u64) -> u64 {
    move |_, ns| (ns as f64 * (1.0 + deviation * random.normal())).max(1.0) as u64
}

/// `n` runs whose phases are given by `time`; ids and times of recording count from `from` in steps of 2,
/// so that two sides with an even and an odd `from` take turns.
pub fn runs(n: usize, from: usize, mut time: impl FnMut(&str, u64) -> u64) -> Vec<Run> {
    let run = |i: usize| {
        let id = (from + 2 * i).to_string();
        Run::new(format!("run-{id}"), &report(&id, &mut time))
    };
    (0..n).map(run).collect()
}
