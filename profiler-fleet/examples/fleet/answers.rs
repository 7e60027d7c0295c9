//! What the questions of `docs/parquet.md` must give, computed beside the data and not from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use profiler_report::report::{Outcome, Report, Span};
use serde_json::{Value, json};

use crate::host::KERNELS;

/// Collected, live update by live update.
#[derive(Default)]
pub struct Answers {
    pub updates: u64,
    /// Rows of the table.
    pub rows: u64,
    windows: BTreeMap<String, Vec<u64>>,
    hosts: HashMap<String, BTreeMap<String, Vec<u64>>>,
    /// Live updates and nanoseconds.
    devices: BTreeMap<String, (u64, u64)>,
    /// By phase and incoming kernel: how often, and nanoseconds.
    phases: BTreeMap<String, BTreeMap<String, (u64, u64)>>,
}

impl Answers {
    pub fn add(&mut self, report: &Report) {
        let spans: Vec<&Span> = report.phases.iter().flat_map(|phase| &phase.spans).collect();
        self.updates += 1;
        self.rows += (1 + report.vms.len() + report.phases.len() + spans.len()) as u64;
        let seen: BTreeSet<&str> = spans.iter().filter_map(|span| device(span)).collect();
        seen.into_iter().for_each(|device| self.devices.entry(device.to_owned()).or_default().0 += 1);
        for span in &spans {
            if let (Some(device), Some(ns)) = (device(span), span.self_ns) {
                self.devices.entry(device.to_owned()).or_default().1 += ns;
            }
        }
        if report.outcome != Outcome::Complete {
            return;
        }
        let incoming = report.incoming.as_ref().map_or("", |kernel| &kernel.release).to_owned();
        let window = report.window.as_ref().map_or(0, |window| window.duration_ns);
        self.windows.entry(incoming.clone()).or_default().push(window);
        let host = self.hosts.entry(report.run.host.clone()).or_default();
        host.entry(incoming.clone()).or_default().push(window);
        for phase in &report.phases {
            let kernels = self.phases.entry(phase.id.clone()).or_default();
            let (count, ns) = kernels.entry(incoming.clone()).or_default();
            *count += 1;
            *ns += phase.duration_ns;
        }
    }

    /// Takes another worker's in; hosts are never shared.
    pub fn join(&mut self, other: Self) {
        self.updates += other.updates;
        self.rows += other.rows;
        for (incoming, windows) in other.windows {
            self.windows.entry(incoming).or_default().extend(windows);
        }
        self.hosts.extend(other.hosts);
        for (device, (updates, ns)) in other.devices {
            let known = self.devices.entry(device).or_default();
            *known = (known.0 + updates, known.1 + ns);
        }
        for (phase, kernels) in other.phases {
            for (kernel, (count, ns)) in kernels {
                let known = self.phases.entry(phase.clone()).or_default().entry(kernel).or_default();
                *known = (known.0 + count, known.1 + ns);
            }
        }
    }

    /// Rows of each question's result, in order.
    pub fn json(&self) -> Value {
        let p99: Vec<Value> = self
            .windows
            .iter()
            .map(|(incoming, windows)| {
                json!([incoming, windows.len(), quantile(windows, 0.5) / 1e6, quantile(windows, 0.99) / 1e6])
            })
            .collect();
        let mut devices: Vec<(&String, u64, f64)> =
            self.devices.iter().map(|(device, (updates, ns))| (device, *updates, *ns as f64 / 1e6)).collect();
        devices.sort_by(|one, other| other.2.total_cmp(&one.2));
        devices.truncate(5);
        let devices: Vec<Value> = devices
            .iter()
            .map(|(device, updates, ms)| json!([device, updates, ms, ms / *updates as f64]))
            .collect();
        json!({
            "updates": self.updates,
            "rows": self.rows,
            "p99": p99,
            "device": devices,
            "regressed": self.regressed(),
            "phases": self.grown(),
        })
    }

    fn regressed(&self) -> Vec<Value> {
        let mut regressed: Vec<(&String, f64, f64)> = Vec::new();
        for (host, kernels) in &self.hosts {
            let median = |kernel: &str| {
                kernels.get(kernel).filter(|windows| windows.len() >= 3).map(|windows| quantile(windows, 0.5))
            };
            if let (Some(old), Some(new)) = (median(KERNELS[1]), median(KERNELS[2]))
                && new > 1.2 * old
            {
                regressed.push((host, old, new));
            }
        }
        regressed
            .sort_by(|one, other| (other.2 / other.1).total_cmp(&(one.2 / one.1)).then(one.0.cmp(other.0)));
        regressed.iter().map(|(host, old, new)| json!([host, old / 1e6, new / 1e6, new / old])).collect()
    }

    fn grown(&self) -> Vec<Value> {
        let mean = |kernels: &BTreeMap<String, (u64, u64)>, kernel: &str| {
            let (count, ns) = kernels.get(kernel).copied().unwrap_or_default();
            (count > 0).then(|| ns as f64 / count as f64 / 1e6)
        };
        let mut grown: Vec<(&String, f64, f64)> = self
            .phases
            .iter()
            .filter_map(|(phase, kernels)| {
                Some((phase, mean(kernels, KERNELS[1])?, mean(kernels, KERNELS[2])?))
            })
            .collect();
        grown.sort_by(|one, other| (other.2 - other.1).total_cmp(&(one.2 - one.1)));
        grown.truncate(5);
        grown.iter().map(|(phase, old, new)| json!([phase, old, new])).collect()
    }
}

/// All subjects of devices are `DRIVER ADDRESS` here.
fn device(span: &Span) -> Option<&str> {
    (span.kind == "device-shutdown").then(|| span.subject.split(' ').nth(1)).flatten()
}

/// As `percentile_cont`: between two values, in proportion.
fn quantile(values: &[u64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let place = quantile * (sorted.len().saturating_sub(1)) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(0) as f64;
    let (below, above) = (at(place.floor()), at(place.ceil()));
    below + (above - below) * place.fract()
}
