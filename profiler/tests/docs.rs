//! The commands of the documents: blocks marked `sh run` work, and print the block marked `text output` after them.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

/// Documents with such blocks.
const DOCUMENTS: [&str; 3] = ["README.md", "docs/first-run.md", "docs/report-json.md"];

/// A fenced block: the words after the fence, and its text.
struct Block<'a> {
    kind: &'a str,
    text: String,
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let text =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            blocks.push(Block { kind, text });
        }
    }
    blocks
}

/// Runs `script` in `dir` and returns its standard output.
fn run(dir: &Path, script: &str) -> String {
    let blackout = Path::new(env!("CARGO_BIN_EXE_blackout")).parent().unwrap();
    let path = format!("{}:{}", blackout.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("sh").current_dir(dir).env("PATH", path).args(["-ec", script]).output().unwrap();
    assert!(
        output.status.success(),
        "{script}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that `printed` has the lines of `quoted` in their order. A line `[...]` stands for any lines; all other lines
/// follow one another.
fn assert_quoted(document: &str, quoted: &str, printed: &str) {
    let mut rest = printed.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut skipping = false;
    for line in quoted.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if line == "[...]" {
            skipping = true;
            continue;
        }
        let found = if skipping { rest.any(|printed| printed == line) } else { rest.next() == Some(line) };
        assert!(found, "{document}: the command does not print, at this place: {line}");
        skipping = false;
    }
}

#[test]
fn the_commands_of_the_documents_work() {
    for document in DOCUMENTS {
        let text = fs::read_to_string(checkout().join(document)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        symlink(checkout().join("fixtures").canonicalize().unwrap(), dir.path().join("fixtures")).unwrap();
        let (mut runs, mut printed) = (0, String::new());
        for block in blocks(&text) {
            match block.kind {
                "sh run" => {
                    printed = run(dir.path(), &block.text);
                    runs += 1;
                }
                "text output" => assert_quoted(document, &block.text, &printed),
                _ => {}
            }
        }
        assert!(runs > 0, "{document} has no block to run");
    }
}

/// Every command line in code of a document that begins with `blackout`, without comments.
fn command_lines(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let mut fenced = false;
    // Quoted output is no command.
    let mut output = false;
    let code = text.lines().filter_map(|line| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            output = fenced && line.trim_start().starts_with("```text");
        }
        let command = line.split(" #").next().unwrap_or_default().trim();
        (fenced && !output || line.starts_with("    "))
            .then_some(command)
            .filter(|line| line.starts_with("blackout "))
    });
    let commands = code.flat_map(|line| line.split("&&").flat_map(|line| line.split(';')));
    commands.map(str::trim).filter(|command| command.starts_with("blackout ")).map(str::to_owned).collect()
}

#[test]
fn the_commands_of_the_documents_exist_with_their_options() {
    let help = |command: &str| run(&checkout(), &format!("blackout {command} --help"));
    let overview = help("");
    let mut documents = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    let docs = fs::read_dir(checkout().join("docs")).unwrap();
    documents.extend(docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap())));
    let mut checked = 0;
    for document in documents.iter().filter(|name| name.ends_with(".md") && *name != "docs/commands.md") {
        let text = fs::read_to_string(checkout().join(document)).unwrap();
        for line in command_lines(&text) {
            let ours = line.split(" -- ").next().unwrap_or_default();
            let mut words = ours.split_whitespace().skip(1);
            let name = words.next().unwrap_or_default();
            let listed = overview.lines().any(|line| line.trim_start().starts_with(&format!("{name} ")));
            assert!(listed, "{document}: no command {name}: {line}");
            let help = help(name);
            for option in words.filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{document}: {name} has no option {option}: {line}");
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked} options were found");
}

#[test]
fn no_document_with_such_blocks_is_left_out() {
    let docs = fs::read_dir(checkout().join("docs")).unwrap();
    let names = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    for name in names.filter(|name| name.ends_with(".md") && !DOCUMENTS.contains(&name.as_str())) {
        let text = fs::read_to_string(checkout().join(&name)).unwrap();
        assert!(blocks(&text).iter().all(|block| block.kind != "sh run"), "{name} is not in the list");
    }
}
