//! Running `blackout-lab`, and reading what it left.

use serde_json::Value;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use tempfile::TempDir;
use toolbox::{exec, program};

/// One invocation of the lab that has ended.
pub struct Run {
    out: TempDir,
    pub exit_code: i32,
    stdout: String,
    pub stderr: String,
    /// `report.json`; null if there is none.
    pub report: Value,
}

/// Runs the lab to its end, with files alone: no virtual machine goes across.
pub fn lab(arguments: &[&str]) -> Run {
    lab_with_guests(&[&["--guests", "0"], arguments].concat())
}

/// Runs the lab to its end, with the guests that the arguments ask for.
pub fn lab_with_guests(arguments: &[&str]) -> Run {
    lab_while(arguments, |_, _| {})
}

/// Likewise, with exactly these arguments; `heard` is called with each line of progress and the machine that runs.
pub fn lab_while(arguments: &[&str], mut heard: impl FnMut(&str, Qemu)) -> Run {
    let out = tempfile::tempdir().unwrap();
    let mut command = program::command(env!("CARGO_BIN_EXE_blackout-lab"));
    command.args(arguments).arg("--out").arg(out.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Past the test harness, which would keep it back: a kernel may have to be built first.
    let mut progress = std::io::stderr();
    let mut stderr = String::new();
    // Read beside the progress: a report may be larger than a pipe.
    let mut pipe = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        writeln!(progress, "{line}").unwrap();
        heard(&line, Qemu { lab: child.id() });
        stderr += &line;
        stderr.push('\n');
    }
    let exit_code = child.wait().unwrap().code().unwrap();
    let stdout = reader.join().unwrap().unwrap();
    let report = json(&out.path().join("report.json"));
    Run { out, exit_code, stdout, stderr, report }
}

impl Run {
    /// A file among the results.
    pub fn file(&self, name: &str) -> PathBuf {
        self.out.path().join(name)
    }

    /// A JSON file among the results; null if there is none.
    pub fn json(&self, name: &str) -> Value {
        json(&self.file(name))
    }

    /// `result.json`.
    pub fn result(&self) -> Value {
        json(&self.file("result.json"))
    }

    /// What went to standard output, which must be JSON.
    pub fn stdout_json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The failure with this function.
    pub fn failure(&self, function: &str) -> &Value {
        let failures = self.report["failures"].as_array().unwrap();
        let found = failures.iter().find(|failure| failure["function"] == function);
        found.unwrap_or_else(|| panic!("no failure of {function}: {self}"))
    }

    /// What holds for every report, also that of a failed live update.
    pub fn check_sound(&self) {
        self.check_report("");
    }

    /// Likewise for one of several runs.
    pub fn check_report(&self, suffix: &str) {
        let path = self.file(&format!("report{suffix}.json"));
        let report = json(&path);
        assert!(report.is_object(), "no {}: {self}", path.display());
        let invalid: Vec<String> = schema().iter_errors(&report).map(|error| error.to_string()).collect();
        assert!(invalid.is_empty(), "not by the schema: {invalid:?}");
        check_partition(&report);

        let recording = self.file(&format!("recording{suffix}.blackout"));
        let again = blackout(&["report", recording.to_str().unwrap(), "--format", "json"]);
        assert!(again == fs::read_to_string(path).unwrap(), "computed again, the report differs: {self}");
    }
}

/// What a failed test was about is worth a look.
impl Drop for Run {
    fn drop(&mut self) {
        self.out.disable_cleanup(std::thread::panicking());
    }
}

/// Phases fill the window: each begins where the one before ends.
fn check_partition(report: &Value) {
    let phases = report["phases"].as_array().unwrap();
    if report["window"].is_null() {
        assert!(phases.is_empty(), "phases of no window: {phases:?}");
        return;
    }
    let mut at_ns = 0;
    let mut unobserved_ns = 0;
    for phase in phases {
        assert_eq!(phase["start_ns"].as_i64(), Some(at_ns), "{}", phase["id"]);
        let duration_ns = phase["duration_ns"].as_u64().unwrap();
        at_ns += i64::try_from(duration_ns).unwrap();
        unobserved_ns += if phase["id"] == "unobserved" { duration_ns } else { 0 };
    }
    assert_eq!(report["window"]["duration_ns"].as_i64(), Some(at_ns));
    assert_eq!(report["unobserved_ns"].as_u64(), Some(unobserved_ns));
}

/// What a failed assertion shows.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = fs::read_to_string(self.file("report.txt")).unwrap_or_default();
        let failures = &self.report["failures"];
        write!(f, "exit code {}\n{}\n{text}\nfailures {failures:#}", self.exit_code, self.stderr)
    }
}

/// Ids of the phases, in their order.
pub fn phase_ids(report: &Value) -> Vec<&str> {
    let phases = report["phases"].as_array().unwrap();
    phases.iter().map(|phase| phase["id"].as_str().unwrap()).collect()
}

/// The phase with this id.
pub fn phase<'a>(report: &'a Value, id: &str) -> &'a Value {
    let mut phases = report["phases"].as_array().unwrap().iter();
    phases.find(|phase| phase["id"] == id).unwrap_or_else(|| panic!("no phase {id}"))
}

/// The spans of a phase, or of a span, with those inside them.
pub fn tree(node: &Value) -> Vec<&Value> {
    let spans = node["spans"].as_array().unwrap();
    spans.iter().flat_map(|span| std::iter::once(span).chain(tree(span))).collect()
}

/// Notes that a live update is repeated, and why, for `cargo xtask test`, which shows it beside the test.
pub fn note_second_try(why: &str) {
    eprintln!("second try: {why}");
    if let Some(path) = std::env::var_os("BLACKOUT_TRIES") {
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        writeln!(file, "{why}").unwrap();
    }
}

/// The machine that the lab runs.
#[derive(Clone, Copy)]
pub struct Qemu {
    lab: u32,
}

impl Qemu {
    /// Sends it a signal. False if it has ended already.
    pub fn kill(self, signal: i32) -> bool {
        let ours = |entry: fs::DirEntry| -> Option<i32> {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // PID (NAME) STATE PARENT ...; the name may hold anything, so from its last bracket on.
            let parent: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            (parent == self.lab && stat.contains("(qemu-system")).then_some(process)
        };
        let children: Vec<i32> = fs::read_dir("/proc").unwrap().flatten().filter_map(ours).collect();
        assert!(children.len() < 2, "not one QEMU: {children:?}");
        // SAFETY: a signal to a process. The lab may reap it meanwhile, but the kernel gives its number to no other
        // process before it has gone through all numbers.
        children.first().is_some_and(|process| unsafe { libc::kill(*process, signal) } == 0)
    }
}

fn json(path: &Path) -> Value {
    fs::read(path).map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap())
}

fn schema() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = blackout(&["schema"]);
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    })
}

/// Runs the profiler's program as the lab built it.
fn blackout(arguments: &[&str]) -> String {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| toolbox::binaries::build().unwrap().blackout);
    exec::output(program::command(program).args(arguments)).unwrap()
}

/// A recording among the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name).canonicalize().unwrap()
}
