//! The report's own axis.

use crate::{clock::Hz, stitch::Moment};

/// Ticks to nanoseconds of the report.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Ticks of the report's 0.
    pub origin: u64,
    /// Frequency of the ticks.
    pub hz: Hz,
}

impl Axis {
    /// A moment.
    pub fn at(&self, ticks: u64) -> i64 {
        self.hz.since(self.origin, ticks)
    }

    /// Difference of two converted moments, so that phases add up exactly.
    pub fn between(&self, from: Moment, to: Moment) -> u64 {
        u64::try_from(self.at(to.ticks).saturating_sub(self.at(from.ticks))).unwrap_or(0)
    }

    /// An error, rounded up.
    pub fn error(&self, ticks: u64) -> u64 {
        self.hz.ns_up(ticks)
    }
}
