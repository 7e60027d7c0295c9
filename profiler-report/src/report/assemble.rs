//! Recording -> report: runs the pipeline and puts its results under the contract's names.

use super::{
    advice,
    axis::Axis,
    choice::{Chosen, choose},
    coverage::coverage,
    failures::failures,
    guests, realtime,
    spans::{Divided, divide},
    *,
};
use crate::{
    catalogue::{CATALOGUE, Place},
    evidence::config,
    recording::{self, Recording, Side, frame},
    stitch::{self, Half, Moment, Sighting, Source, StitchError, Stitched, What},
    timeline::{self, Call, Ends, Guest, Milestones, NodeInit, Tasks, WindowKind},
};

/// Computes the report of a recording.
///
/// # Errors
/// [`ReportError::Stitch`] if the halves do not belong together, or time does not run forward.
pub fn build(recording: &Recording) -> Result<Report, ReportError> {
    build_for(recording, &Choice::default())
}

/// Why there is no such report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is no timeline.
    #[error(transparent)]
    Stitch(#[from] StitchError),
    /// There is none of that window.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
}

/// Computes the report of a recording for one window.
///
/// # Errors
/// [`ReportError`]: as [`build`], or if the recording has no such window.
pub fn build_for(recording: &Recording, choice: &Choice) -> Result<Report, ReportError> {
    let stitched = stitch::stitch(recording)?;
    let calls = timeline::pair(&stitched.sightings);
    let tasks = Tasks::new(&stitched.sightings);
    let nodes = timeline::nodes(&stitched.sightings, &tasks, &stitched.incoming.zones(), stitched.hz);
    // Ticks of 10 ms are no border.
    let seen = nodes.iter().filter(|node| node.seen);
    let milestones = Milestones::new(&stitched.sightings, &calls, seen);
    let all = timeline::guests(&stitched.vcpus, &calls, &stitched.sightings, &guests::watch(&stitched));
    let host = window(&stitched, &milestones);
    let host_start = host.as_ref().map(|host| host.start);
    let Chosen { ends, definition, guest, note } = choose(choice, &all, &stitched.sightings, host)?;
    let milestones = match guest {
        Some(guest) => milestones.of_guest(&guest.name, guest.start),
        None => milestones,
    };
    let axis = Axis { origin: ends.as_ref().map_or(0, |ends| ends.start.ticks), hz: stitched.hz };
    let cells = match &ends {
        Some(ends) => timeline::partition(&CATALOGUE.phases, &milestones, ends),
        None => Vec::new(),
    };
    let mut failures = failures(&stitched, &calls, &axis);
    failures.extend(guests::failures(&all));
    let drift_ns = |duration_ns: u64| {
        let drift = u128::from(duration_ns) * u128::from(stitched.hz_error_ppb) / 1_000_000_000;
        u64::try_from(drift).unwrap_or(u64::MAX)
    };
    let vms: Vec<Vm> = all.iter().map(|guest| guests::vm(guest, drift_ns, &axis)).collect();
    let window = ends.as_ref().map(|ends| {
        let vm = guest.filter(|_| definition == "vm");
        let switch_ns = vm.and_then(|vm| vm.switch_ticks).map_or(0, |ticks| axis.error(ticks));
        Window {
            definition: definition.to_owned(),
            vm: vm.map(|vm| vm.name.clone()),
            ..describe_window(ends, drift_ns, switch_ns, &axis)
        }
    });
    let hot = super::hot::hot(&stitched, &calls, &tasks, &cells);
    let calls = ran(calls, &stitched, &tasks, &nodes);
    let Divided { brownout, phases, attributed_ns } =
        divide(&cells, calls, &tasks, &stitched.sightings, ends.as_ref(), &axis);
    let unobserved = phases.iter().filter(|phase| phase.id == timeline::UNOBSERVED);
    let borders = cells.iter().flat_map(|cell| [cell.begin, cell.end]);
    let error_ns = borders.map(|border| axis.error(border.error_ticks)).max().unwrap_or(0);
    let incoming = stitched.incoming.kernel.as_ref();
    let report = Report {
        schema: SCHEMA.to_owned(),
        tool: tool(),
        run: run(&stitched),
        liveupdate_number: incoming.map(|kernel| kernel.liveupdate_number),
        kexec_count: incoming.map(|kernel| kernel.kexec_count),
        outgoing: kernel(&stitched.outgoing),
        incoming: kernel(&stitched.incoming),
        outcome: outcome(&stitched, ends.as_ref(), &failures, recording),
        failures,
        handover: stitched.handover,
        clock: Clock {
            source: "tsc".to_owned(),
            hz: stitched.hz.get(),
            error_ns,
            origin_unix_ns: ends.as_ref().and_then(|_| realtime::origin(&stitched, &axis)),
        },
        unobserved_ns: unobserved.map(|phase| phase.duration_ns).sum(),
        attributed_ns,
        deferred_pages: nodes.iter().map(|node| deferred_pages(node, &axis)).collect(),
        window,
        vms,
        marks: marks(&stitched, &all, &axis),
        phases,
        brownout,
        hot,
        coverage: coverage(&stitched),
        loss: Loss {
            recording: recording.damage.len() as u64 + recording.unknown_frames() as u64,
            ..stitched.loss.clone()
        },
        overhead: overhead(&stitched, ends.as_ref(), &axis),
        advice: Vec::new(),
        commands: commands(&stitched, &axis),
        notes: note
            .into_iter()
            .chain(guests::notes(&all, host_start, &axis))
            .chain(notes(&stitched, recording))
            .collect(),
    };
    let advice = advice::advise(&advice::Case { log: &printed(&stitched, &axis), report: &report });
    Ok(Report { advice, ..report })
}

/// All calls: those of functions, and what ran in tasks, on CPUs and nodes.
fn ran(mut calls: Vec<Call>, stitched: &Stitched, tasks: &Tasks, nodes: &[NodeInit]) -> Vec<Call> {
    calls.extend(tasks.processes());
    calls.extend(timeline::cpus(&stitched.sightings, stitched.hz.ticks(LEAST_CPU_STEP_NS)));
    calls.extend(nodes.iter().map(Call::from));
    calls.sort_by_key(|call| call.enter);
    calls
}

/// Steps of bringing up a CPU that are shorter are not listed.
const LEAST_CPU_STEP_NS: u64 = 100_000;

fn deferred_pages(node: &NodeInit, axis: &Axis) -> DeferredPages {
    let duration_ns = axis.between(node.begin, node.end);
    let rate = |pages: u64| {
        let rate = u128::from(pages) * 1_000_000_000 / u128::from(duration_ns.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    DeferredPages {
        node: node.node,
        pages: node.pages,
        start_ns: axis.at(node.begin.ticks),
        duration_ns,
        error_ns: axis.error(node.begin.error_ticks.saturating_add(node.end.error_ticks)),
        pages_per_second: node.pages.map(rate),
    }
}

/// The incoming kernel's log on the report's axis.
fn printed(stitched: &Stitched, axis: &Axis) -> Vec<advice::Line> {
    let line = |line: &stitch::LogLine| advice::Line {
        at_ns: line.at.map(|at| axis.at(at.ticks)),
        level: line.level,
        text: line.text.clone(),
    };
    stitched.log.iter().map(line).collect()
}

fn window(stitched: &Stitched, milestones: &Milestones) -> Option<Ends> {
    let of = |side| {
        let mut all = stitched.sightings.iter().filter(move |s| s.side == side).map(|s| s.at);
        let first = all.next()?;
        Some((first, all.next_back().unwrap_or(first)))
    };
    let returned = stitched.outgoing.returned.map(|(_, ticks)| Moment::exact(ticks));
    let outgoing_last = of(Side::Outgoing).map(|(_, last)| last);
    let definition = CATALOGUE.host_window.as_ref()?;
    timeline::host_window(definition, milestones, returned, of(Side::Incoming), outgoing_last)
}

fn describe_window(ends: &Ends, drift_ns: impl Fn(u64) -> u64, switch_ns: u64, axis: &Axis) -> Window {
    let duration_ns = axis.between(ends.start, ends.end);
    let ends_ns = axis.error(ends.start.error_ticks) + axis.error(ends.end.error_ticks);
    Window {
        definition: "host".to_owned(),
        vm: None,
        start: ends.starts_with.clone(),
        end: ends.ends_with.clone(),
        duration_ns,
        error_ns: ends_ns.saturating_add(drift_ns(duration_ns)).saturating_add(switch_ns),
    }
}

fn marks(stitched: &Stitched, all: &[Guest], axis: &Axis) -> Vec<Mark> {
    let mark = |sighting: &Sighting| match &sighting.what {
        What::Mark { mark } => Some(Mark {
            name: mark.name.clone(),
            kernel: Place::from(sighting.side),
            vm: guests::of_mark(mark, sighting.side, all),
            at_ns: axis.at(sighting.at.ticks),
            error_ns: axis.error(sighting.at.error_ticks),
        }),
        _ => None,
    };
    stitched.sightings.iter().filter_map(mark).collect()
}

fn outcome(stitched: &Stitched, ends: Option<&Ends>, failures: &[Failure], recording: &Recording) -> Outcome {
    // A client may ask for a session that is not there and go on, and a kernel may complain and go on;
    // everything else is a failure.
    let complaint = |failure: &Failure| stitched.complaints.iter().any(|c| c.text == failure.message);
    let failed = failures.iter().any(|failure| failure.function != "session-retrieve" && !complaint(failure));
    let whole = ends.is_some_and(|ends| matches!(ends.kind, WindowKind::Whole | WindowKind::Chosen));
    let sound = recording.damage.is_empty() && stitched.incoming.ended;
    match () {
        () if failed => Outcome::Failed,
        () if whole && sound && stitched.handover == Handover::Intact => Outcome::Complete,
        () => Outcome::Partial,
    }
}

fn overhead(stitched: &Stitched, ends: Option<&Ends>, axis: &Axis) -> Overhead {
    let overhead = running(stitched, ends);
    let Some(coverage) = &stitched.incoming.coverage else { return overhead };
    let ticks = |from: u64, to: u64| axis.error(to.saturating_sub(from));
    let inside = ends.map(|ends| {
        let from = coverage.load_begin_tsc.max(ends.start.ticks);
        let to = coverage.attached_tsc.min(ends.end.ticks);
        ticks(from, to)
    });
    Overhead {
        load_ns: Some(ticks(coverage.load_begin_tsc, coverage.loaded_tsc)),
        attach_ns: Some(ticks(coverage.loaded_tsc, coverage.attached_tsc)),
        in_window_ns: inside,
        ..overhead
    }
}

/// What the programs took while they ran, as they say.
fn running(stitched: &Stitched, ends: Option<&Ends>) -> Overhead {
    let mut overhead = Overhead::default();
    let add = |total: &mut Option<u64>, more: u64| *total = Some(total.unwrap_or(0).saturating_add(more));
    // At the mean of the runs that were timed.
    let mean = |ns: u64, timed: u64, runs: u64| {
        u64::try_from(u128::from(ns) * u128::from(runs) / u128::from(timed.max(1))).unwrap_or(u64::MAX)
    };
    let sides = [Side::Outgoing, Side::Incoming];
    for ((side, cost), counted) in sides.into_iter().zip(&stitched.cost).zip(&stitched.counted) {
        if let Some((runs, ns)) = cost.calls {
            add(&mut overhead.probe_runs, runs);
            add(&mut overhead.probe_ns, ns);
            let in_window = |sighting: &&Sighting| {
                let ebpf = |what: &What| matches!(what, What::Enter { source, .. } | What::Exit { source, .. } if *source == Source::Ebpf);
                let at = sighting.at.ticks;
                sighting.side == side
                    && ebpf(&sighting.what)
                    && ends.is_some_and(|ends| ends.start.ticks <= at && at <= ends.end.ticks)
            };
            let inside = stitched.sightings.iter().filter(in_window).count() as u64;
            add(&mut overhead.probe_in_window_ns, mean(ns, runs, inside));
        }
        if let Some((timed, ns)) = cost.hot {
            let calls =
                counted.shares.iter().map(|share| share.count).fold(counted.unpaired, u64::saturating_add);
            let runs = calls.saturating_mul(2);
            add(&mut overhead.hot_runs, runs);
            add(&mut overhead.hot_ns, mean(ns, timed, runs));
        }
    }
    overhead
}

fn commands(stitched: &Stitched, axis: &Axis) -> Vec<Command> {
    let command = |(side, command): (Side, &frame::CommandResult)| Command {
        kernel: Place::from(side),
        argv: command.argv.clone(),
        exit_code: command.exit_code,
        start_ns: axis.at(command.started_tsc),
        duration_ns: axis.between(Moment::exact(command.started_tsc), Moment::exact(command.ended_tsc)),
    };
    stitched.commands().map(command).collect()
}

fn notes(stitched: &Stitched, recording: &Recording) -> Vec<String> {
    let damage = |damage: &recording::Damage| format!("recording, byte {}: {}", damage.offset, damage.what);
    let mut notes = stitched.notes.clone();
    let returned = stitched.outgoing.returned.is_some();
    if !stitched.incoming.present && !returned {
        notes.push(
            "the incoming kernel left no evidence: it was not started, or did not come as far as the end of \
             `blackout collect`; the flight recorder was not read, so silent probes may have fired"
                .to_owned(),
        );
    } else if !stitched.incoming.ended && !returned {
        notes.push("the incoming half of the recording stops before its end".to_owned());
    }
    if stitched.handover == Handover::Rejected {
        notes.push(
            "the incoming kernel did not take the flight recorder over: the outgoing kernel's part is lost; \
             both kernels must give it the same size and CPUs (see the kernel log: Ring buffer boot meta)"
                .to_owned(),
        );
    }
    notes.extend(super::lacks::lacks(stitched));
    notes.extend(recording.damage.iter().map(damage));
    if recording.unknown_frames() > 0 {
        let frames = recording.unknown_frames();
        notes.push(format!("{frames} frames were written by a newer blackout; use that one to read them"));
    }
    notes
}

/// This program.
pub fn tool() -> Tool {
    Tool {
        name: "blackout".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("BLACKOUT_COMMIT").unwrap_or_default().to_owned(),
    }
}

fn kernel(half: &Half) -> Option<Kernel> {
    let kernel = half.kernel.as_ref()?;
    Some(Kernel {
        release: kernel.release.clone(),
        version: kernel.version.clone(),
        build_id: kernel.build_id.clone(),
        config_sha256: kernel.config_sha256.clone(),
        cmdline: kernel.cmdline.clone(),
        config: half.config.and_then(config::parse),
    })
}

fn run(stitched: &Stitched) -> Run {
    let kernel = stitched.incoming.kernel.as_ref().or(stitched.outgoing.kernel.as_ref());
    let identity = stitched.outgoing.run.as_ref().or(stitched.incoming.run.as_ref());
    let mut run = Run::default();
    if let Some(identity) = identity {
        run.id = identity.id.clone();
        run.recorded_at = super::time::rfc3339(identity.recorded_at_ns);
    }
    if let Some(kernel) = kernel {
        run.host = kernel.host.clone();
        run.arch = kernel.arch.clone();
        run.cpus = kernel.cpus;
        run.memory_bytes = kernel.memory_bytes;
        run.numa_nodes = kernel.numa_nodes;
        run.deterministic =
            kernel.cmdline.split_ascii_whitespace().any(|word| word == "blackout.deterministic");
    }
    run
}
