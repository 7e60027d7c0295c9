//! `blackout compare`, `budget` and `trend` as CI meets them: outputs, exit codes, messages.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use profiler_report::{
    recording::read,
    report::{self, Outcome, Report},
};

/// Runs `blackout ARGUMENTS` in `dir`; gives exit code, standard output and standard error.
fn run(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blackout"));
    let Output { status, stdout, stderr } = command.current_dir(dir).args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// The report of a real live update, its phases of initcalls cut to what a test needs.
fn real() -> Report {
    let recording = read(&fs::read(fixture("plain.blackout")).unwrap()).unwrap();
    let mut report = report::build(&recording).unwrap();
    for phase in &mut report.phases {
        phase.spans.truncate(5);
    }
    report
}

/// Writes 10 runs into `dir`: the real one with a machine's noise, and `restore` slower by `slower` %. Run
/// `i` of a side is recorded in the second `2 * i + odd`.
fn write_side(dir: &Path, real: &Report, odd: u64, slower: u64) {
    fs::create_dir_all(dir).unwrap();
    for i in 0..10 {
        let mut report = real.clone();
        report.run.id = format!("{:016x}", 2 * i + odd);
        report.run.recorded_at = format!("2026-11-22T00:00:{:02}Z", 2 * i + odd);
        let mut sum = 0;
        for (at, phase) in report.phases.iter_mut().enumerate() {
            // Some tenths of a per cent, in another order in every phase.
            let noise = (i * 7 + odd * 3 + at as u64 * 5) % 11;
            let planted = if phase.id == "restore" { phase.duration_ns * slower / 100 } else { 0 };
            let more = phase.duration_ns * noise / 2000 + planted;
            phase.duration_ns += more;
            if let Some(span) = phase.spans.iter_mut().find(|span| span.self_ns.is_some()) {
                span.self_ns = span.self_ns.map(|ns| ns + more);
                span.duration_ns = span.duration_ns.map(|ns| ns + more);
            }
            sum += phase.duration_ns;
        }
        report.window.as_mut().unwrap().duration_ns = sum;
        fs::write(dir.join(format!("{i}.json")), report::json(&report).unwrap()).unwrap();
    }
}

/// A folder with `base`, `same` and `slower`, ten runs each.
fn sides() -> tempfile::TempDir {
    let (dir, real) = (tempfile::tempdir().unwrap(), real());
    for (name, odd, slower) in [("base", 0, 0), ("same", 1, 0), ("slower", 1, 5)] {
        write_side(&dir.path().join(name), &real, odd, slower);
    }
    dir
}

#[test]
fn a_planted_regression_exits_3_after_everything_is_written() {
    let dir = sides();
    let formats =
        ["json=out.json", "markdown=out.md", "junit=out.xml", "github=out.txt", "benchfmt=out.bench"];
    let mut arguments = vec!["compare", "base", "--format", "text"];
    arguments.extend(formats.iter().flat_map(|format| ["--format", format]));
    arguments.extend(["--", "slower"]);
    let (code, text, stderr) = run(dir.path(), &arguments);
    assert_eq!(code, 3, "{text}{stderr}");
    assert!(text.starts_with("REGRESSION: "), "{text}");

    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("out.json")).unwrap();
    assert_eq!(json["schema"], "blackout.compare/1");
    assert_eq!(json["verdict"], "regression");
    let phases = json["phases"].as_array().unwrap();
    let regressed: Vec<&str> = phases
        .iter()
        .filter(|row| row["verdict"] == "regression")
        .map(|row| row["phase"].as_str().unwrap())
        .collect();
    assert_eq!(regressed, ["restore"]);
    let validator = jsonschema::validator_for(&profiler_compare::schema()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");

    assert!(read("out.md").starts_with("## &#10060; Blackout: regression"));
    let xml = read("out.xml");
    let suite = roxmltree::Document::parse(&xml).unwrap();
    let failed: Vec<&str> = suite
        .descendants()
        .filter(|node| node.has_tag_name("failure"))
        .map(|node| node.parent().unwrap().attribute("name").unwrap())
        .collect();
    assert_eq!(failed, ["restore"]);
    assert!(read("out.txt").contains("::error title=blackout%3A restore::restore is longer by"));
    let bench = read("out.bench");
    let lines = |of: &str| bench.lines().filter(|line| line.starts_with(of)).count();
    assert_eq!(lines("BenchmarkWindow/build=base 1 "), 10);
    assert_eq!(lines("BenchmarkPhase/phase=restore/build=new 1 "), 10);

    assert_eq!(run(dir.path(), &["compare", "base", "--fail-on", "never", "--", "slower"]).0, 0);
}

#[test]
fn equal_builds_exit_0() {
    let dir = sides();
    let (code, text, _) = run(dir.path(), &["compare", "base", "--", "same/*.json"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("EQUIVALENT: the blackout is as long as before"), "{text}");
}

#[test]
fn what_does_not_decide_exits_0_or_4_and_says_what_would() {
    let dir = sides();
    let files = ["base/0.json", "base/1.json", "--fail-on", "regression", "--", "slower/0.json"];
    let (code, text, _) = run(dir.path(), &[&["compare"], files.as_slice()].concat());
    assert_eq!(code, 0);
    assert!(text.starts_with("INCONCLUSIVE: ") && text.contains("4 runs a side"), "{text}");
    let files = ["base/0.json", "--fail-on", "inconclusive", "--", "slower/0.json"];
    assert_eq!(run(dir.path(), &[&["compare"], files.as_slice()].concat()).0, 4);
}

#[test]
fn what_cannot_be_told_says_why_and_passes_only_where_that_is_wanted() {
    let dir = sides();
    // Ten runs of a side, each changed in the same way.
    let changed = |name: &str, change: fn(&mut Report)| {
        fs::create_dir(dir.path().join(name)).unwrap();
        for i in 0..10 {
            let path = format!("{i}.json");
            let mut report: Report =
                serde_json::from_slice(&fs::read(dir.path().join("slower").join(&path)).unwrap()).unwrap();
            change(&mut report);
            fs::write(dir.path().join(name).join(path), report::json(&report).unwrap()).unwrap();
        }
    };
    changed("bigger", |report| report.run.cpus = 64);
    changed("lossy", |report| report.loss.boot_trace = Some(9));
    changed("torn", |report| report.loss.recording = 1);
    changed("failed", |report| report.outcome = Outcome::Failed);
    changed("empty", |report| {
        report.outcome = Outcome::Partial;
        report.window = None;
        report.phases.clear();
    });
    for (new, why, strict) in [
        ("bigger", "the machines differ: x86_64 with 2 CPUs and 1 nodes, x86_64 with 64 CPUs", 4),
        ("lossy", "10 runs left out of", 5),
        ("torn", "no usable run of the new side", 5),
        ("failed", "no usable run of the new side", 5),
        ("empty", "no usable run of the new side", 5),
    ] {
        let compare = |more: &[&str]| run(dir.path(), &[&["compare", "base"], more, &["--", new]].concat());
        let (code, text, stderr) = compare(&[]);
        assert!(code == 0 && text.starts_with("INCONCLUSIVE: "), "{new}: {code} {text}{stderr}");
        assert!(text.contains(why), "{new}: {text}");
        assert_eq!(compare(&["--fail-on", "inconclusive"]).0, 4, "{new}");
        assert_eq!(compare(&["--fail-on", "inconclusive", "--strict"]).0, strict, "{new}");
    }
    // Machines that differ on purpose.
    assert_eq!(run(dir.path(), &["compare", "base", "--mixed-machines", "--", "bigger"]).0, 3);
    // The same files on both sides: no alarm, and it is said.
    let (code, text, _) = run(dir.path(), &["compare", "base", "--fail-on", "inconclusive", "--", "base"]);
    assert!(code == 0 && text.starts_with("EQUIVALENT: "), "{code}: {text}");
    assert!(text.contains("10 runs are on both sides"), "{text}");
}

#[test]
fn strict_tells_lossy_runs() {
    let dir = sides();
    let path = dir.path().join("base/0.json");
    let lossy = fs::read_to_string(&path).unwrap().replacen("\"boot_trace\": 0", "\"boot_trace\": 9", 1);
    fs::write(&path, lossy).unwrap();
    let (code, text, _) = run(dir.path(), &["compare", "base", "--strict", "--", "same"]);
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("9 records of the boot trace lost"), "{text}");
    assert_eq!(run(dir.path(), &["compare", "base", "--", "same"]).0, 0);
    // A regression is certain all the same.
    assert_eq!(run(dir.path(), &["compare", "base", "--strict", "--", "slower"]).0, 3);
}

#[test]
fn nothing_to_compare_is_an_error_that_names_it() {
    let dir = sides();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(dir.path().join("text"), "hello").unwrap();
    fs::write(dir.path().join("other.json"), "{}").unwrap();
    let older =
        fs::read_to_string(dir.path().join("base/0.json")).unwrap().replacen("\"window\"", "\"widow\"", 1);
    fs::write(dir.path().join("odd.json"), older.replacen("\"outcome\"", "\"income\"", 1)).unwrap();
    for (path, message) in [
        ("nowhere", "cannot read nowhere"),
        ("empty", "empty: no recording"),
        ("no*thing", "no*thing: no recording"),
        ("text", "text: neither a recording nor a report"),
        ("other.json", "other.json: neither a recording nor a report"),
        ("odd.json", "odd.json: not a report that this version reads"),
    ] {
        let (code, stdout, stderr) = run(dir.path(), &["compare", "base", "--", path]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{path}: {stderr}");
        assert!(stderr.contains(message), "{path}: {stderr}");
    }
    for arguments in [&["compare", "base"] as &[&str], &["compare", "base", "--", "same", "--strict"]] {
        assert_eq!(run(dir.path(), arguments).0, 2, "{arguments:?}");
    }
}

#[test]
fn budgets_hold_one_run_and_compare_with_a_baseline() {
    let dir = sides();
    let write = |text: &str| fs::write(dir.path().join("budget.toml"), text).unwrap();
    let check = |more: &[&str]| run(dir.path(), &[&["budget", "budget.toml"], more].concat());
    write("[window]\nmax = \"10 s\"\n[phase.restore]\nmax = \"1 ms\"\n");
    let (code, text, _) = check(&["base/0.json", "--format", "text", "--format", "junit=out.xml"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("held      window") && text.contains("EXCEEDED  phase restore"), "{text}");
    assert!(fs::read_to_string(dir.path().join("out.xml")).unwrap().contains("failures=\"1\""));
    let recording = fixture("plain.blackout");
    assert_eq!(check(&[recording.to_str().unwrap()]).0, 3);

    write("[phase.restore]\nmax_increase = \"2 %\"\n");
    let (code, _, stderr) = check(&["slower"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("--baseline"), "{stderr}");
    assert_eq!(check(&["slower", "--baseline", "base"]).0, 3);
    assert_eq!(check(&["same", "--baseline", "base"]).0, 0);
    assert_eq!(check(&["slower/0.json", "--baseline", "base", "--fail-on", "inconclusive"]).0, 4);
    let (code, json, _) = check(&["same", "--baseline", "base", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["schema"]), (0, &"blackout.budget/1".into()));
    let validator = jsonschema::validator_for(&profiler_compare::budget::schema()).unwrap();
    assert!(validator.is_valid(&json), "{json}");

    // Also beside a comparison, which alone would pass.
    write("[phase.restore]\nmax = \"1 ms\"\n");
    let (code, text, _) = run(dir.path(), &["compare", "base", "--budget", "budget.toml", "--", "same"]);
    assert_eq!(code, 3);
    assert!(text.starts_with("EQUIVALENT") && text.contains("EXCEEDED  phase restore"), "{text}");

    write("[phase.restart]\nmax = \"1 ms\"\n");
    let (code, _, stderr) = check(&["same"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("budget.toml") && stderr.contains("no such phase"), "{stderr}");
}

#[test]
fn a_hostile_report_steers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut report = real();
    let evil = "x\u{1b}[2J\n::error::pwned <script>|`a`".to_owned();
    report.run.host.clone_from(&evil);
    report.run.cpus = 9;
    report.incoming.as_mut().unwrap().cmdline += &evil;
    report.phases[3].spans[0].name = evil;
    fs::write(dir.path().join("evil.json"), report::json(&report).unwrap()).unwrap();
    fs::write(dir.path().join("good.json"), report::json(&real()).unwrap()).unwrap();
    for format in ["text", "markdown", "junit", "github", "benchfmt"] {
        let (code, out, _) =
            run(dir.path(), &["compare", "good.json", "--format", format, "--", "evil.json"]);
        assert_eq!(code, 0, "{format}");
        assert!(!out.contains('\u{1b}') && !out.contains("\n::error::"), "{format}: {out}");
        assert!(format == "text" || format == "github" || !out.contains("<script>"), "{format}: {out}");
    }
}

#[test]
fn trends_are_tables() {
    let dir = sides();
    let (code, text, _) = run(dir.path(), &["trend", "base", "slower"]);
    assert_eq!(code, 0);
    assert!(text.starts_with("1 builds, 20 runs"), "{text}");
    let (_, json, _) = run(dir.path(), &["trend", "base", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(jsonschema::validator_for(&profiler_compare::trend::schema()).unwrap().is_valid(&json));
}

/// Runs a script of docs/ci.md in `dir`; gives its exit code and output.
fn script(dir: &Path, text: &str, arguments: &[&str]) -> (i32, String) {
    let blackout = Path::new(env!("CARGO_BIN_EXE_blackout")).parent().unwrap();
    let path = format!("{}:{}", blackout.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    let output = command
        .current_dir(dir)
        .env("PATH", path)
        .args(["-ec", text, "script"])
        .args(arguments)
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_recipes_of_the_documentation_work() {
    let ci = fs::read_to_string(fixture("../docs/ci.md")).unwrap();
    let block = |from: &str| ci.split_once(from).unwrap().1.split_once("```\n").unwrap().0.to_owned();
    let dir = sides();
    let shell = block("```sh\n");
    let (code, out) = script(dir.path(), &shell, &["base", "same"]);
    assert!(code == 0 && out.ends_with("no longer than before\n"), "{code}: {out}");
    let (code, out) = script(dir.path(), &shell, &["base", "slower"]);
    assert!(code == 3 && out.ends_with("longer: see above\n"), "{code}: {out}");
    assert!(dir.path().join("compare.xml").exists() && dir.path().join("compare.json").exists());

    // The workflow's step, whose lines are indented.
    let workflow = block("```yaml\n");
    let step = workflow.split_once("- name: Compare\n        run: |\n").unwrap().1;
    let step = step.split_once("      - name").unwrap().0;
    let runs = dir.path().join("runs");
    fs::create_dir(&runs).unwrap();
    fs::rename(dir.path().join("base"), runs.join("base")).unwrap();
    fs::rename(dir.path().join("slower"), runs.join("new")).unwrap();
    let (code, out) = script(dir.path(), step, &[]);
    assert!(code == 3 && out.contains("::error title=blackout%3A restore::"), "{code}: {out}");
    assert!(dir.path().join("summary.md").exists());

    fs::write(dir.path().join("budget.toml"), block("```toml\n")).unwrap();
    let budget = ["budget", "budget.toml", "same", "--baseline", "runs/base", "--fail-on", "inconclusive"];
    let (code, text, stderr) = run(dir.path(), &budget);
    assert_eq!(code, 0, "{text}{stderr}");
}
