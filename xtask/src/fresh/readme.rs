//! The README's commands, as one user types them.

use super::root::{FreshRoot, User};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use toolbox::needs::INSTALL;

/// The README's two commands.
const COMMANDS: [&str; 2] = ["cargo lab", "cargo xtask test"];

/// Something that was run, and how long it took.
pub struct Run {
    /// The line that was typed.
    pub what: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs the commands, and for an ordinary user the line that each prints when packages are missing, as root. What they
/// print goes to files of `out`.
///
/// # Errors
/// When a command fails, or asks for packages twice.
pub fn commands(root: &FreshRoot, user: User, out: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut timed = |user: User, line: &str, log: &Path| {
        let _ = fs::remove_file(log);
        let started = Instant::now();
        let ended = root.run(user, line, log);
        runs.push(Run { what: line.to_owned(), took: started.elapsed() });
        ended
    };
    for command in COMMANDS {
        let file = |what: &str| {
            let user = if user == User::Root { "root" } else { "ordinary" };
            out.join(format!("{user}-{}{what}.log", command.replace(' ', "-")))
        };
        if user == User::Ordinary {
            let refused = file("-refused");
            ensure!(
                timed(user, command, &refused).is_err(),
                "`{command}` misses no package on a fresh machine: this proves nothing"
            );
            let printed = fs::read_to_string(&refused).unwrap_or_default();
            let line = wanted(&printed).with_context(|| {
                format!("`{command}` failed and names no packages: see {}", refused.display())
            })?;
            timed(User::Root, &line, &file("-packages"))?;
        }
        let log = file("");
        if let Err(error) = timed(user, command, &log) {
            let printed = fs::read_to_string(&log).unwrap_or_default();
            match wanted(&printed) {
                Some(line) => bail!("`{command}` asks for packages it did not name at first: {line}"),
                None => return Err(error),
            }
        }
    }
    Ok(runs)
}

/// The line that installs what is missing, as a command printed it.
fn wanted(printed: &str) -> Option<String> {
    let mut lines =
        printed.lines().filter_map(|line| Some(line.get(line.find(INSTALL)?..)?.trim().to_owned()));
    lines.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_commands() {
        let readme = include_str!("../../../README.md");
        for command in COMMANDS {
            let is_it = |line: &str| line.split('#').next().is_some_and(|typed| typed.trim() == command);
            assert!(readme.lines().any(|line| line.starts_with("    ") && is_it(line)), "{command}");
        }
    }

    #[test]
    fn the_line_to_type_is_found() {
        let printed = "lab: cargo lab needs packages that are not installed; as root, run:\n  \
            apt-get install -y --no-install-recommends make bc\n";
        assert_eq!(wanted(printed).unwrap(), "apt-get install -y --no-install-recommends make bc");
        assert_eq!(wanted("error: x\n"), None);
    }
}
