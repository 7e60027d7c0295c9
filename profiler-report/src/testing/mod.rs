//! Reports made in code, for tests.

pub mod rich;

use crate::{
    catalogue::Place,
    report::{Clock, Handover, Loss, Outcome, Overhead, Phase, Report, Run, SCHEMA, Span, Tool, Window},
};

/// A span of task 1 on CPU 0.
pub fn span(name: &str, start_ns: i64, duration_ns: u64) -> Span {
    Span {
        name: name.to_owned(),
        kind: "test".to_owned(),
        subject: String::new(),
        start_ns,
        duration_ns: Some(duration_ns),
        self_ns: Some(duration_ns),
        cpu: Some(0),
        pid: Some(1),
        comm: Some("init".to_owned()),
        retval: Some(0),
        critical: false,
        spans: Vec::new(),
    }
}

/// A host window of two phases of 500 ns, `first` with these spans.
pub fn report(spans: Vec<Span>) -> Report {
    let phase = |id: &str, kernel, start_ns, spans| Phase {
        id: id.to_owned(),
        title: id.to_owned(),
        kernel,
        start_ns,
        duration_ns: 500,
        share: 0.5,
        error_ns: 1,
        begins_with: String::new(),
        spans,
        chain: Vec::new(),
    };
    Report {
        schema: SCHEMA.to_owned(),
        tool: Tool { name: "blackout".to_owned(), version: "0".to_owned(), commit: String::new() },
        run: Run::default(),
        outgoing: None,
        incoming: None,
        liveupdate_number: None,
        kexec_count: None,
        outcome: Outcome::Complete,
        failures: Vec::new(),
        handover: Handover::Intact,
        clock: Clock::default(),
        window: Some(Window {
            definition: "host".to_owned(),
            vm: None,
            start: "a".to_owned(),
            end: "b".to_owned(),
            duration_ns: 1_000,
            error_ns: 2,
        }),
        vms: Vec::new(),
        marks: Vec::new(),
        phases: vec![
            phase("first", Place::Outgoing, 0, spans),
            phase("second", Place::Incoming, 500, Vec::new()),
        ],
        unobserved_ns: 0,
        attributed_ns: None,
        deferred_pages: Vec::new(),
        brownout: Vec::new(),
        hot: Vec::new(),
        coverage: Vec::new(),
        loss: Loss::default(),
        overhead: Overhead::default(),
        advice: Vec::new(),
        commands: Vec::new(),
        notes: Vec::new(),
    }
}
