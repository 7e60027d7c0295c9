//! Relative links and anchors of the documents, and paths of the checkout in their code spans. Links to other sites are
//! not followed.

use super::markdown::{anchors, line_at, prose, spans};
use std::path::{Component, Path, PathBuf};

/// Returns one message for each dead link in the document at `path`, and for each that leads out of the `book` from
/// inside: mdBook publishes nothing else.
pub fn problems(
    path: &Path,
    text: &str,
    book: &Path,
    exists: &dyn Fn(&Path) -> bool,
    read: &dyn Fn(&Path) -> Option<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (line, link) in links(text) {
        let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
        if file.contains("://") || file.starts_with("mailto:") {
            continue;
        }
        let target = if file.is_empty() { path.to_owned() } else { beside(path, file) };
        let fault = if !exists(&target) {
            "no such file"
        } else if path.starts_with(book) && !target.starts_with(book) {
            "leads out of the book"
        } else if !anchor.is_empty()
            && !anchors(&read(&target).unwrap_or_default()).iter().any(|a| a == anchor)
        {
            "no such heading"
        } else {
            continue;
        };
        problems.push(format!("{}:{line}: link to {link}: {fault}", path.display()));
    }
    problems
}

/// Returns one message for each code span in the document at `path` that is a path into one of the `folders` of the
/// checkout, such as `profiler/src`, and does not exist.
pub fn dead_paths(path: &Path, text: &str, folders: &[&str], exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let is_path = |span: &str| {
        let folder = span.split_once('/').map(|(folder, _)| folder);
        folder.is_some_and(|folder| folders.contains(&folder)) && !span.contains([' ', '*', '<'])
    };
    let dead = spans(text).into_iter().filter(|(_, span)| is_path(span) && !exists(Path::new(span)));
    dead.map(|(line, span)| format!("{}:{line}: no such file: {span}", path.display())).collect()
}

/// Returns line and target of each link and image: `[text](target)`, `[name]: target`.
pub fn links(text: &str) -> Vec<(usize, String)> {
    let prose = prose(text, true);
    let mut links = Vec::new();
    for (offset, _) in prose.match_indices("](") {
        let rest = prose.get(offset + 2..).unwrap_or_default();
        // A title may follow the target.
        let target = rest.split([')', ' ', '\n']).next().unwrap_or_default();
        links.push((line_at(&prose, offset), target.to_owned()));
    }
    for (number, line) in prose.lines().enumerate() {
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            links.push((number + 1, target.trim().to_owned()));
        }
    }
    links
}

/// Returns the path that `link` names in the document at `path`.
fn beside(path: &Path, link: &str) -> PathBuf {
    let mut target = path.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir if target.pop() => {}
            Component::CurDir => {}
            part => target.push(part),
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        let files =
            [("README.md", "# Top\n"), ("docs/a.md", "# A page\n"), ("docs/b.svg", ""), ("docs/in/c.md", "")];
        let find = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path);
        let read = |path: &Path| find(path).map(|(_, text)| (*text).to_owned());
        problems(Path::new(path), text, Path::new("docs"), &|path| find(path).is_some(), &read)
    }

    #[test]
    fn live_links_pass() {
        let text = "[a](docs/a.md#a-page) ![b](docs/b.svg \"title\") [t](#top) <https://x.y> [x](https://x.y/#z)\n\
            [`code`](docs/in/c.md)\n\n[r]: docs/a.md\n\n    [in](code.md)\n\n`[in](span.md)`\n";
        assert_eq!(of("README.md", text), [] as [&str; 0]);
        assert_eq!(of("docs/in/c.md", "[a](../a.md) [b](./../b.svg)\n"), [] as [&str; 0]);
    }

    #[test]
    fn dead_paths_are_named() {
        let text = "`lab/src`, `lab/gone.rs`, `lab/*.rs`, `cargo lab`, `other/x`, lab/text\n";
        let dead = dead_paths(Path::new("a.md"), text, &["lab"], &|path| path == Path::new("lab/src"));
        assert_eq!(dead, ["a.md:1: no such file: lab/gone.rs"]);
    }

    #[test]
    fn dead_links_are_named() {
        let dead = of("README.md", "# Top\n\n[a](docs/x.md)\n[b](docs/a.md#b)\n\n[r]: y.md\n");
        let expected = [
            "README.md:3: link to docs/x.md: no such file",
            "README.md:4: link to docs/a.md#b: no such heading",
            "README.md:6: link to y.md: no such file",
        ];
        assert_eq!(dead, expected);
        assert_eq!(
            of("docs/a.md", "[r](../README.md)"),
            ["docs/a.md:1: link to ../README.md: leads out of the book"]
        );
    }
}
