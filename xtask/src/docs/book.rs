//! Builds the book with mdBook.

use super::{BOOK, links};
use crate::{tools, workspace};
use anyhow::Result;
use std::path::{Path, PathBuf};
use toolbox::cache::Cache;

/// Version of mdBook.
const MDBOOK: &str = "0.5.4";

/// Builds the book into cargo's target folder.
///
/// # Errors
/// When mdBook cannot be built, or refuses the book.
pub fn build(root: &Path) -> Result<()> {
    let mdbook = tools::installed(&Cache::open()?, "mdbook", MDBOOK)?;
    let to = workspace::target("book")?;
    workspace::run(workspace::command(mdbook)?.arg("build").arg(root.join(BOOK)).arg("--dest-dir").arg(&to))?;
    eprintln!("xtask: the book is {}", to.join("index.html").display());
    Ok(())
}

/// Returns one message for each page of the book that its table of contents does not list.
pub fn unlisted(documents: &[PathBuf], summary: &str) -> Vec<String> {
    let listed: Vec<PathBuf> =
        links::links(summary).iter().map(|(_, link)| Path::new(BOOK).join(link)).collect();
    let pages = documents.iter().filter(|path| path.starts_with(BOOK) && !path.ends_with("SUMMARY.md"));
    let missing = pages.filter(|page| !listed.contains(page));
    missing.map(|page| format!("{BOOK}/SUMMARY.md does not list {}", page.display())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_listed() {
        let documents = ["README.md", "docs/SUMMARY.md", "docs/a.md", "docs/in/b.md"].map(PathBuf::from);
        let summary = "# Summary\n\n- [A](a.md)\n";
        assert_eq!(unlisted(&documents, summary), ["docs/SUMMARY.md does not list docs/in/b.md"]);
    }
}
