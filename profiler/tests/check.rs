//! What `blackout check` concludes from what it found, and how it says so.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

use std::collections::{BTreeMap, BTreeSet};

use profiler::check::{
    self, Check, Expected, Facts, Forecast, NotTried, Options, Recorder, State, Tried, Verdict, text::Style,
};
use profiler_report::{
    catalogue::{CATALOGUE, NEEDS, Place, Way},
    evidence::kmsg::{Kmsg, KmsgLine},
    recording::frame::{Kernel, ProbeState},
};

/// Symbols that Linux 7.3 has nothing of.
fn is_of_a_series(probe: &profiler_report::catalogue::Probe) -> bool {
    probe.since.contains("series") || probe.since.contains("RFC") || probe.since.contains("until")
}

/// Log lines with which phases begin, as Linux 7.3 prints them.
const LOG: [&str; 8] = [
    "Linux version 7.3.4",
    "mem auto-init: stack:off, heap alloc:off, heap free:off",
    "ftrace: allocating 35000 entries in 138 pages",
    "rcu: Hierarchical RCU implementation.",
    "smp: Bringing up secondary CPUs ...",
    "smp: Brought up 1 node, 2 CPUs",
    "devtmpfs: initialized",
    "Run /init as init process",
];

fn line(text: &str) -> KmsgLine {
    KmsgLine { seq: 0, ts_us: 0, level: 6, facility: 0, text: text.to_owned(), caller: None }
}

/// What attaching gives in a kernel with everything of Linux 7.3.
fn states(ways: impl Fn(&profiler_report::catalogue::Probe) -> &[Way]) -> Vec<ProbeState> {
    let own = |way: &Way| matches!(way, Way::Call | Way::Enter | Way::Tracepoint);
    let wanted = CATALOGUE.probes.iter().filter(|probe| ways(probe).iter().any(own));
    let state = |probe: &profiler_report::catalogue::Probe| {
        let there = !is_of_a_series(probe) && probe.family != "mshv";
        let method = if ways(probe).contains(&Way::Tracepoint) { "tracepoint" } else { "kprobe" };
        ProbeState {
            probe: probe.name.clone(),
            symbol: there.then(|| probe.symbols[0].clone()),
            method: method.to_owned(),
            attached_tsc: None,
            error: (!there).then(|| "No such file or directory (os error 2)".to_owned()),
        }
    };
    wanted.map(state).collect()
}

/// A kernel in which all is well, looked at by root.
fn whole() -> Facts {
    let symbols =
        CATALOGUE.probes.iter().filter(|probe| !is_of_a_series(probe)).flat_map(|probe| &probe.symbols);
    let events = symbols.clone().filter(|symbol| symbol.contains(':')).cloned();
    Facts {
        kernel: Kernel {
            release: "7.3.4".into(),
            version: "#1 SMP".into(),
            arch: "x86_64".into(),
            host: "host-1".into(),
            cmdline: "console=ttyS0 kho=on liveupdate=on reserve_mem=12M:4096:trace \
                      trace_instance=boot_map@trace"
                .into(),
            tsc_hz: Some(2_596_139_000),
            clocksource: "tsc".into(),
            ..Kernel::default()
        },
        config: Some(NEEDS.iter().flat_map(|need| &need.config).map(|o| (o.clone(), "y".into())).collect()),
        config_file: Some("/proc/config.gz".into()),
        log: Ok(Kmsg { lines: LOG.map(line).to_vec(), ..Kmsg::default() }),
        cpu_flags: ["constant_tsc", "nonstop_tsc"].map(str::to_owned).into(),
        capabilities_missing: Ok(Vec::new()),
        lockdown: "none".into(),
        kexec_disabled: Some(false),
        kho_folder: true,
        liveupdate_device: true,
        tracefs: Ok(true),
        tracers: Ok(["function", "nop"].map(str::to_owned).into()),
        events: Ok(events.chain(["printk:console".to_owned()]).collect()),
        kprobes: true,
        btf: true,
        bpffs: true,
        symbols: Ok(symbols.cloned().chain(["luo_file_handler_list".to_owned()]).collect()),
        recorder: Ok(Some(Recorder {
            instance: "boot_map".into(),
            bytes: 12 << 20,
            clock: "local".into(),
            armed: false,
            previous_boot: false,
            records: 0,
        })),
        boot_line: Ok(Ok(1500)),
        tried: Ok(Tried {
            outgoing: states(|probe| &probe.outgoing),
            incoming: states(|probe| &probe.incoming),
        }),
    }
}

/// The same, as anybody but root sees it.
fn unprivileged() -> Facts {
    let denied = |path: &str| format!("{path}: Permission denied (os error 13)");
    Facts {
        log: Err(denied("cannot open /dev/kmsg")),
        capabilities_missing: Ok(vec!["CAP_SYS_ADMIN", "CAP_BPF", "CAP_PERFMON"]),
        kernel: Kernel { tsc_hz: None, ..whole().kernel },
        kho_folder: false,
        tracefs: Err(denied("/sys/kernel/tracing")),
        tracers: Err(denied("/sys/kernel/tracing")),
        events: Err(denied("/sys/kernel/tracing")),
        recorder: Err(denied("/sys/kernel/tracing")),
        boot_line: Err(denied("cannot open /dev/kmsg")),
        tried: Err(NotTried::Unable("we lack CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON".into())),
        ..whole()
    }
}

/// A distribution's kernel of some years ago.
fn old() -> Facts {
    let config: BTreeMap<String, String> =
        ["CONFIG_KEXEC_FILE", "CONFIG_FTRACE", "CONFIG_PRINTK", "CONFIG_PRINTK_TIME", "CONFIG_KALLSYMS"]
            .map(|option| (option.to_owned(), "y".to_owned()))
            .into();
    Facts {
        kernel: Kernel { release: "5.10.0".into(), cmdline: "quiet".into(), ..whole().kernel },
        config: Some(config),
        config_file: Some("/boot/config-5.10.0".into()),
        kho_folder: false,
        liveupdate_device: false,
        events: Ok(BTreeSet::new()),
        tracers: Ok(vec!["nop".into()]),
        kprobes: false,
        btf: false,
        bpffs: false,
        symbols: Ok(["machine_kexec", "kernel_kexec", "device_shutdown"].map(str::to_owned).into()),
        recorder: Ok(None),
        tried: Err(NotTried::Refused("cannot make eBPF map COUNTERS: Function not implemented".into())),
        ..whole()
    }
}

fn assess(facts: &Facts, options: &Options) -> Check {
    check::assess(facts, &CATALOGUE, &NEEDS, options)
}

fn answer<'a>(check: &'a Check, id: &str) -> &'a check::Answer {
    check.needs.iter().find(|answer| answer.id == id).unwrap()
}

#[test]
fn texts_fit_a_terminal_of_80_columns() {
    for (name, facts) in [("whole", whole()), ("unprivileged", unprivileged()), ("old", old())] {
        let text = check::text::render(&assess(&facts, &Options::default()), Style::default());
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        insta::assert_snapshot!(format!("check-{name}"), text);
    }
}

#[test]
fn colours_and_every_probe_on_request() {
    let check = assess(&whole(), &Options::default());
    let plain = check::text::render(&check, Style::default());
    assert!(!plain.contains('\x1b'));
    let coloured = check::text::render(&check, Style { colour: true, probes: false });
    let codes = ["\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"];
    assert_eq!(codes.iter().fold(coloured, |text, code| text.replace(code, "")), plain);
    insta::assert_snapshot!(
        "check-probes",
        check::text::render(&check, Style { colour: false, probes: true })
    );
}

#[test]
fn a_whole_kernel_is_ready_and_everything_is_seen() {
    let check = assess(&whole(), &Options::default());
    assert_eq!(check.verdict, Verdict::Ready);
    assert!(check.needs.iter().all(|answer| answer.state == State::Yes), "{:?}", check.needs);
    assert_eq!((check.coverage.unobserved, check.coverage.share), (0, 1.0));
    assert!(check.phases.iter().all(|phase| phase.id != "relocate"), "only with stamps");
    let stamped = assess(&whole(), &Options { stamp: true, ..Options::default() });
    let ids: Vec<&str> = stamped.phases.iter().map(|phase| phase.id.as_str()).collect();
    assert!(ids.contains(&"relocate") && !ids.contains(&"dark"), "{ids:?}");
}

#[test]
fn who_may_not_look_is_told_so_and_nothing_is_called_missing() {
    let check = assess(&unprivileged(), &Options::default());
    let missing: Vec<&str> = check
        .needs
        .iter()
        .filter(|answer| answer.state == State::No)
        .map(|answer| answer.id.as_str())
        .collect();
    assert_eq!(missing, ["privilege"]);
    assert!(!check.tried.attached);
    // Names are for everybody.
    let restore = check.probes.iter().find(|probe| probe.probe == "session-retrieve").unwrap();
    assert_eq!(
        (restore.state, restore.symbol.as_deref()),
        (Expected::Attached, Some("luo_session_retrieve"))
    );
}

#[test]
fn what_is_missing_comes_with_a_way_to_get_it() {
    let without = |option: &str| {
        let mut facts = whole();
        facts.config.as_mut().unwrap().remove(option);
        facts
    };
    let facts = Facts { btf: false, ..without("CONFIG_DEBUG_INFO_BTF") };
    let check = assess(&facts, &Options::default());
    assert_eq!(answer(&check, "btf").how, ["build the kernel with CONFIG_DEBUG_INFO_BTF"]);
    assert_eq!(check.verdict, Verdict::Ready, "names are a detail");

    let mut facts = Facts { recorder: Ok(None), ..whole() };
    facts.kernel.cmdline = "kho=on liveupdate=on".into();
    let check = assess(&facts, &Options::default());
    assert_eq!(
        answer(&check, "recorder").how,
        ["boot with reserve_mem=12M:4096:trace trace_instance=boot_map@trace"]
    );
    assert_eq!(check.verdict, Verdict::Poor);
    let lost = check.phases.iter().filter(|phase| phase.kernel == Place::Outgoing);
    assert!(lost.clone().any(|phase| phase.state == Forecast::Unobserved));
    assert!(lost.clone().all(|phase| phase.state != Forecast::Seen));

    let mut recorder = whole().recorder.unwrap().unwrap();
    recorder.clock = "x86-tsc".into();
    let check = assess(&Facts { recorder: Ok(Some(recorder)), ..whole() }, &Options::default());
    assert_eq!(answer(&check, "recorder-clock").state, State::No);
}

#[test]
fn a_phase_whose_end_nothing_shows_is_lost_with_the_next() {
    let mut facts = whole();
    // Without its border, the time of "core-init" goes on to the next that is seen; what was before it
    // has an end of its own or is lost too.
    let log = facts.log.as_mut().unwrap();
    log.lines.retain(|line| !line.text.contains("RCU"));
    let check = assess(&facts, &Options::default());
    let state = |id: &str| check.phases.iter().find(|phase| phase.id == id).unwrap().state;
    assert_eq!((state("core-init"), state("tracing")), (Forecast::Unobserved, Forecast::Unobserved));
    assert_eq!((state("page-handover"), state("smp")), (Forecast::Seen, Forecast::Seen));
    assert_eq!(check.verdict, Verdict::Poor);

    let baseline = vec![("core-init".to_owned(), 300), ("tracing".to_owned(), 100), ("smp".to_owned(), 600)];
    let weighed = assess(&facts, &Options { baseline: Some(baseline), ..Options::default() });
    assert_eq!(weighed.coverage.time_share, Some(0.6));
}

#[test]
fn every_need_can_be_looked_at() {
    // What `answers` does not know, it calls unknown even here.
    let check = assess(&whole(), &Options::default());
    assert_eq!(check.needs.len(), NEEDS.len());
    assert!(check.needs.iter().all(|answer| !answer.found.is_empty()));
}

#[test]
fn json_is_by_the_schema() {
    let validator = jsonschema::validator_for(&check::schema()).unwrap();
    for facts in [whole(), unprivileged(), old()] {
        let json = serde_json::to_value(assess(&facts, &Options::default())).unwrap();
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(json["schema"], "blackout.check/1");
    }
}
