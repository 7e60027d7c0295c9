//! Documents of figures: a section for each command that made some.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

const HEADING: &str = "\n## ";

/// The command as it was given, without where it wrote.
pub fn command() -> String {
    let mut words = vec!["cargo lab".to_owned()];
    let mut arguments = std::env::args().skip(1);
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--json" | "--markdown" | "--out" => drop(arguments.next()),
            _ => words.push(word),
        }
    }
    words.join(" ")
}

/// Puts the section of `command` into the document at `path`, below `preamble`.
///
/// # Errors
/// When it cannot be written.
pub fn keep(path: &Path, preamble: &str, command: &str, section: &str) -> Result<()> {
    let earlier = fs::read_to_string(path).unwrap_or_default();
    fs::write(path, with_section(&earlier, preamble, command, section))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The document with this command's section replaced or added; the preamble, and what sections it has itself, are always
/// this version's.
fn with_section(document: &str, preamble: &str, command: &str, section: &str) -> String {
    let heading = format!("`{command}`");
    let of_preamble = |title: &str| preamble.contains(&format!("{HEADING}{title}\n"));
    let mut sections: Vec<(String, String)> = document
        .split(HEADING)
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
        .filter(|(title, _)| !of_preamble(title))
        .map(|(title, body)| (title.to_owned(), body.trim().to_owned()))
        .collect();
    match sections.iter_mut().find(|(title, _)| *title == heading) {
        Some((_, body)) => *body = section.trim().to_owned(),
        None => sections.push((heading, section.trim().to_owned())),
    }
    let sections = sections.iter().map(|(title, body)| format!("{HEADING}{title}\n\n{body}\n"));
    sections.fold(preamble.trim_end().to_owned() + "\n", |document, section| document + &section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_same_commands() {
        let with = |document: &str, command, section| with_section(document, "# Figures\n", command, section);
        let first = with("", "cargo lab accuracy", "old\n");
        let both = with(&first, "cargo lab accuracy --deterministic", "other");
        let again = with(&both, "cargo lab accuracy", "new");
        assert_eq!(
            again,
            "# Figures\n\n## `cargo lab accuracy`\n\nnew\n\n## `cargo lab accuracy --deterministic`\n\nother\n"
        );
        assert_eq!(with(&again, "cargo lab accuracy", "new"), again);
    }

    #[test]
    fn sections_of_the_preamble_are_there_once() {
        let old = with_section("", "# Figures\n\n## Why\n\nOld.\n", "a", "1");
        let new = with_section(&old, "# Figures\n\n## Why\n\nNew.\n", "a", "1");
        assert_eq!(new, "# Figures\n\n## Why\n\nNew.\n\n## `a`\n\n1\n");
    }

    #[test]
    fn the_documents_say_by_hand_what_their_sources_say() {
        for (document, preamble) in [
            (include_str!("../../docs/overhead.md"), include_str!("overhead.md")),
            (include_str!("../../docs/accuracy.md"), include_str!("accuracy.md")),
        ] {
            let by_hand = document.split("\n## `").next().unwrap_or_default();
            assert_eq!(by_hand.trim_end(), preamble.trim_end(), "written by hand: keep both the same");
        }
    }
}
