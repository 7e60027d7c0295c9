//! A real Prometheus with a real node_exporter for each host of a small fleet, and one with a real recording: every
//! query of dashboards and rules returns data.

use super::{
    Fleet, folder,
    queries::{of_dashboards, of_rules},
    server::{Api, Server, free_port},
    tools,
};
use crate::workspace::{self, run};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};
use toolbox::{exec, program};

/// Enough hosts for each trouble, and for two kernels with five hosts each.
const HOSTS: &str = "16";
/// The newest kernel's initcalls, so that a rollout is worth an alert.
const SLOWER: &str = "2.5";
/// Looks, a second apart, until data has come through exporters, scrapes and rules, each once a second: a quarter of an
/// hour. They are counted, and not time: on a busy machine scrapes are late, too.
const LOOKS: u32 = 900;
/// Most series that one host may have.
const SERIES: f64 = 128.0;

/// What runs until it is dropped.
struct Running {
    api: Api,
    _servers: Vec<Server>,
}

/// Starts it all and asks every question.
///
/// # Errors
/// When promtool finds fault, or a query returns nothing.
pub fn check(fleet: &Fleet) -> Result<()> {
    let programs = tools::programs()?;
    let rules = workspace::root()?.join("dashboards/prometheus");
    run(program::command(programs.join("promtool"))
        .args(["check", "rules", "blackout.rules.yml"])
        .current_dir(&rules))?;
    run(program::command(programs.join("promtool"))
        .args(["test", "rules", "blackout.rules.test.yml"])
        .current_dir(&rules))?;

    let dir = folder("prometheus")?;
    let textfiles = dir.join("textfiles");
    run(fleet.command().args(["--hosts", HOSTS, "--slower", SLOWER]).arg("--textfiles").arg(&textfiles))?;
    // One export has stopped, and one host is of the lab.
    let old = SystemTime::now() - Duration::from_secs(3 * 86_400);
    File::options().append(true).open(textfiles.join("hv-000015/blackout.prom"))?.set_modified(old)?;
    let recording = workspace::root()?.join("fixtures/plain.blackout");
    fs::create_dir_all(textfiles.join("lab"))?;
    let mut export = program::command(fleet.blackout());
    export.arg("export").arg("--openmetrics").arg(textfiles.join("lab/blackout.prom"));
    run(export.arg(&recording))?;

    let running = start(&programs, &dir, &textfiles)?;
    wait_for_data(&running.api)?;
    bounded(&running.api)?;
    let report = exec::output(
        program::command(fleet.blackout()).args(["report", "--format", "json"]).arg(&recording),
    )?;
    let report: serde_json::Value = serde_json::from_str(&report)?;
    let window_ns = report["window"]["duration_ns"].as_u64().context("a window")?;
    // Also while a scrape of a busy machine is late.
    let seen = running.api.number("last_over_time(blackout_window_seconds{instance=\"lab\"}[1h])")?;
    if seen != window_ns as f64 / 1e9 {
        bail!("Prometheus has a window of {seen} s, and the report one of {window_ns} ns");
    }
    Ok(())
}

fn start(programs: &Path, dir: &Path, textfiles: &Path) -> Result<Running> {
    let mut hosts: Vec<PathBuf> =
        fs::read_dir(textfiles)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    hosts.sort();
    let (mut servers, mut targets) = (Vec::new(), String::new());
    for host in &hosts {
        let name = host.file_name().and_then(|name| name.to_str()).context("a host's name")?;
        let port = free_port()?;
        let mut exporter = program::command(programs.join("prometheus-node-exporter"));
        exporter.args(["--collector.disable-defaults", "--collector.textfile"]);
        exporter.arg(format!("--collector.textfile.directory={}", host.display()));
        exporter.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        servers.push(Server::start(&mut exporter, &dir.join(format!("{name}.log")))?);
        targets += &format!("      - {{targets: ['127.0.0.1:{port}'], labels: {{instance: {name}}}}}\n");
    }
    let rules = workspace::root()?.join("dashboards/prometheus/blackout.rules.yml");
    let config = dir.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n  \
         - job_name: node\n    static_configs:\n{targets}",
        rules.display()
    );
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let (port, log) = (free_port()?, dir.join("prometheus.log"));
    let mut prometheus = program::command(programs.join("prometheus"));
    prometheus.arg(format!("--config.file={}", config.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
    prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    servers.push(Server::start(&mut prometheus, &log)?);
    Ok(Running { api: Api::wait(port, &log)?, _servers: servers })
}

fn wait_for_data(api: &Api) -> Result<()> {
    let mut empty: Vec<(String, String)> = of_dashboards()?.into_iter().chain(of_rules(api)?).collect();
    let queries = empty.len();
    for _ in 0..LOOKS {
        let mut rest = Vec::new();
        // A query that has returned data once is answered: a scrape that is late takes its series away for a while.
        for (place, query) in empty {
            if api.query(&query)?.is_empty() {
                rest.push((place, query));
            }
        }
        empty = rest;
        if empty.is_empty() {
            eprintln!("xtask: each of {queries} queries of dashboards and rules returns data");
            // Rules that fail only show so once they have run.
            return of_rules(api).map(drop);
        }
        thread::sleep(Duration::from_secs(1));
    }
    let list: Vec<String> = empty.iter().map(|(place, query)| format!("{place}: {query}")).collect();
    bail!("{} queries return nothing:\n{}", list.len(), list.join("\n"))
}

fn bounded(api: &Api) -> Result<()> {
    let series = api.number("max(count by (instance) ({__name__=~\"blackout_.+\"}))")?;
    if series > SERIES {
        bail!("a host has {series} series, and may have {SERIES}");
    }
    eprintln!("xtask: a host has at most {series} series");
    let errors = api.number("sum(node_textfile_scrape_error)")?;
    if errors > 0.0 {
        bail!("node_exporter could not read {errors} textfiles");
    }
    Ok(())
}
