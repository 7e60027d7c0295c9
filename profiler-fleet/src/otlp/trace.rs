//! A live update as one trace: the update, in it the window, in it the phases of both kernels, in them their spans.
//! Times are the report's, on the realtime of its origin. Ids are digests of the run's: the same live update sent
//! twice is the same trace.

use profiler_report::{
    catalogue::Place,
    render::{clean, display},
    report::{self, Outcome, Report, Vm},
};
use sha2::{Digest, Sha256};

use super::{
    incoming,
    proto::{Event, KeyValue, ResourceSpans, ScopeSpans, Span, Status, TraceRequest, attribute},
    resource, scope,
};

/// Spans of one request: some 500 KiB, well below what collectors take at once (4 MiB and more).
pub const SPANS_IN_A_REQUEST: usize = 2_000;

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: i32 = 1;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

/// The trace, in requests of at most [`SPANS_IN_A_REQUEST`] spans; none if nothing dates the live update.
///
/// # Errors
/// As [`clean`].
pub fn trace(report: &Report) -> serde_json::Result<Vec<TraceRequest>> {
    let report = &clean(report)?;
    let Some(origin) = report.clock.origin_unix_ns else { return Ok(Vec::new()) };
    let mut trace = Trace { report, origin, spans: Vec::new() };
    trace.update();
    let request = |spans: &[Span]| TraceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(&report.run.host, &report.run.arch)),
            scope_spans: vec![ScopeSpans { scope: Some(scope()), spans: spans.to_vec() }],
        }],
    };
    Ok(trace.spans.chunks(SPANS_IN_A_REQUEST).map(request).collect())
}

struct Trace<'a> {
    report: &'a Report,
    /// Realtime of the report's 0.
    origin: u64,
    spans: Vec<Span>,
}

/// What becomes of a span's place, before it has ids.
struct Timed<'a> {
    name: &'a str,
    start_ns: i64,
    /// `None`: its end was not seen.
    duration_ns: Option<u64>,
    attributes: Vec<KeyValue>,
}

impl Trace<'_> {
    fn update(&mut self) {
        let report = self.report;
        let window_ns = report.window.as_ref().map_or(0, |window| window.duration_ns);
        let before = report.brownout.iter().map(|span| span.start_ns);
        let guests = report.vms.iter().filter_map(|vm| vm.start_ns);
        let start_ns = before.chain(guests).chain([0]).min().unwrap_or(0);
        let guests_end = report.vms.iter().filter_map(|vm| vm.end_ns);
        let end_ns = guests_end.chain([i64::try_from(window_ns).unwrap_or(i64::MAX)]).max().unwrap_or(0);
        let name = format!("live update {}", display::releases(report));
        let root = self.span(
            &[],
            Timed {
                name: &name,
                start_ns,
                duration_ns: u64::try_from(end_ns.saturating_sub(start_ns)).ok(),
                attributes: of_update(report),
            },
        );
        self.events(root.clone());
        for span in &report.brownout {
            self.call(span, &root, "outgoing");
        }
        if let Some(window) = &report.window {
            let parent = self.span(
                &root,
                Timed {
                    name: "blackout window",
                    start_ns: 0,
                    duration_ns: Some(window_ns),
                    attributes: vec![
                        attribute("blackout.window.definition", window.definition.as_str()),
                        attribute("blackout.window.from", window.start.as_str()),
                        attribute("blackout.window.to", window.end.as_str()),
                        attribute("blackout.error_ns", window.error_ns),
                    ],
                },
            );
            self.phases(&parent);
        }
        report.vms.iter().for_each(|vm| self.guest(vm, &root));
    }

    fn phases(&mut self, window: &[u8]) {
        for phase in &self.report.phases {
            let kernel = display::kernel(phase.kernel);
            let parent = self.span(
                window,
                Timed {
                    name: &phase.title,
                    start_ns: phase.start_ns,
                    duration_ns: Some(phase.duration_ns),
                    attributes: vec![
                        attribute("blackout.phase", phase.id.as_str()),
                        attribute("blackout.kernel", kernel),
                        attribute("blackout.begins_with", phase.begins_with.as_str()),
                        attribute("blackout.error_ns", phase.error_ns),
                    ],
                },
            );
            // In the dark no kernel sees anything: what begins at its first instant is the outgoing one's.
            let kernel = if phase.kernel == Place::Jump { "outgoing" } else { kernel };
            for span in &phase.spans {
                self.call(span, &parent, kernel);
            }
        }
    }

    fn call(&mut self, span: &report::Span, parent: &[u8], kernel: &str) {
        let mut attributes =
            vec![attribute("blackout.kernel", kernel), attribute("blackout.kind", span.kind.as_str())];
        if !span.subject.is_empty() {
            attributes.push(attribute("blackout.subject", span.subject.as_str()));
        }
        attributes.extend(span.cpu.map(|cpu| attribute("cpu.logical_number", cpu)));
        attributes.extend(span.pid.map(|pid| attribute("process.pid", pid)));
        attributes.extend(span.comm.as_deref().map(|comm| attribute("process.executable.name", comm)));
        attributes.extend(span.retval.map(|retval| attribute("blackout.retval", retval)));
        let parent = self.span(
            parent,
            Timed { name: &span.name, start_ns: span.start_ns, duration_ns: span.duration_ns, attributes },
        );
        for inner in &span.spans {
            self.call(inner, &parent, kernel);
        }
    }

    fn guest(&mut self, vm: &Vm, root: &[u8]) {
        let Some(start_ns) = vm.start_ns else { return };
        let (name, status) = (format!("guest {}", vm.name), display::status(vm.status));
        let of = |more: Vec<KeyValue>| {
            let all = [attribute("blackout.vm", vm.id.as_str()), attribute("blackout.vm.status", status)];
            all.into_iter().chain(more).collect()
        };
        let error = vm.error_ns.map(|error| attribute("blackout.error_ns", error));
        let timed = Timed {
            name: &name,
            start_ns,
            duration_ns: vm.blackout_ns,
            attributes: of(error.into_iter().collect()),
        };
        let parent = self.span(root, timed);
        for vcpu in &vm.vcpus {
            let Some(start_ns) = vcpu.last_exit_ns else { continue };
            let name = format!("vCPU {}", vcpu.id);
            let attributes = of(vec![attribute("blackout.vcpu", vcpu.id)]);
            self.span(&parent, Timed { name: &name, start_ns, duration_ns: vcpu.pause_ns, attributes });
        }
    }

    /// What happened at an instant, at the root.
    fn events(&mut self, root: Vec<u8>) {
        let failures = self.report.failures.iter().map(|failure| {
            let mut attributes = vec![attribute("blackout.function", failure.function.as_str())];
            attributes.extend(failure.errno.map(|errno| attribute("blackout.errno", i64::from(errno))));
            (failure.at_ns.unwrap_or(0), failure.message.clone(), attributes)
        });
        let marks = self.report.marks.iter().map(|mark| {
            let vm = mark.vm.as_deref().map(|vm| attribute("blackout.vm", vm));
            (mark.at_ns, format!("mark {}", mark.name), vm.into_iter().collect())
        });
        let events = failures.chain(marks).map(|(at_ns, name, attributes)| Event {
            time_unix_nano: self.at(at_ns),
            name,
            attributes,
        });
        let events = events.collect();
        let status = (self.report.outcome == Outcome::Failed).then(|| Status {
            message: self.report.failures.first().map(|failure| failure.message.clone()).unwrap_or_default(),
            code: ERROR,
        });
        if let Some(span) = self.spans.iter_mut().find(|span| span.span_id == root) {
            (span.events, span.status) = (events, status);
        }
    }

    /// Adds a span below `parent` (empty for the root); gives its id.
    fn span(&mut self, parent: &[u8], timed: Timed) -> Vec<u8> {
        let id = digest(&[b"span", self.report.run.id.as_bytes(), &self.spans.len().to_le_bytes()], 8);
        let end_ns = timed.start_ns.saturating_add_unsigned(timed.duration_ns.unwrap_or(0));
        let mut attributes = timed.attributes;
        if timed.duration_ns.is_none() {
            attributes.push(attribute("blackout.end_seen", false));
        }
        self.spans.push(Span {
            trace_id: digest(&[b"trace", self.report.run.id.as_bytes()], 16),
            span_id: id.clone(),
            parent_span_id: parent.to_vec(),
            name: timed.name.to_owned(),
            kind: INTERNAL,
            start_time_unix_nano: self.at(timed.start_ns),
            end_time_unix_nano: self.at(end_ns),
            attributes,
            events: Vec::new(),
            status: None,
        });
        id
    }

    fn at(&self, ns: i64) -> u64 {
        self.origin.saturating_add_signed(ns)
    }
}

fn of_update(report: &Report) -> Vec<KeyValue> {
    let outgoing = report.outgoing.as_ref().map_or("", |kernel| &kernel.release);
    let mut attributes = vec![
        attribute("blackout.run", report.run.id.as_str()),
        attribute("blackout.outcome", display::outcome(report)),
        attribute("blackout.handover", display::handover(report)),
        attribute("blackout.outgoing", outgoing),
        attribute("blackout.incoming", incoming(report)),
        attribute("blackout.unobserved_ns", report.unobserved_ns),
        attribute("blackout.lost_records", report.loss.total()),
    ];
    attributes.extend(report.liveupdate_number.map(|number| attribute("blackout.liveupdate_number", number)));
    attributes
}

fn digest(parts: &[&[u8]], length: usize) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().into_iter().take(length).collect()
}
