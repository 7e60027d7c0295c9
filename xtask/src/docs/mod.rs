//! The documents: which there are, and the checks of their links, words and generated tables.

mod book;
mod links;
mod markdown;
pub mod reference;
mod words;

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of the book.
const BOOK: &str = "docs";
/// Documents outside the book whose links and words are checked. Everything in [`BOOK`] is checked as well.
const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
/// Folders of the checkout: code spans of the documents that are paths into them must exist.
const FOLDERS: [&str; 11] = [
    "dashboards",
    "docs",
    "fixtures",
    "fuzz",
    "lab",
    "lab-plugin",
    "profiler",
    "profiler-common",
    "profiler-ebpf",
    "toolbox",
    "xtask",
];
/// Words that the documents do not use.
const WORDS: &str = "docs/style-words.txt";

/// Checks links and words of all documents, then builds the book.
///
/// # Errors
/// When a link is dead, a document uses a listed word, or the book does not build.
pub fn check() -> Result<()> {
    let root = workspace::root()?;
    let documents = documents(&root)?;
    let list = fs::read_to_string(root.join(WORDS)).with_context(|| format!("cannot read {WORDS}"))?;
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let mut problems =
        book::unlisted(&documents, &read(&Path::new(BOOK).join("SUMMARY.md")).unwrap_or_default());
    let exists = |path: &Path| root.join(path).exists();
    let words = words::parse(&list);
    for path in &documents {
        let text = read(path).with_context(|| format!("cannot read {}", path.display()))?;
        problems.extend(links::problems(path, &text, Path::new(BOOK), &exists, &read));
        problems.extend(links::dead_paths(path, &text, &FOLDERS, &exists));
        problems.extend(words::problems(path, &text, &words));
    }
    if !problems.is_empty() {
        bail!("{} problems in the documents:\n  {}", problems.len(), problems.join("\n  "));
    }
    eprintln!("xtask: links and words of {} documents are as they should be", documents.len());
    book::build(&root)
}

/// All documents, relative to the checkout, in order.
fn documents(root: &Path) -> Result<Vec<PathBuf>> {
    let mut documents: Vec<PathBuf> = DOCUMENTS.iter().map(PathBuf::from).collect();
    let mut folders = vec![PathBuf::from(BOOK)];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(root.join(&folder)).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    documents.sort();
    Ok(documents)
}
