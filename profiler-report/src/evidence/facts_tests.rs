use super::*;
use proptest::prelude::*;

fn line(level: u8, facility: u32, text: &str) -> KmsgLine {
    KmsgLine { seq: 0, ts_us: 0, level, facility, text: text.to_owned(), caller: None }
}

fn of(text: &str) -> Option<Fact> {
    Fact::of(&line(6, 0, text))
}

#[test]
fn reads_the_messages_of_7_3() {
    let s = str::to_owned;
    let expected = [
        ("KHO: found kexec handover data.", Fact::KhoFound),
        ("KHO: exec from: 7.3.4-lab (x) (count 2)", Fact::ExecFrom { release: s("7.3.4-lab (x)"), count: 2 }),
        ("luo: Retrieved live update data, liveupdate number: 3", Fact::LiveupdateNumber(3)),
        ("luo_core: Retrieved live update data, liveupdate number: 3", Fact::LiveupdateNumber(3)),
        (
            "luo: Freeze failed for token[0x1a] handler[memfd-v1] err[-EINVAL]",
            Fact::FreezeFailed { token: 26, handler: s("memfd-v1"), error: s("-EINVAL") },
        ),
        ("Revived memory reservation 'trace' from KHO", Fact::Revived { label: s("trace") }),
        ("node 1 deferred pages initialised in 36ms", Fact::DeferredPages { node: 1, ms: 36 }),
        ("tsc: Detected 2400.010 MHz processor", Fact::ProcessorDetected { khz: 2_400_010 }),
        ("tsc: Detected 999.999 MHz TSC", Fact::TscDetected { khz: 999_999 }),
        ("tsc: Refined TSC clocksource calibration: 2399.994 MHz", Fact::TscRefined { khz: 2_399_994 }),
        (
            "tsc: Marking TSC unstable due to clocksource watchdog",
            Fact::TscUnstable { reason: s("clocksource watchdog") },
        ),
        ("Ring buffer meta [1] is from previous boot!", Fact::RingKept { cpu: 1, discarded_pages: 0 }),
        (
            "Ring buffer meta [0] is from previous boot! (3 pages discarded)",
            Fact::RingKept { cpu: 0, discarded_pages: 3 },
        ),
        (
            "Ring buffer boot meta mismatch of struct size",
            Fact::RingRejected { reason: s("mismatch of struct size") },
        ),
        (
            "Ring buffer boot meta [0] invalid nr_subbufs",
            Fact::RingRejected { reason: s("[0] invalid nr_subbufs") },
        ),
        (
            "Ring buffer meta [0] commit page not found",
            Fact::RingRejected { reason: s("[0] commit page not found") },
        ),
        ("Run /init as init process", Fact::RunInit { path: s("/init") }),
    ];
    for (text, fact) in expected {
        assert_eq!(of(text), Some(fact), "{text}");
    }
    for text in
        ["", "KHO: scratch scale is 200%", "tsc: Fast TSC calibration using PIT", "Run away", "node 0: x"]
    {
        assert_eq!(of(text), None, "{text}");
    }
}

#[test]
fn only_the_kernel_is_believed() {
    assert_eq!(Fact::of(&line(6, 1, "KHO: found kexec handover data.")), None);
}

#[test]
fn complaints_of_the_handover_are_kept() {
    for text in [
        "KHO: disabling KHO revival",
        "luo: LUO state is incompatible with 'luo-v3'",
        "KHO reserve-mem 'trace' has wrong size (0x800000 != 0xc00000)",
        "FDT 'memblock' has no child 'trace': -1",
        "kho_block: Block set is corrupted",
        "memfd_luo: failed to setup file: -ENOMEM",
    ] {
        assert_eq!(Fact::of(&line(4, 0, text)), Some(Fact::HandoverComplaint { text: text.into() }));
        assert_eq!(Fact::of(&line(6, 0, text)), None);
    }
    assert_eq!(Fact::of(&line(3, 0, "usb: device not accepting address")), None);
}

#[test]
fn the_latest_calibration_counts() {
    let detected = Fact::ProcessorDetected { khz: 2 };
    let refined = Fact::TscRefined { khz: 3 };
    assert_eq!(tsc_khz([&refined, &detected]), Some(3));
    assert_eq!(tsc_khz([&detected, &Fact::TscDetected { khz: 4 }]), Some(4));
    assert_eq!(tsc_khz([&Fact::KhoFound]), None);
}

proptest! {
    #[test]
    fn any_line_is_a_fact_or_not(
        prefix in "(KHO: |luo: |tsc: |tsc: Detected |Ring buffer |Ring buffer meta \\[|node )?",
        text: String,
        level in 0u8..8,
    ) {
        let _ = Fact::of(&line(level, 0, &format!("{prefix}{text}")));
    }
}
