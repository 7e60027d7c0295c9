//! Kernel options a user sets on top of the lab's own: what makes one build differ from another.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

/// Options by name, with the value as `.config` writes it. As text, a fragment for `KCONFIG_ALLCONFIG`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelConfig(BTreeMap<String, String>);

/// Text that sets no kernel option.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no kernel option such as CONFIG_NUMA=n")]
pub struct NoOption(String);

impl KernelConfig {
    /// Reads a fragment from a file; comments in it are left out.
    ///
    /// # Errors
    /// When it cannot be read, or a line of it sets no option.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let options = lines.filter_map(|line| match off(line) {
            Some(name) => Some(Ok((name.to_owned(), "n".to_owned()))),
            None if line.starts_with('#') => None,
            None => Some(option(line)),
        });
        let options = options.collect::<Result<_, _>>();
        options.map(Self).with_context(|| format!("cannot understand {}", path.display()))
    }

    /// These options, with those of `other` over them.
    pub fn with(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `fragment` with these options over it: each option stands once.
    pub fn over(&self, fragment: &str) -> String {
        let sets = |name: &str| self.0.contains_key(name);
        let replaced = |line: &str| {
            off(line).is_some_and(sets) || line.split_once('=').is_some_and(|(name, _)| sets(name))
        };
        let kept = |line: &&str| !replaced(line);
        let mut text: String = fragment.lines().filter(kept).flat_map(|line| [line, "\n"]).collect();
        text += &self.to_string();
        text
    }
}

impl FromStr for KernelConfig {
    type Err = NoOption;

    /// Reads options separated by white space.
    fn from_str(text: &str) -> Result<Self, NoOption> {
        text.split_whitespace().map(option).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for KernelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| writeln!(f, "{name}={value}"))
    }
}

/// The option that a line such as `# CONFIG_X is not set` switches off.
fn off(line: &str) -> Option<&str> {
    line.strip_prefix("# ")?.strip_suffix(" is not set").filter(|name| is_name(name))
}

fn option(text: &str) -> Result<(String, String), NoOption> {
    match text.split_once('=') {
        Some((name, value)) if is_name(name) && !value.is_empty() => Ok((name.into(), value.into())),
        _ => Err(NoOption(text.into())),
    }
}

fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.strip_prefix("CONFIG_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_from_words_and_files() {
        let words: KernelConfig = "CONFIG_B=n  CONFIG_A=16".parse().unwrap();
        assert_eq!(words.to_string(), "CONFIG_A=16\nCONFIG_B=n\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "# about\n\nCONFIG_A=\"x y\"\n# CONFIG_B is not set\n").unwrap();
        let read = KernelConfig::read(file.path()).unwrap();
        assert_eq!(read.to_string(), "CONFIG_A=\"x y\"\nCONFIG_B=n\n");
        for wrong in ["NUMA=n", "CONFIG_A", "CONFIG_A=", "CONFIG_=y", "CONFIG_A-B=y"] {
            assert!(wrong.parse::<KernelConfig>().is_err(), "{wrong}");
        }
        assert!("".parse::<KernelConfig>().unwrap().is_empty());
    }

    #[test]
    fn a_fragment_is_overridden_option_by_option() {
        let config: KernelConfig = "CONFIG_A=n CONFIG_C=y CONFIG_D=n".parse().unwrap();
        let fragment = "# about\nCONFIG_A=y\nCONFIG_AB=y\n# CONFIG_C is not set\n";
        assert_eq!(config.over(fragment), "# about\nCONFIG_AB=y\nCONFIG_A=n\nCONFIG_C=y\nCONFIG_D=n\n");
        let more: KernelConfig = "CONFIG_C=n".parse().unwrap();
        assert_eq!(config.with(&more).to_string(), "CONFIG_A=n\nCONFIG_C=n\nCONFIG_D=n\n");
    }
}
