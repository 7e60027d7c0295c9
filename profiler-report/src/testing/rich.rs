//! Reports with what the recordings in `fixtures/` do not hold: guests, marks, counted functions, advice,
//! losses, and very many spans.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::{fs, path::PathBuf};

use crate::{
    catalogue::Place,
    recording::read,
    report::{
        self, Advice, Failure, Hot, Identity, Mark, Outcome, Phase, ProbeLoss, Report, Span, Vcpu, Vm,
        VmStatus,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2Serializer},
};

/// The report of a recording in `fixtures/`.
pub fn fixture(name: &str) -> Report {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(format!("{name}.blackout"));
    report::build(&read(&fs::read(path).unwrap()).unwrap()).unwrap()
}

/// `plain`, with everything a report can say.
pub fn rich() -> Report {
    let mut report = fixture("plain");
    let end = report.window.as_ref().unwrap().duration_ns;
    report.outcome = Outcome::Partial;
    report.vms = vec![
        vm("web-1", VmStatus::Measured, Some(120_000), Some(end - 2_000_000)),
        vm("db-1", VmStatus::Bounded, Some(95_000), Some(end - 900_000)),
        vm("lost-1", VmStatus::NotResumed, Some(130_000), None),
    ];
    let mark = |name: &str, kernel, at_ns| Mark {
        name: name.into(),
        kernel,
        vm: Some("web-1".into()),
        at_ns,
        error_ns: 900,
    };
    report.marks = vec![
        mark("pause-asked", Place::Outgoing, -35_000_000),
        mark("resumed", Place::Incoming, end as i64 - 1_500_000),
    ];
    report.hot = vec![
        hot("folio-restore", Place::Incoming, "restore", 40_000),
        hot("folio-preserve", Place::Outgoing, "brownout", 12),
    ];
    report.advice = vec![Advice {
        rule: "idle-drivers".into(),
        phase: "initcalls".into(),
        text: "svm_init takes 178.080 ms and no guest needs it yet".into(),
        saving_ns: 178_080_000,
        how: "build kvm_amd as a module and load it beside the restore".into(),
    }];
    report.failures.push(Failure {
        kernel: Place::Incoming,
        function: "file-retrieve".into(),
        session: Some("lab-0".into()),
        token: Some("0xbad".into()),
        errno: Some(5),
        at_ns: Some(end as i64 - 100_000_000),
        message: "file-retrieve: token 0xbad of session lab-0: Input/output error".into(),
    });
    report.loss.flight_recorder = Some(3);
    report.loss.per_probe =
        vec![ProbeLoss { probe: "kvm-exit".into(), count: 2, reason: "record of an unknown probe".into() }];
    let hole = report.phases.iter_mut().find(|phase| phase.id == "tracing").map(|phase| {
        (phase.id, phase.title) = ("unobserved".into(), "unobserved".into());
        phase.duration_ns
    });
    report.unobserved_ns = hole.unwrap_or(0);
    // A call without its end, and one that failed.
    let mut open = span("session-retrieve", end as i64 - 110_000_000, 0);
    open.duration_ns = None;
    open.self_ns = None;
    let mut failed = span("file-retrieve", end as i64 - 100_500_000, 500_000);
    (failed.retval, failed.subject) = (Some(-5), "token 0xbad".into());
    report.phases.iter_mut().find(|phase| phase.id == "restore").unwrap().spans.extend([open, failed]);
    report
}

fn vm(name: &str, status: VmStatus, start_ns: Option<i64>, end_ns: Option<u64>) -> Vm {
    let length = |later: u64| Some(end_ns? + later - start_ns? as u64);
    let vcpu = |id: u32, later: u64| Vcpu {
        id,
        pause_ns: length(later),
        error_ns: Some(2_600),
        last_exit_ns: start_ns,
        first_entry_ns: end_ns.map(|end| (end + later) as i64),
        exits: Some(1_234),
    };
    Vm {
        id: name.into(),
        name: name.into(),
        identity: Identity::Mark,
        status,
        why: end_ns.is_none().then(|| "no entry of any of its vCPUs was seen in the incoming kernel".into()),
        blackout_ns: length(0),
        error_ns: Some(51_000),
        switch_ns: Some(48_000),
        start_ns,
        end_ns: end_ns.map(|end| end as i64),
        outgoing_pid: Some(700),
        incoming_pid: Some(412),
        vcpus: vec![vcpu(0, 0), vcpu(1, 350_000)],
    }
}

fn hot(probe: &str, kernel: Place, phase: &str, count: u64) -> Hot {
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    (0..count)
        .for_each(|call| histogram.record(300 + call * call % 7_919 + (call % 97 / 96) * 150_000).unwrap());
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(&histogram, &mut bytes).unwrap();
    Hot {
        probe: probe.into(),
        kernel,
        phase: phase.into(),
        subject: String::new(),
        carried_by: None,
        count,
        bytes: None,
        order: None,
        total_ns: Some((histogram.mean() * count as f64) as u64),
        min_ns: Some(histogram.min()),
        p50_ns: Some(histogram.value_at_quantile(0.5)),
        p99_ns: Some(histogram.value_at_quantile(0.99)),
        max_ns: Some(histogram.max()),
        hdr: Some(STANDARD.encode(bytes)),
    }
}

/// A span of task 1 on CPU 0.
pub fn span(name: &str, start_ns: i64, duration_ns: u64) -> Span {
    Span {
        name: name.into(),
        kind: "luo".into(),
        subject: String::new(),
        start_ns,
        duration_ns: Some(duration_ns),
        self_ns: Some(duration_ns),
        cpu: Some(0),
        pid: Some(1),
        comm: Some("init".into()),
        retval: Some(0),
        critical: false,
        spans: Vec::new(),
    }
}

/// `plain` with some 100 000 spans more: in each of the incoming kernel's phases, 24 tasks call functions that
/// call others, three levels deep.
pub fn large() -> Report {
    let mut report = fixture("plain");
    let phases = report.phases.iter_mut().filter(|phase| phase.kernel == Place::Incoming);
    for (number, phase) in phases.enumerate() {
        for task in 0..24 {
            calls(phase, number as u64, task);
        }
    }
    report
}

fn calls(phase: &mut Phase, number: u64, task: u32) {
    let made = |name: String, kind: &str, start_ns, duration_ns, inner: Vec<Span>| Span {
        kind: kind.into(),
        cpu: Some(task % 4),
        pid: Some(1_000 + task),
        comm: Some(format!("worker-{task}")),
        spans: inner,
        ..span(&name, start_ns, duration_ns)
    };
    // 54 outer calls of 7 spans each, for 24 tasks in 11 phases.
    let cell = phase.duration_ns / 54;
    for call in 0..54u64 {
        let start = phase.start_ns + (call * cell) as i64;
        let length = cell * (60 + (call * 7 + u64::from(task) + number) % 35) / 100;
        let at = |share: u64| start + (length * share / 100) as i64;
        let leaf = |share: u64| made(format!("leaf_{}", call % 9), "memfd", at(share), length / 10, vec![]);
        let branch = |share: u64, leaves| {
            made(format!("branch_{}", call % 5), "luo", at(share), length * 2 / 5, leaves)
        };
        let inner = vec![branch(5, vec![leaf(10), leaf(25)]), branch(50, vec![leaf(60), leaf(75)])];
        phase.spans.push(made(format!("outer_{call}"), "initcall", start, length, inner));
    }
}
