use proptest::prelude::*;

use super::*;
use crate::recording::frame::Scale;

/// `sched_clock` from `zero_tsc` on, with a change of rate at `refined_tsc`.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    zero_tsc: u64,
    refined_tsc: u64,
    early: u32,
    refined: u32,
}

impl Kernel {
    fn log_ns(&self, tsc: u64) -> u64 {
        let convert = |ticks: u64, mult: u32| ((u128::from(ticks) * u128::from(mult)) >> 31) as u64;
        let before = tsc.min(self.refined_tsc);
        let ns = convert(before - self.zero_tsc, self.early) + convert(tsc - before, self.refined);
        ns / 1000 * 1000
    }

    fn regimes(&self) -> [Regime; 2] {
        let border = self.log_ns(self.refined_tsc);
        let slope = |mult| Slope::Scale(Scale { mult, shift: 31, zero_ns: 0 });
        [
            Regime { first_ns: 0, last_ns: border.saturating_sub(1000), slope: slope(self.early) },
            Regime { first_ns: border + 1000, last_ns: u64::MAX, slope: slope(self.refined) },
        ]
    }
}

fn kernel() -> impl Strategy<Value = Kernel> {
    (0.8..5.0f64, -0.01..0.01f64, 1u64 << 30..1 << 44, 1u64 << 28..1 << 32).prop_map(
        |(ghz, change, zero_tsc, early)| Kernel {
            zero_tsc,
            refined_tsc: zero_tsc + early,
            early: ((1u64 << 31) as f64 / ghz) as u32,
            refined: ((1u64 << 31) as f64 / (ghz * (1.0 + change))) as u32,
        },
    )
}

/// `(gap before the line, its latency)`, ticks, and its CPU.
fn lines() -> impl Strategy<Value = Vec<(u64, u64, u32)>> {
    prop::collection::vec((prop_oneof![500..20_000u64, 0..1u64 << 27], 1_000..60_000u64, 0..3u32), 1..60)
}

/// Prints the lines one after the other, each CPU on its own.
fn print(kernel: &Kernel, from: u64, lines: &[(u64, u64, u32)]) -> Vec<Pair> {
    let mut now = [from; 3];
    lines
        .iter()
        .map(|&(gap, latency, cpu)| {
            let now = &mut now[cpu as usize];
            let taken = *now + gap;
            *now = taken + latency;
            Pair { log_ns: kernel.log_ns(taken), tsc: *now, cpu }
        })
        .collect()
}

fn holds(clock: &LogClock, kernel: &Kernel, tsc: u64) -> bool {
    let stamp = clock.to_tsc(kernel.log_ns(tsc));
    stamp.ticks.abs_diff(tsc) <= stamp.error_ticks
}

proptest! {
    #[test]
    fn every_instant_of_the_log_is_bounded(
        kernel in kernel(),
        lines in lines(),
        queries in prop::collection::vec(0..1u64 << 34, 1..20),
    ) {
        let pairs = print(&kernel, kernel.zero_tsc + (1 << 14), &lines);
        let clock = LogClock::fit(&pairs, &[], &kernel.regimes()).unwrap();
        prop_assert_eq!(clock.dropped(), 0);
        prop_assert!(holds(&clock, &kernel, kernel.zero_tsc));
        for tsc in queries.into_iter().map(|past| kernel.zero_tsc + past) {
            prop_assert!(holds(&clock, &kernel, tsc), "{} after {:?}", tsc - kernel.zero_tsc, clock.to_tsc(kernel.log_ns(tsc)));
        }
    }

    #[test]
    fn a_clock_that_leaves_its_line_is_bounded_by_the_lines_around(
        kernel in kernel(),
        lines in lines(),
        jump_after in 0..60usize,
        jump_ns in 1_000_000..200_000_000u64,
    ) {
        // One rate and one CPU; the log's clock stood still for a while after some line.
        let kernel = Kernel { refined_tsc: 1 << 60, ..kernel };
        let lines: Vec<_> = lines.into_iter().map(|(gap, latency, _)| (gap, latency, 0)).collect();
        let straight = print(&kernel, kernel.zero_tsc + (1 << 14), &lines);
        let jump_ticks = jump_ns * 6;
        let lag = |at: usize| if at > jump_after { jump_ticks } else { 0 };
        let pairs: Vec<_> =
            straight.iter().enumerate().map(|(at, pair)| Pair { tsc: pair.tsc + lag(at), ..*pair }).collect();
        let border = pairs.get(jump_after + 1).map_or(u64::MAX, |pair| pair.log_ns.saturating_sub(1000));
        let first = Regime { last_ns: border, ..kernel.regimes()[0] };
        let clock = LogClock::fit(&pairs, &[], &[first]).unwrap();
        for (at, pair) in pairs.iter().enumerate() {
            let stamp = clock.to_tsc(pair.log_ns);
            let taken = pair.tsc - lines[at].1;
            prop_assert!(stamp.ticks.abs_diff(taken) <= stamp.error_ticks, "{at}: {stamp:?} {taken}");
        }
        prop_assert!(holds(&clock, &kernel, kernel.zero_tsc));
    }

    #[test]
    fn a_line_of_an_interrupt_between_time_and_event_breaks_nothing(
        kernel in kernel(),
        first in 1u64 << 14..1 << 27, inner in 1u64..30_000, latencies in prop::array::uniform3(1_000..60_000u64),
    ) {
        let one = kernel.zero_tsc + first;
        let outer = one + latencies[0] + 1;
        let irq = outer + inner;
        let irq_event = irq + latencies[1];
        let pairs = [
            Pair { log_ns: kernel.log_ns(one), tsc: one + latencies[0], cpu: 0 },
            Pair { log_ns: kernel.log_ns(outer), tsc: irq_event + latencies[2], cpu: 0 },
            Pair { log_ns: kernel.log_ns(irq), tsc: irq_event, cpu: 0 },
        ];
        let clock = LogClock::fit(&pairs, &[], &kernel.regimes()).unwrap();
        prop_assert_eq!(clock.dropped(), 0);
        prop_assert!([one, outer, irq].iter().all(|&tsc| holds(&clock, &kernel, tsc)));
    }

    #[test]
    fn any_pairs_are_answered(
        pairs in prop::collection::vec((any::<u64>(), any::<u64>(), 0..2u32), 0..20),
        first_ns in any::<u64>(), last_ns in any::<u64>(), hz in any::<u64>(), value in any::<u64>(),
    ) {
        let pairs: Vec<_> = pairs.into_iter().map(|(log_ns, tsc, cpu)| Pair { log_ns, tsc, cpu }).collect();
        let regime = |first_ns, last_ns| Regime { first_ns, last_ns, slope: Slope::Hz { hz, error_hz: 7 } };
        let regimes = [regime(first_ns, last_ns), regime(last_ns, u64::MAX), regime(0, first_ns)];
        if let Ok(clock) = LogClock::fit(&pairs, &[], &regimes) {
            clock.to_tsc(value);
            clock.epoch();
        }
    }
}

#[test]
fn a_burst_of_lines_is_tight() {
    let kernel = Kernel { zero_tsc: 7_000_000_000, refined_tsc: u64::MAX, early: 1 << 30, refined: 1 << 30 };
    // 2 GHz; lines 10 us apart, events 4 us after their lines.
    let pairs = print(&kernel, kernel.zero_tsc, &[(12_000, 8_000, 0); 50]);
    let regime = Regime {
        first_ns: 0,
        last_ns: u64::MAX,
        slope: Slope::Scale(Scale { mult: 1 << 30, shift: 31, zero_ns: 0 }),
    };
    let clock = LogClock::fit(&pairs, &[], &[regime]).unwrap();
    let epoch = clock.epoch();
    assert!(epoch.ticks.abs_diff(kernel.zero_tsc) <= epoch.error_ticks);
    // Half of 20000 ticks of bracket and 2 us of resolution, and rounding.
    assert!(epoch.error_ticks <= 12_002, "{epoch:?}");
}

#[test]
fn user_space_readings_are_two_sided_at_once() {
    let slope = Slope::Hz { hz: 2_000_000_000, error_hz: 0 };
    let regime = Regime { first_ns: 0, last_ns: u64::MAX, slope };
    let reading = Anchor { value_ns: 1_000_000, before: 5_000_000, after: 5_004_000 };
    let clock = LogClock::fit(&[], &[reading], &[regime]).unwrap();
    assert_eq!(clock.to_tsc(1_000_000), Stamp { ticks: 5_002_000, error_ticks: 2_000 });
    // Elsewhere half the reading's width, the microsecond either side, and rounding.
    assert_eq!(clock.to_tsc(2_000_000), Stamp { ticks: 7_002_000, error_ticks: 4_001 });
    assert_eq!(LogClock::fit(&[], &[], &[regime]), Err(ClockError::NoAnchors));
    // Without a line a reading says that the clock did not run backwards.
    let no_line = LogClock::fit(&[], &[reading], &[]).unwrap();
    assert_eq!(no_line.to_tsc(1_000_000), Stamp { ticks: 5_002_000, error_ticks: 2_000 });
    assert_eq!(no_line.epoch(), Stamp { ticks: 2_502_000, error_ticks: 2_502_000 });
}

#[test]
fn a_departure_the_caller_does_not_know_of_is_noticed() {
    let slope = Slope::Hz { hz: 1_000_000_000, error_hz: 0 };
    let zero = 800_000_000;
    // Ten lines 1 ms apart on the line, then the log's clock falls 100 ms back, then ten more.
    let pair =
        |i: u64, lag: u64| Pair { log_ns: i * 1_000_000, tsc: zero + i * 1_000_000 + lag + 4_000, cpu: 0 };
    let bursts = |i: u64, lag| {
        [pair(i, lag), Pair { log_ns: i * 1_000_000 + 8_000, tsc: pair(i, lag).tsc + 8_000, cpu: 0 }]
    };
    let pairs: Vec<_> =
        (1..11).flat_map(|i| bursts(i, 0)).chain((11..21).flat_map(|i| bursts(i, 100_000_000))).collect();
    let clock = LogClock::fit(&pairs, &[], &[Regime { first_ns: 0, last_ns: u64::MAX, slope }]).unwrap();
    assert_eq!(clock.dropped(), 20);
    let epoch = clock.epoch();
    assert!(epoch.ticks.abs_diff(zero) <= epoch.error_ticks && epoch.error_ticks < 10_000, "{epoch:?}");
    let late = clock.to_tsc(15_000_000);
    assert!(late.ticks.abs_diff(zero + 115_000_000) <= late.error_ticks, "{late:?}");
    let beyond = clock.to_tsc(30_000_000);
    assert!(beyond.ticks.abs_diff(zero + 130_000_000) <= beyond.error_ticks && beyond.error_ticks < 10_000);
}
