//! The command as its users meet it: help, messages, exit codes.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

use std::{
    fs,
    io::pipe,
    path::Path,
    process::{Command, Output},
};

use profiler_report::recording::{Body, Frame, Side, Writer, codec, frame::Kernel};

fn blackout() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blackout"));
    // The help is wrapped to the terminal's width; here there is none.
    command.env("COLUMNS", "100");
    command
}

/// Runs `blackout ARGUMENTS` in `dir`; gives exit code, standard output and standard error.
fn run(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = blackout().current_dir(dir).args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A header that is sound in itself, of format version `version`.
fn header(version: u16) -> Vec<u8> {
    let mut header = [b"BLACKOUT".as_slice(), &version.to_le_bytes(), &[0; 2]].concat();
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header
}

/// Writes a recording that says little: one kernel, and nothing that happened in it.
fn write_poor_recording(path: &Path) {
    let kernel = Kernel { release: "7.3.4".into(), tsc_hz: Some(2_000_000_000), ..Kernel::default() };
    let mut writer = Writer::create(path).unwrap();
    writer.write(&Frame::bare(Side::Incoming, Body::Kernel(kernel))).unwrap();
    writer.sync().unwrap();
}

/// Names of the subcommands, as the help lists them.
fn subcommands(help: &str) -> Vec<&str> {
    let list = help.split_once("Commands:\n").unwrap().1.split("\n\n").next().unwrap();
    list.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

#[test]
fn help() {
    let here = Path::new(".");
    let (code, help, _) = run(here, &["--help"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("help", help);
    for name in subcommands(&help) {
        let (code, help, _) = run(here, &[name, "--help"]);
        assert_eq!(code, Some(0), "{name}");
        insta::assert_snapshot!(format!("help-{name}"), help);
    }
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [&[] as &[&str], &["report"], &["no-such-command"], &["report", "a", "--format", "x"]] {
        let (code, stdout, stderr) = run(Path::new("."), arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains("--help"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_file_that_gives_no_report_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(dir.path().join(name), content).unwrap();
    let mut damaged = header(codec::VERSION);
    damaged[15] ^= 1;
    write("empty", b"");
    write("foreign", b"# just some text, longer than a header\n");
    write("newer", &header(codec::VERSION + 1));
    write("damaged", &damaged);
    write("bare", &header(codec::VERSION));
    let messages = ["missing", "empty", "foreign", "newer", "damaged", "bare", "."].map(|name| {
        let (code, stdout, stderr) = run(dir.path(), &["report", name]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{name}: {stderr}");
        stderr
    });
    insta::assert_snapshot!("report-errors", messages.concat());
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    write_poor_recording(&dir.path().join("poor"));
    let (code, _, stderr) = run(dir.path(), &["report", "poor", "--output", "no/such/dir/report"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("cannot write no/such/dir/report"), "{stderr}");
}

#[test]
fn strict_tells_a_poor_recording_after_writing_its_report() {
    let dir = tempfile::tempdir().unwrap();
    write_poor_recording(&dir.path().join("poor"));
    let (code, relaxed, _) = run(dir.path(), &["report", "poor", "--format", "json"]);
    assert_eq!(code, Some(0));
    let (code, strict, _) = run(dir.path(), &["report", "poor", "--format", "json", "--strict"]);
    assert_eq!(code, Some(5));
    assert_eq!(relaxed, strict);
    let report: serde_json::Value = serde_json::from_str(&strict).unwrap();
    assert_eq!(report["schema"], "blackout.report/1");
    assert_ne!(report["outcome"], "complete");
}

#[test]
fn export_replaces_the_textfile_and_counts_what_it_cannot_read() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let plain = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/plain.blackout");
    let mut damaged = header(codec::VERSION);
    damaged[15] ^= 1;
    fs::write(dir.path().join("damaged"), damaged).unwrap();
    fs::write(dir.path().join("host.prom"), "old").unwrap();
    let (code, stdout, stderr) = run(dir.path(), &["export", "--openmetrics", "host.prom", plain, "damaged"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert!(stderr.contains("damaged"), "{stderr}");
    let text = fs::read_to_string(dir.path().join("host.prom")).unwrap();
    assert!(text.contains("blackout_recordings{outcome=\"unreadable\"} 1\n"), "{text}");
    assert!(text.contains("blackout_window_seconds{definition=\"host\"} 2.843638142\n"), "{text}");
    // For node_exporter, which is another user.
    let mode = fs::metadata(dir.path().join("host.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let (code, _, stderr) = run(dir.path(), &["export", "--openmetrics", "other.prom", "missing"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("missing") && !dir.path().join("other.prom").exists(), "{stderr}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let output = blackout().arg("schema").stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// `blackout` where any user may run it, with a recording that any user may read.
fn for_anyone() -> (tempfile::TempDir, impl Fn(&[&str]) -> Output) {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    const NOBODY: u32 = 65534;
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("blackout");
    // By another process: a child that another test starts meanwhile would inherit the descriptor that this one writes to,
    // and a file that is open for writing cannot be run (ETXTBSY).
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_blackout")).arg(&program).status().unwrap();
    assert!(copied.success());
    write_poor_recording(&dir.path().join("0000000000000000.blackout"));
    for entry in fs::read_dir(dir.path()).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let root = rustix::process::geteuid().is_root();
    let path = dir.path().to_owned();
    (dir, move |arguments| {
        let mut command = Command::new(&program);
        command.current_dir(&path).args(arguments);
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output().unwrap()
    })
}

#[test]
fn reading_takes_no_privileges_and_recording_says_which_it_takes() {
    let (_dir, run) = for_anyone();
    let file = "0000000000000000.blackout";
    for arguments in
        [&["report", file] as &[&str], &["last", "--state", "."], &["dump", file], &["budget", "--help"]]
    {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for (command, needed) in [("arm", "CAP_BPF"), ("collect", "CAP_PERFMON"), ("kexec", "CAP_SYS_BOOT")] {
        let output = run(&[command]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(said.contains(needed) && said.contains("run it as root"), "{command}: {said}");
    }
}

#[test]
fn what_is_written_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    write_poor_recording(&dir.path().join("poor"));
    assert_eq!(run(dir.path(), &["report", "poor", "--output", "report.txt"]).0, Some(0));
    let mode = dir.path().join("report.txt").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
