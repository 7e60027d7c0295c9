//! What has a name in the runs of both sides, by identity: looked up once, for there may be millions.

use std::collections::HashMap;

use super::run::{Run, SpanKey, Time};

/// Base and new, each with the index of a run and the time there.
pub type Seen<'a> = [Vec<(usize, &'a Time)>; 2];

/// Spans, or counted functions, of all runs.
#[derive(Debug)]
pub struct Named<'a>(HashMap<&'a SpanKey, Seen<'a>>);

impl<'a> Named<'a> {
    /// Gathers what `of` gives of each run of base and new.
    pub fn gather(sides: [&[&'a Run]; 2], of: fn(&Run) -> &HashMap<SpanKey, Time>) -> Self {
        let mut found: HashMap<&SpanKey, Seen> = HashMap::new();
        for (side, runs) in sides.into_iter().enumerate() {
            for (index, run) in runs.iter().enumerate() {
                for (key, time) in of(run) {
                    found.entry(key).or_default()[side].push((index, time));
                }
            }
        }
        Self(found)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a SpanKey, &Seen<'a>)> {
        self.0.iter().map(|(key, seen)| (*key, seen))
    }
}
