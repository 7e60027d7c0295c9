//! Which part of the kernel a function belongs to: a data file.

use anyhow::{Context, Result};
use serde::Deserialize;

/// Functions that do one thing together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What they do.
    pub name: String,
    /// How much they do is by chance, whoever looks.
    #[serde(default)]
    pub chance: bool,
    /// How their names begin.
    pub functions: Vec<String>,
}

/// The groups that this build knows, in the file's order.
///
/// # Errors
/// When the file is broken, which `tests` below do not let pass.
pub fn groups() -> Result<Vec<Group>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        group: Vec<Group>,
    }
    let file: File = toml::from_str(include_str!("groups.toml")).context("groups.toml")?;
    Ok(file.group)
}

/// The group of a function: the one with the longest beginning of its name.
pub fn group_of<'a>(groups: &'a [Group], function: &str) -> Option<&'a Group> {
    let longest = |group: &Group| {
        let fitting = group.functions.iter().filter(|begin| function.starts_with(begin.as_str()));
        fitting.map(String::len).max()
    };
    groups
        .iter()
        .filter_map(|group| Some((longest(group)?, group)))
        .max_by_key(|(length, _)| *length)
        .map(|(_, group)| group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_longest_beginning_counts() {
        let groups = groups().unwrap();
        let of = |function| group_of(&groups, function).map(|group| group.name.as_str());
        assert_eq!(of("ftrace_check_record"), Some("function tracing"));
        assert_eq!(of("__ftrace_set_clr_event_nolock"), Some("trace events and rings"));
        assert_eq!(of("compute_subprog_args"), Some("verifier"));
        assert_eq!(of("bpf_int_jit_compile"), Some("BPF otherwise"));
        assert_eq!(of("vfs_read"), None);
        assert!(groups.iter().any(|group| group.chance));
    }

    #[test]
    fn no_beginning_is_empty_or_in_two_groups() {
        let groups = groups().unwrap();
        let mut seen = BTreeSet::new();
        for begin in groups.iter().flat_map(|group| &group.functions) {
            assert!(!begin.is_empty() && seen.insert(begin), "{begin}");
        }
    }
}
