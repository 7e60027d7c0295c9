//! `blackout check`: what a kernel offers, and how much of a live update could be measured in it.
//!
//! `agent::survey` looks, and what it found is [`Facts`]; everything here is computed from those.

use profiler_report::{
    catalogue::{Catalogue, Level, Need},
    report,
};

mod answers;
mod facts;
mod forecast;
mod model;
mod probes;
pub mod text;

pub use facts::{Facts, NotTried, Recorder, Seen, Tried};
pub use model::*;

/// What the user wants to know.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `blackout load --stamp` is to be used.
    pub stamp: bool,
    /// `blackout load --trace-boot` is to be used.
    pub trace_boot: bool,
    /// An earlier live update: phase ids and their times, nanoseconds.
    pub baseline: Option<Vec<(String, u64)>>,
}

/// What the facts mean.
pub fn assess(facts: &Facts, catalogue: &Catalogue, needs: &[Need], options: &Options) -> Check {
    let needs: Vec<Answer> = needs.iter().map(|need| answers::answer(need, facts)).collect();
    let probes = probes::forecast(facts, catalogue, options);
    let phases = forecast::phases(facts, catalogue, &probes, options);
    let coverage = forecast::coverage(&phases, options);
    let lacks = |state| needs.iter().any(|need| need.level < Level::Detail && need.state == state);
    let verdict = if lacks(State::No) || coverage.unobserved > 0 {
        Verdict::Poor
    } else if lacks(State::Unknown) {
        Verdict::Unknown
    } else {
        Verdict::Ready
    };
    Check {
        schema: SCHEMA.to_owned(),
        tool: report::tool(),
        kernel: Kernel::new(facts),
        verdict,
        needs,
        flight_recorder: facts.recorder.clone().ok().flatten(),
        tried: Trial::of(facts),
        families: probes::families(catalogue, &probes),
        probes,
        phases,
        coverage,
    }
}

/// JSON Schema of [`Check`], generated from the types.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Check).to_value()
}
