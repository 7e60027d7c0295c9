//! Enough of Markdown for the checks: which text is prose, and which headings there are.

/// Begins a generated part of a page; the name follows, then ` -->`.
pub const GENERATED: &str = "<!-- generated: ";
/// Ends a generated part.
pub const END: &str = "<!-- end of generated -->";

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person.
    Prose,
    /// A fenced or indented block.
    Code,
    /// `cargo xtask reference`, or the command that its section is named after: `` ## `cargo lab overhead` ``.
    Generated,
}

/// Returns the kind of each line.
pub fn kinds(text: &str) -> Vec<Kind> {
    let (mut fence, mut generated, mut measured) = (None, false, false);
    let mut previous = (Kind::Prose, true);
    let mut kinds = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|marker| trimmed.starts_with(marker));
        let indented = line.starts_with("    ") && (previous.1 || previous.0 == Kind::Code);
        let kind = match (fence, marker) {
            (Some(open), Some(close)) if open == close => {
                fence = None;
                Kind::Code
            }
            (Some(_), _) => Kind::Code,
            (None, Some(open)) => {
                fence = Some(open);
                Kind::Code
            }
            (None, None) if indented && !trimmed.is_empty() => Kind::Code,
            (None, None) => {
                if line.starts_with("## ") {
                    measured = line.starts_with("## `cargo ");
                }
                generated = (generated || line.starts_with(GENERATED)) && line != END;
                if generated || measured { Kind::Generated } else { Kind::Prose }
            }
        };
        previous = (kind, trimmed.is_empty());
        kinds.push(kind);
    }
    kinds
}

/// Returns the text with everything but prose (and, if `generated`, generated text) made into spaces, code spans
/// included. Lines and offsets stay as they are.
pub fn prose(text: &str, generated: bool) -> String {
    let mut prose = String::new();
    // Length of the run of backticks that opened the code span.
    let mut span = None;
    for (line, kind) in text.lines().zip(kinds(text)) {
        let kept = kind == Kind::Prose || generated && kind == Kind::Generated;
        if !kept || line.trim().is_empty() {
            span = None;
        }
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let ticks = if kept { rest.len() - rest.trim_start_matches('`').len() } else { 0 };
            let taken = if ticks > 0 { ticks } else { c.len_utf8() };
            if ticks > 0 {
                span = match span {
                    None => Some(ticks),
                    Some(open) if open == ticks => None,
                    open => open,
                };
            }
            let visible = kept && ticks == 0 && span.is_none();
            if visible {
                prose.push(c)
            } else {
                prose.extend(std::iter::repeat_n(' ', taken))
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        prose.push('\n');
    }
    prose
}

/// Returns the code spans of prose, each with the number of its line. A span that goes on in the next line is left out.
pub fn spans(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().zip(kinds(text)).enumerate().filter(|(_, (_, kind))| *kind == Kind::Prose);
    // Code and text take turns.
    lines
        .flat_map(|(at, (line, _))| line.split('`').skip(1).step_by(2).map(move |span| (at + 1, span)))
        .collect()
}

/// Returns the number of the line that holds the byte at `offset`.
pub fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Returns the anchors of a document's headings, as mdBook and GitHub name them.
pub fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (line, kind) in text.lines().zip(kinds(text)) {
        let title = line.trim_start_matches('#');
        if kind == Kind::Code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim());
        let repeated = (1..).map(|number| format!("{slug}-{number}"));
        let unique = std::iter::once(slug.clone()).chain(repeated).find(|name| !anchors.contains(name));
        anchors.extend(unique);
    }
    anchors
}

fn slug(title: &str) -> String {
    let characters = title.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ => c.is_alphanumeric().then_some(c),
    });
    characters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A `page`\n\nText `code\nspan` here.\n\n    indented\n\n```sh\nfenced\n```\n\n\
        <!-- generated: x -->\nmade\n<!-- end of generated -->\n\n- item\n  more\n\n## `cargo lab overhead`\n\nmeasured\n\n\
        ## A page\n\n## A `page`\n";

    #[test]
    fn only_prose_is_left() {
        let prose = prose(PAGE, false);
        let words: Vec<&str> = prose.split_whitespace().collect();
        let expected =
            ["#", "A", "Text", "here.", "<!--", "end", "of", "generated", "-->", "-", "item", "more"];
        assert_eq!(words, [expected.as_slice(), &["##", "A", "page", "##", "A"]].concat());
        assert_eq!((prose.len(), prose.lines().count()), (PAGE.len(), PAGE.lines().count()));
    }

    #[test]
    fn headings_have_anchors_once() {
        assert_eq!(anchors(PAGE), ["a-page", "cargo-lab-overhead", "a-page-1", "a-page-2"]);
        assert_eq!(anchors("```\n# no\n```\n## What, then? (x_y)\n"), ["what-then-x_y"]);
    }

    #[test]
    fn spans_have_lines() {
        assert_eq!(spans("a `b` c `d/e`\n\n    `code`\n\n`f`\n"), [(1, "b"), (1, "d/e"), (5, "f")]);
    }

    #[test]
    fn offsets_have_lines() {
        assert_eq!((line_at("a\nb\n", 0), line_at("a\nb\n", 2)), (1, 2));
    }
}
