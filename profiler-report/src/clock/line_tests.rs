use proptest::prelude::*;

use super::*;
use crate::recording::frame::Scale;

const GHZ: f64 = 1e9;

/// A clock as the kernel makes one: a straight line, and another from `step_at` on, without a jump.
#[derive(Debug, Clone, Copy)]
struct Clock {
    mult: u32,
    later_mult: u32,
    shift: u16,
    zero_ns: u64,
    step_at: u64,
}

impl Clock {
    fn read(&self, tsc: u64) -> u64 {
        let convert = |tsc: u64, mult: u32| ((u128::from(tsc) * u128::from(mult)) >> self.shift) as u64;
        let before = tsc.min(self.step_at);
        self.zero_ns + convert(before, self.mult) + convert(tsc - before, self.later_mult)
    }

    fn scale(&self, mult: u32) -> Slope {
        Slope::Scale(Scale { mult, shift: self.shift, zero_ns: self.zero_ns })
    }
}

fn mult(ghz: f64) -> u32 {
    ((1u64 << 31) as f64 / ghz) as u32
}

fn clock() -> impl Strategy<Value = Clock> {
    (0.8..5.0, -0.01..0.01, 0..1u64 << 61, 0..1u64 << 40).prop_map(|(ghz, change, zero_ns, step_at)| Clock {
        mult: mult(ghz),
        later_mult: mult(ghz * (1.0 + change)),
        shift: 31,
        zero_ns,
        step_at,
    })
}

/// Latencies around a reading, ticks: 1 to 60 us at 1 GHz.
fn reading() -> impl Strategy<Value = (u64, u64)> {
    (1_000..60_000u64, 1_000..60_000u64)
}

fn anchor(clock: &Clock, at: u64, (before, after): (u64, u64)) -> Anchor {
    Anchor { value_ns: clock.read(at), before: at.saturating_sub(before), after: at + after }
}

fn holds(mapping: &Mapping, clock: &Clock, tsc: u64) -> bool {
    let stamp = mapping.to_tsc(clock.read(tsc));
    stamp.ticks.abs_diff(tsc) <= stamp.error_ticks
}

proptest! {
    #[test]
    fn the_kernels_scale_bounds_every_instant(
        clock in clock(),
        readings in prop::collection::vec((1u64 << 20..1 << 42, reading()), 1..20),
        queries in prop::collection::vec(0..1u64 << 43, 1..20),
    ) {
        let clock = Clock { step_at: u64::MAX, ..clock };
        let anchors: Vec<_> = readings.iter().map(|&(at, width)| anchor(&clock, at, width)).collect();
        let mapping = Mapping::fit(&anchors, Some(clock.scale(clock.mult)), 1).unwrap();
        prop_assert_eq!(mapping.dropped(), 0);
        for tsc in queries {
            prop_assert!(holds(&mapping, &clock, tsc));
        }
        // No wider than the narrowest reading, the clock's own nanosecond and the rate's last bit.
        let narrowest = anchors.iter().map(|a| a.after - a.before).min().unwrap();
        prop_assert!(mapping.to_tsc(anchors[0].value_ns).error_ticks <= narrowest / 2 + 20);
    }

    #[test]
    fn a_frequency_bounds_by_its_own_error(
        ghz in 0.8..5.0f64,
        off_hz in -1000..1000i64,
        readings in prop::collection::vec((1u64 << 20..1 << 42, reading()), 1..10),
        queries in prop::collection::vec(0..1u64 << 43, 1..10),
    ) {
        let clock = Clock { mult: mult(ghz), later_mult: 1, shift: 31, zero_ns: 0, step_at: u64::MAX };
        let true_hz = (1u64 << 31) as f64 / f64::from(clock.mult) * GHZ;
        let hz = (true_hz as u64).saturating_add_signed(off_hz);
        let anchors: Vec<_> = readings.iter().map(|&(at, width)| anchor(&clock, at, width)).collect();
        let mapping = Mapping::fit(&anchors, Some(Slope::Hz { hz, error_hz: 1001 }), 1).unwrap();
        prop_assert_eq!(mapping.dropped(), 0);
        for tsc in queries {
            prop_assert!(holds(&mapping, &clock, tsc));
        }
    }

    #[test]
    fn without_a_rate_the_anchors_give_one(
        clock in clock(),
        readings in prop::collection::vec((1u64 << 20..1 << 42, reading()), 0..10),
        queries in prop::collection::vec(0..1u64 << 43, 1..10),
    ) {
        let clock = Clock { step_at: u64::MAX, ..clock };
        let ends = [(1 << 20, (5_000, 5_000)), (1 << 42, (5_000, 5_000))];
        let anchors: Vec<_> =
            readings.into_iter().chain(ends).map(|(at, width)| anchor(&clock, at, width)).collect();
        let mapping = Mapping::fit(&anchors, None, 1).unwrap();
        prop_assert_eq!(mapping.dropped(), 0);
        for tsc in queries {
            prop_assert!(holds(&mapping, &clock, tsc));
        }
        prop_assert!(mapping.to_tsc(clock.read(1 << 41)).error_ticks < 10_100);
    }

    #[test]
    fn after_a_change_of_rate_the_latest_regime_is_right(
        clock in clock(),
        early in prop::collection::vec((0.0..1.0f64, reading()), 0..10),
        late in prop::collection::vec((0..1u64 << 36, reading()), 1..10),
        queries in prop::collection::vec(0..1u64 << 36, 1..10),
    ) {
        let early = early.iter().map(|&(part, width)| ((clock.step_at as f64 * part) as u64, width));
        let late = late.into_iter().map(|(past, width)| (clock.step_at + past, width));
        let anchors: Vec<_> = early.chain(late).map(|(at, width)| anchor(&clock, at, width)).collect();
        let mapping = Mapping::fit(&anchors, Some(clock.scale(clock.later_mult)), 1).unwrap();
        let latest = anchors.iter().max_by_key(|anchor| anchor.value_ns).unwrap();
        for tsc in queries.into_iter().map(|past| clock.step_at + past) {
            if mapping.dropped() > 0 {
                prop_assert!(holds(&mapping, &clock, tsc));
            } else {
                let stamp = mapping.to_tsc(clock.read(tsc));
                prop_assert!(stamp.ticks.abs_diff(tsc) <= latest.after - latest.before + 40);
            }
        }
    }

    #[test]
    fn any_anchors_are_answered(
        anchors in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..8),
        mult in any::<u32>(), shift in any::<u16>(), hz in any::<u64>(), error_hz in any::<u64>(),
        value in any::<u64>(), resolution in any::<u32>(),
    ) {
        let anchors: Vec<_> =
            anchors.into_iter().map(|(value_ns, before, after)| Anchor { value_ns, before, after }).collect();
        let scale = Slope::Scale(Scale { mult, shift, zero_ns: 0 });
        for slope in [None, Some(scale), Some(Slope::Hz { hz, error_hz })] {
            if let Ok(mapping) = Mapping::fit(&anchors, slope, u64::from(resolution)) {
                let stamp = mapping.to_tsc(value);
                prop_assert!(stamp.ticks.checked_add(stamp.error_ticks).is_some());
                prop_assert!(mapping.dropped() < anchors.len());
            }
        }
    }
}

#[test]
fn a_visible_change_is_seen_and_reported() {
    let clock =
        Clock { mult: mult(2.4), later_mult: mult(2.41), shift: 31, zero_ns: 0, step_at: 2_400_000_000 };
    let at = |seconds: f64| anchor(&clock, (seconds * 2.4e9) as u64, (2_000, 2_000));
    let anchors = [at(0.2), at(0.4), at(2.0), at(3.0)];
    let mapping = Mapping::fit(&anchors, Some(clock.scale(clock.later_mult)), 1).unwrap();
    assert_eq!(mapping.dropped(), 2);
    assert!(holds(&mapping, &clock, 9_000_000_000));
    let mapping = Mapping::fit(&anchors, None, 1).unwrap();
    assert_eq!(mapping.dropped(), 2);
    assert!(holds(&mapping, &clock, 9_000_000_000));
}

#[test]
fn what_cannot_be_fitted_says_why() {
    let anchor = Anchor { value_ns: 5, before: 10, after: 12 };
    let backwards = Anchor { value_ns: 5, before: 12, after: 10 };
    assert_eq!(Mapping::fit(&[], None, 1), Err(ClockError::NoAnchors));
    assert_eq!(Mapping::fit(&[backwards], None, 1), Err(ClockError::NoAnchors));
    assert_eq!(Mapping::fit(&[anchor], None, 1), Err(ClockError::NoSlope));
    assert_eq!(Mapping::fit(&[anchor, anchor], None, 1), Err(ClockError::NoSlope));
    let slope = Slope::Hz { hz: 0, error_hz: 0 };
    assert_eq!(Mapping::fit(&[anchor], Some(slope), 1), Err(ClockError::Slope(slope)));
}

#[test]
fn a_flood_of_anchors_is_thinned() {
    let anchors: Vec<_> = (0..100_000u64)
        .map(|i| Anchor { value_ns: i * 1000, before: i * 2000, after: i * 2000 + 50 })
        .collect();
    let mapping = Mapping::fit(&anchors, None, 1).unwrap();
    assert!(mapping.anchors.len() <= ANCHORS_MAX);
    assert!(mapping.to_tsc(50_000_000).ticks.abs_diff(100_000_025) <= 60);
}
