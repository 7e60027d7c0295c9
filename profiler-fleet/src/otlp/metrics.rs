//! A host's live updates as metrics: cumulative, so that whatever is sent twice or not at all is put right by what is
//! sent next. Names do not meet those of the textfile (`render::openmetrics`): one Prometheus may hold both.

use std::collections::BTreeMap;

use profiler_report::{catalogue::CATALOGUE, render::display, report::Report};
use serde::{Deserialize, Serialize};

use super::{
    incoming,
    proto::{
        Buckets, Data, ExponentialHistogram, Gauge, HistogramPoint, KeyValue, Metric, MetricsRequest, Number,
        ResourceMetrics, ScopeMetrics, Sum, attribute,
    },
    resource, scope,
};

/// Buckets grow by the 16th root of 2: a quantile is right to 2.2 %.
const SCALE: i32 = 4;
/// Kernels whose windows are told apart: the last ones that came in.
const RELEASES: usize = 8;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: i32 = 2;

/// What was counted on this host since `started_unix_ns`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// When counting began.
    pub started_unix_ns: u64,
    host: String,
    arch: String,
    /// Live updates by outcome.
    updates: BTreeMap<String, u64>,
    lost_records: u64,
    /// Windows by the kernel that came in, the latest last.
    windows: Vec<(String, Histogram)>,
    /// By phase (`KERNEL/ID`).
    phases: BTreeMap<String, Histogram>,
    guests: Histogram,
    last: Option<Last>,
}

/// Of the latest live update.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Last {
    recorded_at: String,
    began_unix_ns: Option<u64>,
    window_ns: Option<u64>,
    unobserved_ns: u64,
}

/// Durations in exponential buckets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Histogram {
    count: u64,
    zero: u64,
    sum_ns: u64,
    buckets: BTreeMap<i32, u64>,
}

impl Histogram {
    fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        match bucket(ns) {
            Some(index) => *self.buckets.entry(index).or_default() += 1,
            None => self.zero += 1,
        }
    }
}

/// The bucket of a duration, in seconds: (base^index, base^(index + 1)]; `None` for 0.
fn bucket(ns: u64) -> Option<i32> {
    let seconds = ns as f64 / 1e9;
    // log2 of 1 ns to 2^64 ns, times 16: far within an i32.
    (ns > 0).then(|| (seconds.log2() * f64::from(1 << SCALE)).ceil() as i32 - 1)
}

impl Totals {
    /// Counts a live update. That each is counted once is the caller's concern.
    pub fn add(&mut self, report: &Report) {
        (self.host, self.arch) = (report.run.host.clone(), report.run.arch.clone());
        *self.updates.entry(display::outcome(report).to_owned()).or_default() += 1;
        self.lost_records = self.lost_records.saturating_add(report.loss.total());
        if let Some(window) = &report.window {
            let release = incoming(report).to_owned();
            let known = self.windows.iter().position(|(known, _)| *known == release);
            let mut histogram = known.map(|index| self.windows.remove(index).1).unwrap_or_default();
            histogram.add(window.duration_ns);
            self.windows.push((release, histogram));
            let surplus = self.windows.len().saturating_sub(RELEASES);
            self.windows.drain(..surplus);
        }
        for phase in &report.phases {
            let known = phase.id == "unobserved" || CATALOGUE.phases.iter().any(|known| known.id == phase.id);
            let id = if known { phase.id.as_str() } else { "other" };
            let key = format!("{}/{id}", display::kernel(phase.kernel));
            self.phases.entry(key).or_default().add(phase.duration_ns);
        }
        report.vms.iter().filter_map(|vm| vm.blackout_ns).for_each(|ns| self.guests.add(ns));
        if self.last.as_ref().is_none_or(|last| last.recorded_at <= report.run.recorded_at) {
            self.last = Some(Last {
                recorded_at: report.run.recorded_at.clone(),
                began_unix_ns: report.clock.origin_unix_ns,
                window_ns: report.window.as_ref().map(|window| window.duration_ns),
                unobserved_ns: report.unobserved_ns,
            });
        }
    }

    fn number(&self, now: u64, attributes: Vec<KeyValue>) -> Number {
        Number {
            start_time_unix_nano: self.started_unix_ns,
            time_unix_nano: now,
            attributes,
            ..Number::default()
        }
    }

    fn sum<'a>(&self, now: u64, points: impl Iterator<Item = (Vec<KeyValue>, &'a u64)>) -> Data {
        let point = |(attributes, count): (_, &u64)| Number {
            as_int: Some(i64::try_from(*count).unwrap_or(i64::MAX)),
            ..self.number(now, attributes)
        };
        let data_points = points.map(point).collect();
        Data::Sum(Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true })
    }

    fn histogram<'a>(&self, now: u64, points: impl Iterator<Item = (Vec<KeyValue>, &'a Histogram)>) -> Data {
        let point = |(attributes, histogram): (_, &Histogram)| {
            let first = histogram.buckets.first_key_value().map_or(0, |(index, _)| *index);
            let last = histogram.buckets.last_key_value().map_or(-1, |(index, _)| *index);
            let count = |index| histogram.buckets.get(&index).copied().unwrap_or(0);
            HistogramPoint {
                attributes,
                start_time_unix_nano: self.started_unix_ns,
                time_unix_nano: now,
                count: histogram.count,
                sum: Some(seconds(histogram.sum_ns)),
                scale: SCALE,
                zero_count: histogram.zero,
                positive: Some(Buckets { offset: first, bucket_counts: (first..=last).map(count).collect() }),
            }
        };
        let data_points = points.map(point).collect();
        Data::Histogram(ExponentialHistogram { data_points, aggregation_temporality: CUMULATIVE })
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The request that tells a collector, at `now` (since 1970).
pub fn metrics(totals: &Totals, now_unix_ns: u64) -> MetricsRequest {
    let now = now_unix_ns;
    let mut metrics = Vec::new();
    let mut metric = |name: &str, unit: &str, description: &str, data| {
        let (name, unit, description) = (name.to_owned(), unit.to_owned(), description.to_owned());
        metrics.push(Metric { name, unit, description, data: Some(data) });
    };
    let updates =
        totals.updates.iter().map(|(outcome, count)| (vec![attribute("outcome", outcome.as_str())], count));
    metric("blackout.updates", "{update}", "Live updates, by how they ended.", totals.sum(now, updates));
    let lost = std::iter::once((Vec::new(), &totals.lost_records));
    metric("blackout.lost_records", "{record}", "Evidence that was lost.", totals.sum(now, lost));
    let windows = totals
        .windows
        .iter()
        .map(|(release, histogram)| (vec![attribute("incoming", release.as_str())], histogram));
    metric("blackout.windows", "s", "Blackout windows, by incoming kernel.", totals.histogram(now, windows));
    let phases = totals.phases.iter().map(|(key, histogram)| {
        let (kernel, phase) = key.split_once('/').unwrap_or(("", key));
        (vec![attribute("kernel", kernel), attribute("phase", phase)], histogram)
    });
    metric("blackout.phases", "s", "Phases of the windows.", totals.histogram(now, phases));
    let guests = std::iter::once((Vec::new(), &totals.guests)).filter(|(_, guests)| guests.count > 0);
    metric("blackout.guests", "s", "Windows of guests.", totals.histogram(now, guests));
    if let Some(last) = &totals.last {
        let gauges = [
            (
                "blackout.last_update",
                "When the last live update's window began, since 1970.",
                last.began_unix_ns,
            ),
            ("blackout.last_window", "The last live update's window.", last.window_ns),
            ("blackout.last_unobserved", "Its part that no evidence covers.", Some(last.unobserved_ns)),
        ];
        for (name, description, ns) in gauges {
            let Some(ns) = ns else { continue };
            let point = Number { as_double: Some(seconds(ns)), ..totals.number(now, Vec::new()) };
            metric(name, "s", description, Data::Gauge(Gauge { data_points: vec![point] }));
        }
    }
    MetricsRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(&totals.host, &totals.arch)),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope()), metrics }],
        }],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use profiler_report::{
        report::{Kernel, Window},
        testing::report,
    };

    proptest! {
        #[test]
        fn a_duration_lies_in_its_bucket(ns in 1u64..1 << 50) {
            let (index, base) = (bucket(ns).unwrap(), 2f64.powf(1.0 / 16.0));
            let seconds = ns as f64 / 1e9;
            // A float's rounding at the border of a bucket is no error.
            prop_assert!(base.powi(index) < seconds * (1.0 + 1e-9));
            prop_assert!(seconds <= base.powi(index + 1) * (1.0 + 1e-9));
        }
    }

    #[test]
    fn releases_are_bounded_and_the_latest_stay() {
        let mut totals = Totals::default();
        for number in 0..100 {
            let mut report = report(Vec::new());
            report.incoming = Some(Kernel { release: format!("7.{number}"), ..Kernel::default() });
            report.window = Some(Window { duration_ns: number + 1, ..Window::default() });
            totals.add(&report);
        }
        let releases: Vec<&str> = totals.windows.iter().map(|(release, _)| release.as_str()).collect();
        assert_eq!(releases, ["7.92", "7.93", "7.94", "7.95", "7.96", "7.97", "7.98", "7.99"]);
        assert_eq!(totals.updates["complete"], 100);
        let stored: Totals = serde_json::from_str(&serde_json::to_string(&totals).unwrap()).unwrap();
        assert_eq!(stored, totals);
    }
}
