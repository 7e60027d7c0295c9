//! `cargo lab overhead`: what looking costs, by the workload's own clock.

use crate::document;
use crate::instructions;
use crate::kernel::{self, Kernel, Request};
use crate::kernel_config::KernelConfig;
use crate::live_update::LiveUpdate;
use crate::plan::{Luo, Observer, Workload};
use crate::reports::Reported;
use crate::result::{LabResult, Outcome};
use crate::run::{Finished, Lab};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolbox::binaries::{self, Binaries};
use toolbox::cache::Cache;
use toolbox::needs::{self, Need};

/// Who looks, in the order of the table. The first one is what the others are held against.
const OBSERVERS: [(Observer, &str); 7] = [
    (Observer::Nobody, "nobody"),
    (Observer::Blackout, "blackout"),
    (Observer::Hot, HOT),
    (Observer::FunctionGraph, "function_graph"),
    (Observer::Bpftrace, "bpftrace, kprobes"),
    (Observer::BpftraceTrampolines, "bpftrace, trampolines"),
    (Observer::ThenBpftrace, THEN),
];
const THEN: &str = "blackout, then bpftrace";
const HOT: &str = "blackout --hot";
/// What the sections stand under.
const PREAMBLE: &str = include_str!("overhead.md");

/// What does looking cost? The same live update with nobody looking, with blackout, and with others.
///
/// Exact with --deterministic. Exit code 1 if a live update failed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Put the table into FILE, such as docs/overhead.md, in the place of an earlier one by the same command
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Folder for recordings and reports [default: a new one in the cache]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Count instructions instead of time, exactly and by function of the kernel, with nobody looking and with blackout
    /// alone; all functions are then in instructions.json
    #[arg(long, requires = "deterministic")]
    instructions: bool,
    #[command(flatten)]
    update: LiveUpdate,
}

/// One live update.
struct Row {
    name: &'static str,
    /// Its window can be held against others': nothing but who looks is different.
    comparable: bool,
    /// What the workload's clock read, ticks.
    clock: Clock,
    /// The report, if blackout looked.
    report: Option<Value>,
}

/// What the workload's clock read, by name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Clock(BTreeMap<String, u64>);

impl Clock {
    /// Out of everything that was printed.
    fn read(text: &str) -> Self {
        let reading = |line: &str| {
            let (_, rest) = line.split_once("LAB: tsc ")?;
            let (what, ticks) = rest.trim_end().split_once(' ')?;
            Some((what.to_owned(), ticks.parse().ok()?))
        };
        Self(text.lines().filter_map(reading).collect())
    }

    fn at(&self, what: &str) -> Result<u64> {
        self.0
            .get(what)
            .copied()
            .with_context(|| format!("the workload did not say when it reached `{what}`"))
    }

    fn between(&self, from: &str, to: &str) -> Result<u64> {
        Ok(self.at(to)?.saturating_sub(self.at(from)?))
    }
}

/// Runs the command.
///
/// # Errors
/// When the host cannot do its part.
pub fn main(options: &Options) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let plan = options.update.plan()?;
    let Workload::Luo(load) = &plan.workload else {
        bail!("the judge is the lab's own workload: leave --workload out")
    };
    ensure!(plan.guests.is_empty(), "guests would disturb each other's clock: give --guests 0");
    let others: &[&[Need]] = if options.instructions { &[] } else { &[needs::BPFTRACE] };
    let config = KernelConfig::default();
    options.update.check(&cache, &[(&Request::Newest, &config)], others)?;
    let kernel = kernel::resolve(&cache, &Request::Newest, &config)?;
    let binaries = binaries::build()?;
    let out = cache.results(options.out.as_deref())?;
    let pages = pages(load);
    let (text, complete) = match options.instructions {
        true => (instructions::measure(&options.update, &cache, &kernel, &binaries, &out)?, true),
        false => times(&options.update, &cache, &kernel, &binaries, &out, pages)?,
    };
    print!("{text}");
    let memory = options.update.memory_bytes() >> 20;
    let section =
        format!("Linux {}, {memory} MiB, {pages} pages of 4 KiB preserved.\n\n{text}", kernel.release);
    if let Some(path) = &options.markdown {
        document::keep(path, PREAMBLE, &document::command(), &section)?;
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn pages(load: &Luo) -> u64 {
    u64::from(load.sessions) * u64::from(load.files) * load.file_bytes.div_ceil(4096)
}

/// The table of all observers, and whether all of their live updates came through.
fn times(
    update: &LiveUpdate,
    cache: &Cache,
    kernel: &Kernel,
    binaries: &Binaries,
    out: &Path,
    pages: u64,
) -> Result<(String, bool)> {
    let scratch = cache.temporary()?;
    let share = scratch.path().join("share");
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (observer, name) in OBSERVERS {
        eprintln!("lab: {name} looks");
        let kernels = (kernel.clone(), kernel.clone());
        let lab = update.prepare_for(observer, cache, kernels, binaries, out.into())?;
        let suffix = format!("-{}", name.replace([' ', ','], "-"));
        let finished = lab.run(&suffix, &share)?;
        match row(&lab, &suffix, name, observer, finished, binaries) {
            Ok(row) => rows.push(row),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    let mut text = table(&rows, pages)?;
    for failure in &failures {
        writeln!(text, "\nNot compared: {failure}.")?;
    }
    Ok((text, failures.is_empty()))
}

/// Fails if a live update did.
///
/// # Errors
/// Says how it ended.
pub fn require_complete(observer: &str, result: &LabResult) -> Result<()> {
    ensure!(
        result.outcome == Outcome::Complete,
        "with {observer} looking, the live update failed: {}",
        result.message
    );
    Ok(())
}

fn row(
    lab: &Lab,
    suffix: &str,
    name: &'static str,
    observer: Observer,
    finished: Finished,
    binaries: &Binaries,
) -> Result<Row> {
    let serial = lab.file("serial", suffix, "log");
    let mut said =
        fs::read_to_string(&serial).with_context(|| format!("cannot read {}", serial.display()))?;
    let result = &finished.result;
    for command in result.outgoing.iter().chain(&result.incoming) {
        said.push('\n');
        said.push_str(&command.output);
    }
    require_complete(name, result)?;
    let report = if observer.is_blackout() {
        Reported::make(lab, suffix, finished, &binaries.blackout)?.json
    } else {
        None
    };
    Ok(Row { name, comparable: !observer.needs_bpftrace(), clock: Clock::read(&said), report })
}

/// The table in Markdown, and what it comes to.
fn table(rows: &[Row], pages: u64) -> Result<String> {
    let (first, others) = rows.split_first().context("nobody looked")?;
    let hz = rows.iter().find_map(|row| row.report.as_ref()?.pointer("/clock/hz")?.as_u64());
    let hz = hz.context("no report says the clock's frequency")?;
    let ns = |ticks: u64| u128::from(ticks) * 1_000_000_000 / u128::from(hz);
    let span = |row: &Row, from: &str, to: &str| row.clock.between(from, to).map(ns);
    let preserve = |row: &Row| row.clock.at("preserving").map(ns);
    let retrieve = |row: &Row| span(row, "restore", "retrieved");
    let window = |row: &Row| span(row, "reboot", "finished");
    // With the larger initramfs preserving takes longer, whoever looks: those rows are held against the one that has it
    // too, where bpftrace comes only after the restore.
    let then = rows.iter().find(|row| row.name == THEN);
    let base = |row: &Row| if row.comparable { first } else { then.unwrap_or(first) };
    let mut text = String::from(
        "| who looks | preserve, ms | a page, ns | retrieve, ms | a page, ns | look, ms | window, ms |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let (kept, taken, whole) = (preserve(row)?, retrieve(row)?, window(row)?);
        let page = |ns: u128, base: u128| {
            let more = i128::try_from(ns)? - i128::try_from(base)?;
            anyhow::Ok(format!("{:+}", more / i128::from(pages.max(1))))
        };
        let whole = if row.comparable { milliseconds(whole) } else { String::new() };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {whole} |",
            row.name,
            milliseconds(kept),
            page(kept, preserve(base(row))?)?,
            milliseconds(taken),
            page(taken, retrieve(base(row))?)?,
            milliseconds(span(row, "look", "restore")?),
        )?;
    }
    writeln!(text)?;
    let extra = |row: &Row| -> Result<i128> {
        let more = |with: u128, without: u128| with as i128 - without as i128;
        let base = base(row);
        Ok(more(preserve(row)?, preserve(base)?) + more(retrieve(row)?, retrieve(base)?))
    };
    for row in others.iter().filter(|row| row.comparable) {
        let Some(report) = &row.report else { continue };
        // In this mode all of it is in the window, and nothing is beside it.
        let loading =
            ["load_ns", "attach_ns"].iter().filter_map(|key| report["overhead"][key].as_u64()).sum::<u64>();
        writeln!(
            text,
            "{}: loading and attaching took {} ms, {:.2} % of the window with nobody looking.",
            row.name,
            milliseconds(loading.into()),
            loading as f64 / window(first)? as f64 * 100.0,
        )?;
    }
    writeln!(text)?;
    if let Some(hot) = others.iter().find(|row| row.name == HOT) {
        let own = extra(hot)?.max(1);
        for row in others.iter().filter(|row| row.report.is_none()) {
            let times = extra(row)? as f64 / own as f64;
            writeln!(text, "Counting pages with {} costs {times:.1} times what `--hot` costs.", row.name)?;
        }
        for counted in hot.report.iter().filter_map(|report| report["hot"].as_array()).flatten() {
            let how =
                counted["carried_by"].as_str().map_or("counted".to_owned(), |by| format!("told by {by}"));
            let (probe, phase, count) = (&counted["probe"], &counted["phase"], &counted["count"]);
            writeln!(text, "- {probe}, {phase}, {how}: {count}")?;
        }
        if let Some(overhead) = hot.report.as_ref().map(|report| &report["overhead"]) {
            writeln!(text, "\nWhat the report itself says that `--hot` cost: `{overhead}`.")?;
        }
    }
    for row in others {
        let (Ok(theirs), Ok(functions)) =
            (span(row, "bpftrace", "bpftrace-attached"), row.clock.at("functions"))
        else {
            continue;
        };
        let ours = span(row, "look", "restore")?;
        writeln!(
            text,
            "\nIn one run, from its start to everything attached: blackout {} ms, with {functions} functions and more; \
             bpftrace, with the entries and returns of the same functions, {} ms: {:.1} times as long.",
            milliseconds(ours),
            milliseconds(theirs),
            theirs as f64 / ours.max(1) as f64,
        )?;
    }
    Ok(text)
}

fn milliseconds(ns: u128) -> String {
    format!("{}.{:03}", ns / 1_000_000, ns / 1000 % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(name: &'static str, preserving: u64, retrieve: u64, report: Option<Value>) -> Row {
        let text = format!(
            "[1.0] LAB: tsc preserving {preserving}\nLAB: tsc reboot 1000\nnoise\nLAB: tsc look 5000\n\
             LAB: tsc restore 6000\nLAB: tsc retrieved {}\nLAB: tsc finished {}\n",
            6000 + retrieve,
            7000 + retrieve,
        );
        Row { name, comparable: true, clock: Clock::read(&text), report }
    }

    #[test]
    fn costs_are_held_against_those_of_hot() {
        let report = json!({ "clock": { "hz": 1_000_000_000u64 }, "hot": [], "overhead": {} });
        let rows = [
            row("nobody", 100, 1000, None),
            row("blackout --hot", 200, 1300, Some(report)),
            row("function_graph", 500, 2600, None),
        ];
        let text = table(&rows, 10).unwrap();
        assert!(text.contains("function_graph costs 5.0 times what"), "{text}");
        assert!(text.contains("| blackout --hot | 0.000 | +10 | 0.001 | +30 | 0.001 | 0.007 |\n"), "{text}");
        assert!(table(&rows[..1], 10).is_err(), "no clock");
    }

    #[test]
    fn what_has_the_larger_initramfs_is_held_against_its_like() {
        let report = || Some(json!({ "clock": { "hz": 1_000_000_000u64 }, "hot": [], "overhead": {} }));
        let large =
            |name, preserving, report| Row { comparable: false, ..row(name, preserving, 1000, report) };
        let rows = [
            row("nobody", 100, 1000, None),
            row(HOT, 200, 1000, report()),
            large("bpftrace, kprobes", 800, None),
            large(THEN, 500, report()),
        ];
        let text = table(&rows, 10).unwrap();
        assert!(text.contains("bpftrace, kprobes costs 3.0 times what"), "{text}");
    }

    #[test]
    fn a_reading_is_found_in_what_was_printed() {
        let clock = Clock::read("[    1.2] LAB: tsc reboot 123\nLAB: tsc broken\nLAB: done 0");
        assert_eq!(clock, Clock([("reboot".to_owned(), 123)].into()));
        assert!(clock.at("finished").is_err());
    }
}
