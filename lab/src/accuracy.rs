//! `cargo lab accuracy`: what `blackout` says of a guest's blackout, beside what the guest itself saw.

use crate::document;
use crate::kernel::{self, Request};
use crate::kernel_config::KernelConfig;
use crate::live_update::LiveUpdate;
use crate::reports::Reported;
use crate::result::GuestResult;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use toolbox::binaries;
use toolbox::cache::Cache;

/// What the world switches at both ends may cost under emulation, where each is some 50 us.
const WORLD_SWITCHES_NS: u64 = 200_000;
/// The most that a figure may be off, whatever its stated error: one in so many of the guest's gap.
const GAP_PARTS: u64 = 1000;

/// How right are the blackouts that `blackout` reports? The guest knows: it reads its own TSC all the time.
///
/// Runs live updates and compares, guest by guest. Exit code 1 if a live update failed or a figure is further
/// off than its stated error.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Live updates to run
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Write the comparisons to FILE, as a list of JSON objects
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the table into FILE, such as docs/accuracy.md, in the place of an earlier one by the same command
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Folder for recordings and reports [default: a new one in the cache]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    update: LiveUpdate,
}

/// One guest in one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Comparison {
    run: u32,
    guest: String,
    /// What the guest saw.
    guest_gap_ns: u64,
    /// What `blackout` says.
    blackout_ns: u64,
    /// What `blackout` says of its error.
    error_ns: u64,
    /// The part of it that is not the guest's world switches.
    clock_error_ns: u64,
}

impl Comparison {
    /// Of one guest; `Err` says what is missing.
    fn of(run: u32, guest: &GuestResult, report: &Value) -> Result<Self, String> {
        let name = &guest.name;
        let missing = |what: &str| format!("run {run}, guest {name}: {what}");
        let hz = report.pointer("/clock/hz").and_then(Value::as_u64);
        let hz = hz.ok_or_else(|| missing("the report has no clock"))?;
        let guest_gap_ns = guest.blackout_ns(hz).ok_or_else(|| missing("it saw no gap on all its vCPUs"))?;
        let mut vms = report["vms"].as_array().into_iter().flatten();
        let vm = vms.find(|vm| vm["name"] == *name).ok_or_else(|| missing("the report does not know it"))?;
        let why = vm["why"].as_str().unwrap_or("it does not say why");
        // Anything else is a bound, or nothing.
        if vm["status"] != "measured" {
            return Err(missing(&format!("its blackout was not measured: {why}")));
        }
        let figure = |key: &str| {
            let unknown = || missing(&format!("no {key}: {why}"));
            vm[key].as_u64().ok_or_else(unknown)
        };
        let error_ns = figure("error_ns")?;
        Ok(Self {
            run,
            guest: name.clone(),
            guest_gap_ns,
            blackout_ns: figure("blackout_ns")?,
            error_ns,
            clock_error_ns: error_ns.saturating_sub(vm["switch_ns"].as_u64().unwrap_or(0)),
        })
    }

    fn off_ns(&self) -> u64 {
        self.blackout_ns.abs_diff(self.guest_gap_ns)
    }

    /// `blackout`'s figure less the guest's.
    fn difference_ns(&self) -> i128 {
        i128::from(self.blackout_ns) - i128::from(self.guest_gap_ns)
    }

    fn is_right(&self) -> bool {
        let off_ns = self.off_ns();
        off_ns <= self.error_ns && off_ns <= self.guest_gap_ns / GAP_PARTS
    }

    fn is_close(&self) -> bool {
        self.off_ns() <= self.clock_error_ns.saturating_add(WORLD_SWITCHES_NS)
    }
}

/// Runs the command.
///
/// # Errors
/// When the host cannot do its part.
pub fn main(options: &Options) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let config = KernelConfig::default();
    options.update.check(&cache, &[(&Request::Newest, &config)], &[])?;
    let kernel = kernel::resolve(&cache, &Request::Newest, &config)?;
    let binaries = binaries::build()?;
    let out = cache.results(options.out.as_deref())?;
    let release = kernel.release.clone();
    let lab = options.update.prepare(&cache, (kernel.clone(), kernel), Vec::new(), &binaries, out)?;
    let scratch = cache.temporary()?;
    let share = scratch.path().join("share");
    let (mut comparisons, mut failures) = (Vec::new(), Vec::new());
    for run in 1..=options.runs {
        let suffix = format!("-{run}");
        let finished = lab.run(&suffix, &share)?;
        let reported = Reported::make(&lab, &suffix, finished, &binaries.blackout)?;
        let result = &reported.finished.result;
        if !reported.complete() {
            failures.push(format!("run {run}: {}", result.message));
        }
        for guest in &result.guests {
            match Comparison::of(run, guest, reported.json.as_ref().unwrap_or(&Value::Null)) {
                Ok(comparison) => comparisons.push(comparison),
                Err(missing) => failures.push(missing),
            }
        }
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_vec_pretty(&comparisons)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text = table(&comparisons, &failures);
    print!("{text}");
    let section = format!("Linux {release}, {} CPUs of the lab's machine.\n\n{text}", lab.cpus);
    if let Some(path) = &options.markdown {
        document::keep(path, PREAMBLE, &document::command(), &section)?;
    }
    let right = failures.is_empty() && comparisons.iter().all(Comparison::is_right);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the sections stand under.
const PREAMBLE: &str = include_str!("accuracy.md");

/// The table in Markdown, readable as it is, and what it comes to.
fn table(comparisons: &[Comparison], failures: &[String]) -> String {
    let mut text = String::from(
        "| run | guest | guest's own gap, ms | blackout, ms | difference, us | stated error, us | right |\n\
         |---:|---|---:|---:|---:|---:|---|\n",
    );
    for comparison in comparisons {
        let Comparison { run, guest, guest_gap_ns, blackout_ns, error_ns, .. } = comparison;
        let right = if comparison.is_right() { "yes" } else { "NO" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {run} | {guest} | {} | {} | {} | {} | {right} |",
            thousandths(i128::from(*guest_gap_ns / 1000)),
            thousandths(i128::from(*blackout_ns / 1000)),
            thousandths(comparison.difference_ns()),
            thousandths(i128::from(*error_ns)),
        );
    }
    let _ = writeln!(text, "\n{}", summary(comparisons));
    for failure in failures {
        let _ = writeln!(text, "\nNot compared: {failure}.");
    }
    text
}

fn summary(comparisons: &[Comparison]) -> String {
    let mut differences: Vec<i128> = comparisons.iter().map(Comparison::difference_ns).collect();
    differences.sort_unstable();
    let (Some(least), Some(most)) = (differences.first(), differences.last()) else {
        return "Nothing was compared.".into();
    };
    let median = differences.get(differences.len() / 2).unwrap_or(most);
    let right = comparisons.iter().filter(|comparison| comparison.is_right()).count();
    let close = comparisons.iter().filter(|comparison| comparison.is_close()).count();
    let all = comparisons.len();
    let worst =
        comparisons.iter().map(|c| c.off_ns() as f64 / c.guest_gap_ns.max(1) as f64).fold(0.0, f64::max);
    format!(
        "{right} of {all} right, {close} of {all} within {} us plus the clock's error. \
         Difference {} to {} us, median {} us; at most {:.4} % of the guest's gap.",
        WORLD_SWITCHES_NS / 1000,
        thousandths(*least),
        thousandths(*most),
        thousandths(*median),
        worst * 100.0
    )
}

/// A thousandth of `value`, with three digits behind the point.
fn thousandths(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{:03}", value / 1000, value % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Gap, VcpuResult};
    use serde_json::json;

    fn comparison(blackout_ns: u64, error_ns: u64) -> Comparison {
        Comparison {
            run: 1,
            guest: "vm0".into(),
            guest_gap_ns: 1_000_000_000,
            blackout_ns,
            error_ns,
            clock_error_ns: error_ns / 2,
        }
    }

    #[test]
    fn a_figure_is_right_within_its_error_and_a_thousandth() {
        assert!(comparison(999_950_000, 50_000).is_right());
        assert!(!comparison(999_950_000, 49_999).is_right());
        assert!(!comparison(998_000_000, 5_000_000).is_right(), "an error that covers anything is none");
    }

    #[test]
    fn a_guest_is_found_in_the_report_by_its_name() {
        let mut guest = GuestResult::lost("vm1", String::new());
        let gaps = vec![Gap { start_tsc: 1000, end_tsc: 4000 }];
        guest.vcpus = vec![VcpuResult { id: 0, loops_before: 1, loops_after: 2, registers_lost: 0, gaps }];
        let vm = json!({ "name": "vm1", "status": "measured", "blackout_ns": 990, "error_ns": 20, "switch_ns": 12 });
        let report = json!({ "clock": { "hz": 3_000_000_000u64 }, "vms": [{ "name": "vm0" }, vm] });
        let found = Comparison::of(3, &guest, &report).unwrap();
        assert_eq!((found.guest_gap_ns, found.difference_ns(), found.clock_error_ns), (1000, -10, 8));
        let unknown = json!({ "clock": { "hz": 1 }, "vms": [{ "name": "vm1", "status": "bounded", "why": "it ran before" }] });
        let error = Comparison::of(3, &guest, &unknown).unwrap_err();
        assert_eq!(error, "run 3, guest vm1: its blackout was not measured: it ran before");
        assert!(Comparison::of(3, &guest, &Value::Null).is_err());
    }

    #[test]
    fn the_table_says_what_it_comes_to() {
        let text = table(&[comparison(999_950_000, 50_000), comparison(1_000_001_000, 1000)], &[]);
        assert!(text.contains("| 1 | vm0 | 1000.000 | 999.950 | -50.000 | 50.000 | yes |\n"), "{text}");
        assert!(text.contains("2 of 2 right, 2 of 2 within 200 us plus the clock's error. Difference -50.000 to 1.000 us, median 1.000 us; at most 0.0050 %"));
        assert_eq!(summary(&[]), "Nothing was compared.");
    }
}
