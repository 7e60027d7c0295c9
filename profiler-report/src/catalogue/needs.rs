//! What a kernel must offer: a data file that `blackout check` and reports share.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

/// The needs that this build knows.
pub static NEEDS: LazyLock<Vec<Need>> = LazyLock::new(|| {
    // `tests` below parse the same text: a build without needs does not pass.
    parse(include_str!("needs.toml")).unwrap_or_default()
});

/// Something a kernel must offer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// Stable name.
    pub id: String,
    /// What it is, for a person.
    pub title: String,
    /// What it is needed for.
    pub level: Level,
    /// What is lost without it.
    pub without: String,
    /// Kernel options that give it.
    #[serde(default)]
    pub config: Vec<String>,
    /// Parameters that give it.
    pub cmdline: Option<String>,
    /// What to do in a kernel that has all that.
    pub run: Option<String>,
}

/// What something is needed for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The live update itself.
    Update,
    /// To measure the window whole.
    Window,
    /// To say more about it.
    Detail,
}

impl Need {
    /// Its options that are not in this configuration.
    pub fn options_off<'n>(&'n self, config: &BTreeMap<String, String>) -> Vec<&'n str> {
        let off = |option: &&String| !config.contains_key(option.as_str());
        self.config.iter().filter(off).map(String::as_str).collect()
    }
}

fn parse(text: &str) -> Result<Vec<Need>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Needs {
        need: Vec<Need>,
    }
    toml::from_str::<Needs>(text).map(|needs| needs.need)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_need_has_a_name_of_its_own_and_a_way_to_get_it() {
        let needs = parse(include_str!("needs.toml")).unwrap();
        let ids: HashSet<_> = needs.iter().map(|need| &need.id).collect();
        assert_eq!(ids.len(), needs.len());
        for need in &needs {
            assert!(!need.config.is_empty() || need.cmdline.is_some() || need.run.is_some(), "{}", need.id);
            assert!(need.config.iter().all(|option| option.starts_with("CONFIG_")), "{}", need.id);
        }
    }

    #[test]
    fn options_that_are_off() {
        let need = NEEDS.iter().find(|need| need.id == "kprobes").unwrap();
        let config = BTreeMap::from([("CONFIG_KPROBES".to_owned(), "y".to_owned())]);
        assert_eq!(need.options_off(&config), ["CONFIG_KPROBE_EVENTS"]);
    }
}
