//! Reading the system's own apt sources, to find its Debian mirror.

use std::fs;
use std::path::Path;

/// A Debian mirror, as the system's sources name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where it is.
    pub uri: String,
    /// Key ring file that signs it, if the sources name one.
    pub signed_by: Option<String>,
}

/// The Debian mirror in `/etc/apt/sources.list` and `sources.list.d`, if there is one.
pub fn system_mirror(etc_apt: &Path) -> Option<Mirror> {
    let parts = fs::read_dir(etc_apt.join("sources.list.d")).into_iter().flatten().flatten();
    let mut files: Vec<_> = parts.map(|entry| entry.path()).collect();
    files.sort();
    files.insert(0, etc_apt.join("sources.list"));
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "list" => from_list(&text),
            "sources" => from_deb822(&text),
            _ => None,
        }
    })
}

/// The first Debian mirror of a file in the one-line format (`sources.list(5)`).
pub fn from_list(text: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let line = line.split('#').next()?.trim().strip_prefix("deb")?;
        let line = line.strip_prefix([' ', '\t'])?.trim();
        let (options, rest) = match line.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", line),
        };
        let mut fields = rest.split_whitespace();
        let (uri, suite) = (fields.next()?, fields.next()?);
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        mirror(uri, suite, signed_by, fields.any(|component| component == "main"))
    })
}

/// The first Debian mirror of a file in deb822 format (`sources.list(5)`).
pub fn from_deb822(text: &str) -> Option<Mirror> {
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    text.split(|line| line.trim().is_empty()).find_map(|stanza| {
        let field = |name: &str| {
            stanza.iter().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then_some(value.trim())
            })
        };
        let has =
            |name, word: &str| field(name).is_some_and(|value| value.split_whitespace().any(|w| w == word));
        if !has("Types", "deb") || field("Enabled") == Some("no") {
            return None;
        }
        // A key may be given in the stanza itself (continuation lines): then apt's own key rings are used.
        let signed_by = field("Signed-By").filter(|value| value.starts_with('/'));
        let suite = field("Suites")?.split_whitespace().next()?;
        let uris = field("URIs")?;
        uris.split_whitespace().find_map(|uri| mirror(uri, suite, signed_by, has("Components", "main")))
    })
}

/// Takes the main archive of Debian, not its security archive, and not other vendors'.
fn mirror(uri: &str, suite: &str, signed_by: Option<&str>, main: bool) -> Option<Mirror> {
    let last = uri.trim_end_matches('/').rsplit('/').next()?;
    // Debian's cloud images: mirror+file:///etc/apt/mirrors/debian.list
    let debian = last == "debian" || last == "debian.list";
    let signed = signed_by.is_some_and(|file| file.contains("debian-archive-keyring"));
    let archive = debian || (signed && !last.contains("security"));
    (main && archive && !suite.ends_with("-security"))
        .then(|| Mirror { uri: uri.into(), signed_by: signed_by.map(Into::into) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(mirror: Option<Mirror>) -> Option<String> {
        mirror.map(|mirror| mirror.uri)
    }

    #[test]
    fn deb822_gives_the_archive() {
        let text = "Types: deb\n# a comment\nURIs: http://security.example/debian-security\n\
            Suites: trixie-security\nComponents: main\nSigned-By: /k/debian-archive-keyring.gpg\n\n\
            Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\n\
            Components: main contrib\nSigned-By: /k/debian-archive-keyring.gpg\n";
        let found = from_deb822(text).unwrap();
        assert_eq!(found.uri, "http://mirror.example/debian");
        assert_eq!(found.signed_by.as_deref(), Some("/k/debian-archive-keyring.gpg"));
    }

    #[test]
    fn deb822_skips_disabled_source_only_and_foreign_stanzas() {
        for text in [
            "Types: deb-src\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\n",
            "Types: deb\nEnabled: no\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\n",
            "Types: deb\nURIs: http://m.example/node\nSuites: x\nComponents: main\nSigned-By: /k/node.gpg\n",
            "Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: contrib\n",
            "",
            ":",
        ] {
            assert_eq!(from_deb822(text), None, "{text}");
        }
    }

    #[test]
    fn one_line_format_gives_the_archive() {
        let text = "# deb http://old.example/debian trixie main\n\
            deb https://vendor.example/apt cloud main\n\
            deb-src http://m.example/debian trixie main\n\
            deb [arch=amd64 signed-by=/k/d.gpg] http://m.example/debian/ trixie main # ours\n";
        let found = from_list(text).unwrap();
        assert_eq!(
            (found.uri.as_str(), found.signed_by.as_deref()),
            ("http://m.example/debian/", Some("/k/d.gpg"))
        );
        let cloud = "deb mirror+file:///etc/apt/mirrors/debian.list trixie main";
        assert_eq!(uri(from_list(cloud)).as_deref(), Some("mirror+file:///etc/apt/mirrors/debian.list"));
        assert_eq!(from_list("deb [ http://m.example/debian sid main\ndeb\ndeb x"), None);
    }

    #[test]
    fn a_renamed_mirror_is_known_by_its_key_ring() {
        let text = "Types: deb\nURIs: http://m.example/remote\nSuites: sid\nComponents: main\n\
            Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        assert_eq!(uri(from_deb822(text)).as_deref(), Some("http://m.example/remote"));
    }
}
