//! What a fleet of many hosts costs a Prometheus: series, memory, disk, rules, dashboards. The hosts' textfiles are
//! served by one small server, a path for each host.

use super::{
    Fleet, folder,
    queries::{of_dashboards, of_rules},
    server::{Api, Server, free_port},
    tools,
};
use crate::workspace::{self, run};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use toolbox::program;

/// How often every host is scraped.
const INTERVAL_S: u64 = 15;
/// How many times, before anything is measured.
const SCRAPES: u64 = 8;

/// Files by path.
type Files = Arc<HashMap<String, Vec<u8>>>;

/// Makes the fleet up, lets Prometheus scrape it, and says what it took.
///
/// # Errors
/// When something cannot be started, or Prometheus says no.
pub fn measure(hosts: u32) -> Result<()> {
    let (fleet, programs) = (Fleet::build()?, tools::programs()?);
    let dir = folder("scale")?;
    let textfiles = dir.join("textfiles");
    let count = hosts.to_string();
    run(fleet.command().args(["--hosts", &count, "--updates", "2"]).arg("--textfiles").arg(&textfiles))?;
    let files = read(&textfiles)?;
    let bytes: usize = files.values().map(Vec::len).sum();
    let port = serve(Arc::new(files.clone()))?;
    let (config, web) = (dir.join("prometheus.yml"), free_port()?);
    fs::write(&config, configuration(files.keys(), port, web)?)?;
    let (log, data) = (dir.join("prometheus.log"), dir.join("data"));
    let mut prometheus = program::command(programs.join("prometheus"));
    prometheus.arg(format!("--config.file={}", config.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", data.display()));
    let _server = Server::start(prometheus.arg(format!("--web.listen-address=127.0.0.1:{web}")), &log)?;
    let api = Api::wait(web, &log)?;
    thread::sleep(Duration::from_secs(INTERVAL_S * SCRAPES));

    let mut text = format!("{hosts} hosts, scraped every {INTERVAL_S} s for {} s\n", INTERVAL_S * SCRAPES);
    let mut line = |what: &str, value: String| writeln!(text, "{what:<44} {value:>14}");
    let series = api.number("prometheus_tsdb_head_series")?;
    let memory = api.number("process_resident_memory_bytes")?;
    line("textfile, bytes a host", (bytes / files.len().max(1)).to_string())?;
    line("series", series.to_string())?;
    line("series a host", format!("{:.1}", series / f64::from(hosts)))?;
    line("resident memory, MiB", format!("{:.0}", memory / 1_048_576.0))?;
    line("resident memory, bytes a series", format!("{:.0}", memory / series))?;
    line(
        "samples a second",
        format!(
            "{:.0}",
            api.number("rate(prometheus_tsdb_head_samples_appended_total{type=\"float\"}[1m])")?
        ),
    )?;
    line("processors", format!("{:.2}", api.number("rate(process_cpu_seconds_total[1m])")?))?;
    line("hosts that answered", api.number("sum(up{job=\"node\"})")?.to_string())?;
    line(
        "slowest group of rules, s",
        format!("{:.3}", api.number("max(prometheus_rule_group_last_duration_seconds)")?),
    )?;
    let (place, seconds) = slowest(&api)?;
    line("slowest query of a dashboard, s", format!("{seconds:.3}"))?;
    writeln!(text, "  ({place})")?;
    println!("{text}");
    Ok(())
}

fn slowest(api: &Api) -> Result<(String, f64)> {
    let mut slowest = (String::new(), 0.0);
    for (place, query) in of_dashboards()?.into_iter().chain(of_rules(api)?) {
        let started = Instant::now();
        api.query(&query)?;
        let seconds = started.elapsed().as_secs_f64();
        if seconds > slowest.1 {
            slowest = (place, seconds);
        }
    }
    Ok(slowest)
}

fn read(dir: &Path) -> Result<HashMap<String, Vec<u8>>> {
    let mut files = HashMap::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let name = format!("/{}", entry.file_name().to_string_lossy());
        files.insert(name, fs::read(entry.path().join("blackout.prom"))?);
    }
    Ok(files)
}

fn configuration<'a>(hosts: impl Iterator<Item = &'a String>, port: u16, web: u16) -> Result<String> {
    let rules = workspace::root()?.join("dashboards/prometheus/blackout.rules.yml");
    let mut text = format!(
        "global: {{scrape_interval: {INTERVAL_S}s, evaluation_interval: {INTERVAL_S}s}}\nrule_files: ['{}']\nscrape_configs:\n  \
         - job_name: prometheus\n    static_configs: [{{targets: ['127.0.0.1:{web}']}}]\n  \
         - job_name: node\n    static_configs:\n",
        rules.display()
    );
    for host in hosts {
        let name = host.trim_start_matches('/');
        writeln!(
            text,
            "      - {{targets: ['127.0.0.1:{port}'], labels: {{instance: {name}, __metrics_path__: {host}}}}}"
        )?;
    }
    Ok(text)
}

/// Serves the files as long as this process lives; gives the port.
fn serve(files: Files) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let files = files.clone();
            // A client that goes away is no concern.
            thread::spawn(move || answer(&stream, &files));
        }
    });
    Ok(port)
}

fn answer(mut stream: &TcpStream, files: &Files) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let path = request.split(' ').nth(1)?.to_owned();
    while !lines.next()?.ok()?.is_empty() {}
    let body = files.get(&path)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()
}
