//! Recording -> report: runs the pipeline and puts its results under the contract's names.

use super::*;
use crate::{
    catalogue::{CATALOGUE, Place, Way},
    clock::Hz,
    recording::{self, Recording, Side, frame},
    stitch::{self, Moment, Source, StitchError, Stitched, What},
    timeline::{self, Call, Cell, Ends, Milestones, Node, WindowKind},
};

/// Computes the report of a recording.
///
/// # Errors
/// [`StitchError`] if the halves do not belong together, or time does not run forward.
pub fn build(recording: &Recording) -> Result<Report, StitchError> {
    let stitched = stitch::stitch(recording)?;
    let calls = timeline::pair(&stitched.sightings);
    let milestones = Milestones::new(&stitched.sightings, &calls);
    let ends = window(&stitched, &milestones);
    let axis = Axis { origin: ends.as_ref().map_or(0, |ends| ends.start.ticks), hz: stitched.hz };
    let cells = match &ends {
        Some(ends) => timeline::partition(&CATALOGUE.phases, &milestones, ends),
        None => Vec::new(),
    };
    let failures = failures(&stitched, &calls, &axis);
    let window = ends.as_ref().map(|ends| describe_window(ends, &stitched, &axis));
    let (brownout, phases) = phases(&cells, &calls, ends.as_ref(), &axis);
    let unobserved = phases.iter().filter(|phase| phase.id == timeline::UNOBSERVED);
    let borders = cells.iter().flat_map(|cell| [cell.begin, cell.end]);
    let error_ns = borders.map(|border| axis.error(border.error_ticks)).max().unwrap_or(0);
    let incoming = stitched.incoming.kernel.as_ref();
    Ok(Report {
        schema: SCHEMA.to_owned(),
        tool: tool(),
        run: run(&stitched),
        liveupdate_number: incoming.map(|kernel| kernel.liveupdate_number),
        kexec_count: incoming.map(|kernel| kernel.kexec_count),
        outgoing: stitched.outgoing.kernel.as_ref().map(kernel),
        incoming: incoming.map(kernel),
        outcome: outcome(&stitched, ends.as_ref(), &failures, recording),
        failures,
        handover: stitched.handover,
        clock: Clock { source: "tsc".to_owned(), hz: stitched.hz.get(), error_ns },
        unobserved_ns: unobserved.map(|phase| phase.duration_ns).sum(),
        window,
        vms: Vec::new(),
        phases,
        brownout,
        hot: Vec::new(),
        coverage: coverage(&stitched),
        loss: Loss {
            recording: recording.damage.len() as u64 + recording.unknown_frames() as u64,
            ..stitched.loss.clone()
        },
        overhead: overhead(&stitched, ends.as_ref(), &axis),
        advice: Vec::new(),
        commands: commands(&stitched, &axis),
        notes: notes(&stitched, recording),
    })
}

/// Ticks to nanoseconds of the report.
struct Axis {
    origin: u64,
    hz: Hz,
}

impl Axis {
    fn at(&self, ticks: u64) -> i64 {
        self.hz.since(self.origin, ticks)
    }

    /// Difference of two converted moments, so that phases add up exactly.
    fn between(&self, from: Moment, to: Moment) -> u64 {
        u64::try_from(self.at(to.ticks).saturating_sub(self.at(from.ticks))).unwrap_or(0)
    }

    /// An error, rounded up.
    fn error(&self, ticks: u64) -> u64 {
        self.hz.ns_up(ticks)
    }
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

fn describe_window(ends: &Ends, stitched: &Stitched, axis: &Axis) -> Window {
    let duration_ns = axis.between(ends.start, ends.end);
    let drift_ns = u128::from(duration_ns) * u128::from(stitched.hz_error_ppb) / 1_000_000_000;
    let ends_ns = axis.error(ends.start.error_ticks) + axis.error(ends.end.error_ticks);
    Window {
        definition: "host".to_owned(),
        start: ends.starts_with.clone(),
        end: ends.ends_with.clone(),
        duration_ns,
        error_ns: ends_ns.saturating_add(u64::try_from(drift_ns).unwrap_or(u64::MAX)),
    }
}

/// Phases with their spans, and the spans before the window.
fn phases(cells: &[Cell], calls: &[Call], ends: Option<&Ends>, axis: &Axis) -> (Vec<Span>, Vec<Phase>) {
    let Some(ends) = ends else { return (Vec::new(), Vec::new()) };
    let total = axis.between(ends.start, ends.end).max(1);
    let (before, inside): (Vec<Call>, Vec<Call>) = calls
        .iter()
        .filter(|call| call.enter.ticks < ends.end.ticks)
        .cloned()
        .partition(|call| call.enter.ticks < ends.start.ticks);
    let forest = timeline::forest(inside);
    let phases = cells.iter().map(|cell| {
        let duration_ns = axis.between(cell.begin, cell.end);
        let within = |node: &&Node| (cell.begin.ticks..cell.end.ticks).contains(&node.call.enter.ticks);
        let task = ending_task(calls, cell);
        Phase {
            id: cell.id.clone(),
            title: cell.title.clone(),
            kernel: cell.place,
            start_ns: axis.at(cell.begin.ticks),
            duration_ns,
            share: duration_ns as f64 / total as f64,
            error_ns: axis.error(cell.begin.error_ticks.saturating_add(cell.end.error_ticks)),
            begins_with: cell.begins_with.clone(),
            spans: forest.iter().filter(within).map(|node| span(node, axis, task)).collect(),
        }
    });
    let phases = phases.collect();
    (timeline::forest(before).iter().map(|node| span(node, axis, None)).collect(), phases)
}

/// The task whose call ends the phase, or begins the next one: its calls are what the phase waited for.
fn ending_task(calls: &[Call], cell: &Cell) -> Option<(Side, u32)> {
    let side = if cell.place == Place::Outgoing { Side::Outgoing } else { Side::Incoming };
    let touches = |call: &&Call| call.side == side && (call.enter == cell.end || call.exit == Some(cell.end));
    calls.iter().find(touches).and_then(|call| Some((side, call.pid?)))
}

fn span(node: &Node, axis: &Axis, task: Option<(Side, u32)>) -> Span {
    let call = &node.call;
    let duration_ns = call.exit.map(|exit| axis.between(call.enter, exit));
    let spans: Vec<Span> = node.inner.iter().map(|inner| span(inner, axis, task)).collect();
    let inner: u64 = spans.iter().filter_map(|span| span.duration_ns).sum();
    Span {
        name: call.name.clone(),
        kind: call.kind.clone(),
        subject: call.subject.clone(),
        start_ns: axis.at(call.enter.ticks),
        duration_ns,
        self_ns: duration_ns.map(|duration| duration.saturating_sub(inner)),
        cpu: call.cpu,
        pid: call.pid,
        comm: call.comm.clone(),
        retval: call.retval,
        critical: call.pid.is_some_and(|pid| task == Some((call.side, pid))),
        spans,
    }
}

/// What failed: the system call, calls that returned an errno, commands, and what the kernel logged.
fn failures(stitched: &Stitched, calls: &[Call], axis: &Axis) -> Vec<Failure> {
    let mut failures = Vec::new();
    for call in calls {
        // During the brownout clients may probe and miss; only the update itself counts.
        let before = stitched.outgoing.returned.is_none() && call.side == Side::Outgoing;
        let Some(errno) = call.retval.filter(|retval| (-4095..0).contains(retval)) else { continue };
        if before || call.kind == "initcall" || call.kind == "reboot" {
            continue;
        }
        let named = |prefix: &str| call.subject.strip_prefix(prefix).map(str::to_owned);
        let of = if call.subject.is_empty() { String::new() } else { format!(" of {}", call.subject) };
        let errno = i32::try_from(-errno).ok();
        failures.push(Failure {
            kernel: place(call.side),
            function: call.name.clone(),
            session: named("session "),
            token: named("token "),
            errno,
            at_ns: Some(axis.at(call.enter.ticks)),
            message: format!("{}{of}: {}", call.name, errno_text(errno)),
        });
    }
    failures.extend(stitched.complaints.iter().map(|complaint| Failure {
        kernel: place(complaint.side),
        function: complaint.function.clone(),
        session: None,
        token: complaint.token.map(|token| format!("{token:#x}")),
        errno: complaint.errno,
        at_ns: complaint.at.map(|at| axis.at(at.ticks)),
        message: complaint.text.clone(),
    }));
    if let Some((errno, ticks)) = stitched.outgoing.returned {
        failures.push(Failure {
            kernel: Place::Outgoing,
            function: "reboot(LINUX_REBOOT_CMD_KEXEC)".to_owned(),
            session: None,
            token: None,
            errno: Some(errno),
            at_ns: Some(axis.at(ticks)),
            message: format!("reboot(LINUX_REBOOT_CMD_KEXEC) came back: {}", errno_text(Some(errno))),
        });
    }
    for (side, command) in stitched.commands() {
        if command.exit_code != 0 {
            let name = command.argv.join(" ");
            failures.push(Failure {
                kernel: place(side),
                message: format!("command {name} ended with exit code {}", command.exit_code),
                function: name,
                session: None,
                token: None,
                errno: None,
                at_ns: Some(axis.at(command.ended_tsc)),
            });
        }
    }
    failures.sort_by_key(|failure| failure.at_ns);
    failures
}

fn errno_text(errno: Option<i32>) -> String {
    errno.map_or("failed".to_owned(), |errno| std::io::Error::from_raw_os_error(errno).to_string())
}

fn outcome(stitched: &Stitched, ends: Option<&Ends>, failures: &[Failure], recording: &Recording) -> Outcome {
    // A client may ask for a session that is not there and go on; everything else is a failure.
    let failed = failures.iter().any(|failure| failure.function != "session-retrieve");
    let whole = ends.is_some_and(|ends| ends.kind == WindowKind::Whole);
    let sound = recording.damage.is_empty() && stitched.incoming.ended;
    match () {
        () if failed => Outcome::Failed,
        () if whole && sound && stitched.handover == Handover::Intact => Outcome::Complete,
        () => Outcome::Partial,
    }
}

fn coverage(stitched: &Stitched) -> Vec<Coverage> {
    let mut all = Vec::new();
    let hits = |side: Side, name: &str, boot: bool| {
        let hit = |what: &What| match what {
            What::Enter { probe, source, .. } => {
                probe.name == name && boot == (*source == Source::BootKprobe)
            }
            What::Reached { probe, .. } => boot && probe.name == name,
            _ => false,
        };
        stitched.sightings.iter().filter(|s| s.side == side && hit(&s.what)).count() as u64
    };
    let mut add = |side, name: &str, symbol: Option<String>, method: &str, boot, reason: Option<String>| {
        let hits = hits(side, name, boot);
        let state = match (&symbol, &reason) {
            (Some(_), _) if hits > 0 => ProbeState::Fired,
            (Some(_), _) => ProbeState::Attached,
            (None, Some(reason)) if !reason.contains("No such file") => ProbeState::Failed,
            (None, _) => ProbeState::Missing,
        };
        all.push(Coverage {
            probe: name.to_owned(),
            family: CATALOGUE.by_name(name).map(|probe| probe.family.clone()).unwrap_or_default(),
            kernel: place(side),
            symbol,
            method: method.to_owned(),
            state,
            hits,
            reason,
        });
    };
    for (side, half) in [(Side::Outgoing, &stitched.outgoing), (Side::Incoming, &stitched.incoming)] {
        for probe in half.coverage.iter().flat_map(|coverage| &coverage.probes) {
            let frame::ProbeState { probe, symbol, method, error, .. } = probe.clone();
            add(side, &probe, symbol, &method, false, error);
        }
    }
    let boot = stitched.incoming.buffers.get("boot");
    let has_event = |symbol: &str| {
        let line = format!("# kprobes/{symbol}\n");
        boot.is_some_and(|boot| boot.formats.iter().any(|format| format.starts_with(&line)))
    };
    let cmdline = stitched.incoming.kernel.as_ref().map_or("", |kernel| kernel.cmdline.as_str());
    // Boot functions are traced only on demand (`blackout load --trace-boot`).
    let filter = cmdline.split_ascii_whitespace().find_map(|word| word.strip_prefix("ftrace_filter="));
    let filtered = |symbol: &str| filter.is_some_and(|filter| filter.split(',').any(|word| word == symbol));
    for probe in CATALOGUE.probes.iter().filter(|_| boot.is_some()) {
        if probe.incoming.contains(&Way::BootCall) {
            let symbol = probe.symbols.iter().find(|symbol| has_event(symbol)).cloned();
            add(Side::Incoming, &probe.name, symbol, "boot-kprobe", true, None);
        }
        if filter.is_some() && probe.incoming.contains(&Way::BootEnter) {
            let symbol = probe.symbols.iter().find(|symbol| filtered(symbol)).cloned();
            add(Side::Incoming, &probe.name, symbol, "boot-function", true, None);
        }
    }
    all
}

fn overhead(stitched: &Stitched, ends: Option<&Ends>, axis: &Axis) -> Overhead {
    let Some(coverage) = &stitched.incoming.coverage else { return Overhead::default() };
    let ticks = |from: u64, to: u64| axis.error(to.saturating_sub(from));
    let inside = ends.map(|ends| {
        let from = coverage.load_begin_tsc.max(ends.start.ticks);
        let to = coverage.attached_tsc.min(ends.end.ticks);
        ticks(from, to)
    });
    Overhead {
        probe_ns: coverage.program_stats.map(|(_, ns)| ns),
        probe_runs: coverage.program_stats.map(|(runs, _)| runs),
        load_ns: Some(ticks(coverage.load_begin_tsc, coverage.loaded_tsc)),
        attach_ns: Some(ticks(coverage.loaded_tsc, coverage.attached_tsc)),
        in_window_ns: inside,
    }
}

fn commands(stitched: &Stitched, axis: &Axis) -> Vec<Command> {
    let command = |(side, command): (Side, &frame::CommandResult)| Command {
        kernel: place(side),
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
    notes.extend(recording.damage.iter().map(damage));
    if recording.unknown_frames() > 0 {
        let frames = recording.unknown_frames();
        notes.push(format!("{frames} frames were written by a newer blackout; use that one to read them"));
    }
    notes
}

fn place(side: Side) -> Place {
    match side {
        Side::Outgoing => Place::Outgoing,
        Side::Incoming => Place::Incoming,
    }
}

fn tool() -> Tool {
    Tool {
        name: "blackout".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("BLACKOUT_COMMIT").unwrap_or_default().to_owned(),
    }
}

fn kernel(kernel: &frame::Kernel) -> Kernel {
    Kernel {
        release: kernel.release.clone(),
        version: kernel.version.clone(),
        build_id: kernel.build_id.clone(),
        config_sha256: kernel.config_sha256.clone(),
        cmdline: kernel.cmdline.clone(),
    }
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
