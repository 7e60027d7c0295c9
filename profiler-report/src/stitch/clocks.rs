//! Which anchors tie which clock to the TSC.

use std::collections::HashMap;

use super::{Half, Moment, Sighting, What};
use crate::{
    clock::{
        Anchor, ClockError, Hz, LogClock, Mapping, Pair, Regime, Slope, Stamp,
        join::{self, JoinError},
        sched_clock::{self, Refined, early_anchor},
    },
    evidence::{
        carrier::AnchorLine,
        facts::{Fact, facts},
        kmsg::KmsgLine,
    },
    recording::{Side, frame::Scale},
};

/// A frequency that the kernel prints has three decimals of a megahertz.
const PRINTED_ERROR_HZ: u64 = 1_000;

impl From<Stamp> for Moment {
    fn from(stamp: Stamp) -> Self {
        Self { ticks: stamp.ticks, error_ticks: stamp.error_ticks }
    }
}

/// An anchor out of a trace ring, with the kernel's scale at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingAnchor {
    anchor: Anchor,
    scale: Option<Scale>,
}

/// Anchors among the lines of a ring, in order of time: a record lies between the TSC that it carries
/// and the one that the next record of its burst carries.
pub fn anchors<'a>(lines: impl Iterator<Item = (u64, &'a str)>) -> Vec<RingAnchor> {
    let lines: Vec<(u64, AnchorLine)> =
        lines.filter_map(|(ts, line)| Some((ts, AnchorLine::parse(line)?))).collect();
    let follows = |a: &AnchorLine, b: &AnchorLine| b.burst == a.burst && b.seq == a.seq.wrapping_add(1);
    lines
        .windows(2)
        .filter_map(|pair| match pair {
            [(value_ns, line), (_, next)] if follows(line, next) => {
                let (before, after) = (line.tsc_before, next.previous_tsc_after);
                Some(RingAnchor { anchor: Anchor { value_ns: *value_ns, before, after }, scale: line.scale })
            }
            _ => None,
        })
        .collect()
}

/// Frequency that ruled when the last anchor was taken: later, and so better known, than what the log
/// said when the kernel was described.
pub fn last_hz(anchors: &[RingAnchor]) -> Option<Hz> {
    Hz::new(sched_clock::hz(anchors.last()?.scale?)?)
}

/// A ring's clock tied to the TSC.
#[derive(Debug)]
pub struct Ring {
    mapping: Mapping,
    /// What a reader must know of it.
    pub notes: Vec<String>,
}

impl Ring {
    /// The moment of a time stamp.
    pub fn moment(&self, ts: u64) -> Moment {
        self.mapping.to_tsc(ts).into()
    }
}

/// Ties a ring on `local` to the TSC: `local` is `sched_clock`, whose scale the kernel itself gives; the
/// anchors that were taken under the scale that ruled last give its offset.
pub fn ring(anchors: &[RingAnchor], tsc_hz: Option<u64>) -> Result<Ring, ClockError> {
    let scale = anchors.last().and_then(|last| last.scale);
    let slope = match (scale, tsc_hz) {
        (Some(scale), _) => Some(Slope::Scale(scale)),
        (None, Some(hz)) => Some(Slope::Hz { hz, error_hz: PRINTED_ERROR_HZ }),
        (None, None) => None,
    };
    let rate = |scale: Option<Scale>| scale.map(|scale| (scale.mult, scale.shift));
    let ruling = anchors.iter().filter(|anchor| rate(anchor.scale) == rate(scale));
    let ruling: Vec<Anchor> = ruling.map(|anchor| anchor.anchor).collect();
    let mapping = Mapping::fit(&ruling, slope, 1)?;
    let mut notes = Vec::new();
    if mapping.dropped() > 0 {
        notes.push(format!("{} clock anchors contradict later ones and were not used", mapping.dropped()));
    }
    Ok(Ring { mapping, notes })
}

/// The kernel log tied to the TSC.
#[derive(Debug)]
pub struct Log {
    clock: LogClock,
    /// Sequence number of a line -> TSC of its event, and the task that wrote it.
    events: HashMap<u64, (u64, Option<u32>)>,
}

impl Log {
    /// The moment of a line: its trace event's, if it has one; else its log time's. `None` for a line
    /// from before the clock ran: it has an order, but no time.
    pub fn moment(&self, line: &KmsgLine) -> Option<Moment> {
        let event = self.events.get(&line.seq).map(|(tsc, _)| Moment::exact(*tsc));
        event.or_else(|| (line.ts_us > 0).then(|| self.clock.to_tsc(nanoseconds(line)).into()))
    }

    /// The task that wrote a line, if its trace event was seen.
    pub fn task(&self, line: &KmsgLine) -> Option<u32> {
        self.events.get(&line.seq)?.1
    }

    /// The moment at which the log clock read 0.
    pub fn epoch(&self) -> Moment {
        self.clock.epoch().into()
    }
}

/// A log line that the boot tracer stamped as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampedLine {
    /// The line.
    pub text: String,
    /// TSC of its event.
    pub tsc: u64,
    /// CPU of its event.
    pub cpu: u32,
    /// Task of its event.
    pub pid: Option<u32>,
}

/// Ties the log to the TSC: its first stretch by the kernel's own line, where that is known, and all of it
/// by the lines that the boot tracer stamped.
pub fn log(lines: &[KmsgLine], stamped: &[StampedLine], half: &Half, hz: Hz) -> Result<Log, ClockError> {
    let told = Told::new(lines, half, hz);
    let regimes = told.regimes(lines);
    let readings: Vec<Anchor> = told.early_anchor(half, &regimes).into_iter().collect();
    let matched = matches(lines, stamped);
    let pair = |(line, event): &(&KmsgLine, &StampedLine)| Pair {
        log_ns: nanoseconds(line),
        tsc: event.tsc,
        cpu: event.cpu,
    };
    let pairs: Vec<Pair> = matched.iter().map(pair).collect();
    let clock = LogClock::fit(&pairs, &readings, &regimes)?;
    let events = matched.iter().map(|(line, event)| (line.seq, (event.tsc, event.pid))).collect();
    Ok(Log { clock, events })
}

/// Matches lines with their events. From the end: the tracer starts late, but both end together, so the
/// last event of a text belongs to the last line of that text.
fn matches<'a>(lines: &'a [KmsgLine], stamped: &'a [StampedLine]) -> Vec<(&'a KmsgLine, &'a StampedLine)> {
    let mut by_text: HashMap<&str, Vec<&KmsgLine>> = HashMap::new();
    for line in lines {
        by_text.entry(line.text.trim_end()).or_default().push(line);
    }
    let last = |event: &'a StampedLine| Some((by_text.get_mut(event.text.trim_end())?.pop()?, event));
    stamped.iter().rev().filter_map(last).collect()
}

/// What the log tells of its own clock.
struct Told {
    /// Frequency the kernel booted with, kHz.
    early_khz: u64,
    /// Frequency after refinement, kHz, and log time of the message, nanoseconds.
    refined: Option<(u64, u64)>,
    /// Log time of the last line before the timer tick takes part, nanoseconds.
    before_tick_ns: Option<u64>,
    /// Log time at which `sched_clock` was marked stable, nanoseconds, and its `__sched_clock_offset`.
    stable: Option<(u64, Option<i64>)>,
}

impl Told {
    fn new(lines: &[KmsgLine], half: &Half, hz: Hz) -> Self {
        let (mut processor, mut detected, mut refined) = (None, None, None);
        for (line, fact) in facts(lines) {
            match fact {
                Fact::ProcessorDetected { khz } => processor = Some(khz),
                Fact::TscDetected { khz } => detected = Some(khz),
                Fact::TscRefined { khz } => refined = Some((khz, nanoseconds(line))),
                _ => {}
            }
        }
        let given = half.kernel.as_ref().and_then(|kernel| {
            let mut words = kernel.cmdline.split_ascii_whitespace();
            words.find_map(|word| word.strip_prefix("tsc_early_khz=")?.parse().ok())
        });
        let starts =
            |text: &'static str| move |line: &KmsgLine| line.is_kernel() && line.text.starts_with(text);
        let delay_loop = lines.iter().position(starts("Calibrating delay loop"));
        let stable = lines.iter().find(|line| starts("sched_clock: Marking stable")(line));
        Self {
            early_khz: given.or(detected).or(processor).unwrap_or(hz.get() / 1000),
            refined,
            before_tick_ns: delay_loop.and_then(|at| lines.get(at.checked_sub(1)?)).map(nanoseconds),
            stable: stable.map(|line| {
                let last_number = line.text.rsplit([' ', ',']).next();
                (nanoseconds(line), last_number.and_then(|text| text.trim_end_matches(')').parse().ok()))
            }),
        }
    }

    /// Stretches in which the log's clock is a straight line of the TSC (kernel/sched/clock.c and
    /// arch/x86/kernel/tsc.c, Linux 7.3): until `sched_clock_init`, the next line after which is about
    /// the delay loop; from the line that marks `sched_clock` stable until the TSC calibration is
    /// refined; and from then on. Between them the clock follows the timer tick.
    fn regimes(&self, lines: &[KmsgLine]) -> Vec<Regime> {
        let slope = |khz: u64| Slope::Hz { hz: khz.saturating_mul(1000), error_hz: PRINTED_ERROR_HZ };
        let early = slope(self.early_khz);
        let mut regimes = Vec::new();
        let mut first_ns = 0;
        if let (Some(last_ns), Some((stable_ns, _))) = (self.before_tick_ns, self.stable) {
            regimes.push(Regime { first_ns, last_ns, slope: early });
            first_ns = stable_ns;
        }
        let Some((khz, changed_ns)) = self.refined else {
            regimes.push(Regime { first_ns, last_ns: u64::MAX, slope: early });
            return regimes;
        };
        regimes.push(Regime { first_ns, last_ns: changed_ns, slope: early });
        let next_ns = lines.iter().map(nanoseconds).find(|ns| *ns > changed_ns);
        let first_ns = next_ns.unwrap_or(changed_ns.saturating_add(1));
        regimes.push(Regime { first_ns, last_ns: u64::MAX, slope: slope(khz) });
        regimes
    }

    /// The first stretch by the kernel's own line.
    fn early_anchor(&self, half: &Half, regimes: &[Regime]) -> Option<Anchor> {
        let scale = half.anchors.last()?.scale?;
        let offset_ns = self.stable?.1?;
        let refined = self.refined.map(|(_, at_ns)| Refined { at_ns });
        let first = regimes.first().filter(|_| self.before_tick_ns.is_some())?;
        early_anchor(scale, offset_ns, u32::try_from(self.early_khz).ok()?, refined, first.last_ns)
    }
}

fn nanoseconds(line: &KmsgLine) -> u64 {
    line.ts_us.saturating_mul(1000)
}

/// Refuses halves of different live updates, and time that runs backwards.
///
/// `carried` is the run id that the flight recorder itself carries.
pub fn check_join(
    outgoing: &Half,
    incoming: &Half,
    carried: Option<&str>,
    sightings: &[Sighting],
) -> Result<(), JoinError> {
    let log = incoming.kmsg.map(crate::evidence::kmsg::parse).unwrap_or_default();
    let exec_from = facts(&log.lines).find_map(|(_, fact)| match fact {
        Fact::ExecFrom { release, .. } => Some(release),
        _ => None,
    });
    let before = describe(outgoing, Side::Outgoing, sightings);
    let after = join::Half { exec_from, ..describe(incoming, Side::Incoming, sightings) };
    let carried = join::Half { run_id: carried.map(str::to_owned), ..join::Half::default() };
    join::check(&before, &carried)?;
    join::check(&before, &after)?;
    join::check(&carried, &after)
}

fn describe(half: &Half, side: Side, sightings: &[Sighting]) -> join::Half {
    let kernel = half.kernel.as_ref();
    // What an estimate covers with its error proves no order, and a stamp is not of either kernel.
    let of_side = |sighting: &&Sighting| {
        sighting.side == side && !matches!(sighting.what, What::StampEntry | What::StampDecompressed)
    };
    let mut seen = sightings.iter().filter(of_side).map(|sighting| sighting.at);
    let first = seen.next();
    let last = seen.next_back().or(first);
    join::Half {
        run_id: half.run.as_ref().map(|run| run.id.clone()),
        release: kernel.map(|kernel| kernel.release.clone()),
        exec_from: None,
        // Zero also means that the line has left the log.
        kexec_count: kernel.map(|kernel| kernel.kexec_count).filter(|count| *count > 0),
        liveupdate_number: kernel.map(|kernel| kernel.liveupdate_number).filter(|number| *number > 0),
        first_tsc: first.map(|at| at.ticks.saturating_add(at.error_ticks)),
        last_tsc: last.map(|at| at.ticks.saturating_sub(at.error_ticks)),
        realtime_at_tsc: kernel.and_then(|kernel| kernel.realtime_at_tsc),
        rtc: kernel.and_then(|kernel| kernel.rtc.clone()),
        hz: kernel.and_then(|kernel| Hz::new(kernel.tsc_hz?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_ends_where_the_next_record_of_its_burst_says() {
        let line = |burst, seq, tsc_before, previous_tsc_after| {
            AnchorLine { burst, seq, tsc_before, previous_tsc_after, scale: None }.to_string()
        };
        let lines = [line(0, 0, 10, 0), line(0, 1, 30, 20), line(1, 0, 100, 0), line(1, 1, 130, 120)];
        let anchors = anchors(lines.iter().enumerate().map(|(ts, line)| (ts as u64, line.as_str())));
        let bounds: Vec<_> = anchors.iter().map(|a| (a.anchor.before, a.anchor.after)).collect();
        assert_eq!(bounds, [(10, 20), (100, 120)]);
    }

    #[test]
    fn equal_lines_are_matched_from_the_end() {
        let line = |seq, ts_us, text: &str| KmsgLine {
            seq,
            ts_us,
            level: 6,
            facility: 0,
            text: text.to_owned(),
            caller: None,
        };
        let lines = [line(0, 0, "same"), line(1, 5, "same"), line(2, 6, "other")];
        let stamped = [StampedLine { text: "same".into(), tsc: 500, cpu: 0, pid: Some(1) }];
        let matched: Vec<_> =
            matches(&lines, &stamped).iter().map(|(line, event)| (line.seq, event.tsc)).collect();
        assert_eq!(matched, [(1, 500)]);
    }
}
