//! Checks what the library crates depend on, so that a heavy dependency does not come in by the back door.

use crate::workspace::cargo;
use anyhow::{Result, ensure};
use toolbox::exec;

/// Crates that a report must not need: async runtime, BPF loader, TLS, terminal, HTTP.
const NOT_FOR_REPORTS: [&str; 5] = ["tokio", "aya-obj", "rustls", "ratatui", "ureq"];

/// Checks the trees of `profiler-report` and `profiler-mark`.
///
/// # Errors
/// When a crate depends on what it must not.
pub fn check() -> Result<()> {
    let report = tree("profiler-report")?;
    let unwanted: Vec<&str> = names(&report).filter(|name| NOT_FOR_REPORTS.contains(name)).collect();
    ensure!(
        unwanted.is_empty(),
        "profiler-report depends on {}: move what needs it into a crate above",
        unwanted.join(", ")
    );
    let mark = tree("profiler-mark")?;
    let foreign: Vec<&str> = foreign(&mark).collect();
    ensure!(
        foreign.is_empty(),
        "profiler-mark depends on {}, but a VMM that links it gets no dependencies",
        foreign.join(", ")
    );
    Ok(())
}

/// Returns the normal dependencies of a package, direct and indirect, one a line.
fn tree(package: &str) -> Result<String> {
    exec::output(cargo()?.args(["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none"]))
}

/// Names of the packages in a tree.
fn names(tree: &str) -> impl Iterator<Item = &str> {
    tree.lines().filter_map(|line| line.split(' ').next())
}

/// Names of the packages in a tree that are not in this workspace: those without a path.
fn foreign(tree: &str) -> impl Iterator<Item = &str> {
    tree.lines().filter(|line| !line.contains(" (/")).filter_map(|line| line.split(' ').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_the_workspace_have_a_path() {
        let tree =
            "profiler-mark v0.1.0 (/src/profiler-mark)\nserde v1.0.228\nserde_derive v1.0.228 (proc-macro)";
        assert_eq!(names(tree).collect::<Vec<_>>(), ["profiler-mark", "serde", "serde_derive"]);
        assert_eq!(foreign(tree).collect::<Vec<_>>(), ["serde", "serde_derive"]);
    }
}
