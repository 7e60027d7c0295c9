//! Words that the documents do not use, each with the words to use instead.

use super::markdown::{line_at, prose};
use std::path::Path;

/// Reads the list: a line `WORDS = INSTEAD` each; `#` begins a comment.
pub fn parse(list: &str) -> Vec<(&str, &str)> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(words, instead)| (words.trim(), instead.trim()))
        .collect()
}

/// Returns one message for each place where the document at `path` uses words of the list. Code, quoted output and
/// generated text are not looked at.
pub fn problems(path: &Path, text: &str, list: &[(&str, &str)]) -> Vec<String> {
    // A phrase may go on in the next line.
    let prose = prose(text, false).to_ascii_lowercase().replace('\n', " ");
    let mut problems = Vec::new();
    for (words, instead) in list {
        for (offset, found) in prose.match_indices(&words.to_ascii_lowercase()) {
            let before = prose.get(..offset).and_then(|text| text.chars().next_back());
            let after = prose.get(offset + found.len()..).and_then(|text| text.chars().next());
            if ![before, after].into_iter().flatten().any(char::is_alphanumeric) {
                let line = line_at(text, offset);
                problems.push(format!("{}:{line}: \"{words}\": say {instead}", path.display()));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_words_are_found_in_prose() {
        let list = parse("# comment\nnobody = baseline\nwho looks = the profiler  # old\n\n");
        assert_eq!(list, [("nobody", "baseline"), ("who looks", "the profiler")]);
        let text = "Nobody, `nobody`, nobodyness.\nIt asks who\nlooks.\n\n    nobody\n\n## `cargo lab x`\n\nnobody\n";
        let found = problems(Path::new("a.md"), text, &list);
        assert_eq!(found, ["a.md:1: \"nobody\": say baseline", "a.md:2: \"who looks\": say the profiler"]);
    }
}
