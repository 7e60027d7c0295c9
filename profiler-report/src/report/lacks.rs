//! What a kernel was built without, and what the report has less for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalogue::{Level, NEEDS},
    evidence::config,
    stitch::Stitched,
};

/// A note for each of the needs that a kernel does not meet, as far as its configuration tells.
pub fn lacks(stitched: &Stitched) -> Vec<String> {
    let config = |half: &crate::stitch::Half| half.config.and_then(config::parse);
    notes(config(&stitched.outgoing).as_ref(), config(&stitched.incoming).as_ref())
}

fn notes(
    outgoing: Option<&BTreeMap<String, String>>,
    incoming: Option<&BTreeMap<String, String>>,
) -> Vec<String> {
    let mut told = BTreeSet::new();
    let mut notes = Vec::new();
    for need in NEEDS.iter().filter(|need| need.level > Level::Update) {
        let off = |config: Option<&BTreeMap<String, String>>| {
            config.map(|config| need.options_off(config).join(", ")).filter(|off| !off.is_empty())
        };
        let both = match (off(outgoing), off(incoming)) {
            (Some(one), Some(other)) if one == other => vec![("both kernels were", one)],
            (one, other) => [("the outgoing kernel was", one), ("the incoming kernel was", other)]
                .into_iter()
                .filter_map(|(who, off)| Some((who, off?)))
                .collect(),
        };
        for (who, off) in both {
            // Several needs may hang on one option: the first says the most.
            if told.insert((who, off.clone())) {
                notes.push(format!("{who} built without {off}: {}", need.without));
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration with every option that is needed, but for these.
    fn config(without: &[&str]) -> BTreeMap<String, String> {
        let options = NEEDS.iter().flat_map(|need| &need.config);
        let kept = options.filter(|option| !without.contains(&option.as_str()));
        kept.map(|option| (option.clone(), "y".to_owned())).collect()
    }

    #[test]
    fn what_a_kernel_lacks_is_told_once() {
        assert_eq!(notes(Some(&config(&[])), Some(&config(&[]))), Vec::<String>::new());
        assert_eq!(notes(None, None), Vec::<String>::new());
        let poor = config(&["CONFIG_DEBUG_INFO_BTF"]);
        let told = notes(Some(&poor), Some(&poor));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("both kernels were built without CONFIG_DEBUG_INFO_BTF: "), "{told:?}");
        let told = notes(Some(&config(&["CONFIG_FTRACE"])), Some(&config(&[])));
        assert_eq!(told.iter().filter(|note| note.contains("without CONFIG_FTRACE:")).count(), 1, "{told:?}");
        assert!(told.iter().all(|note| note.starts_with("the outgoing kernel was ")), "{told:?}");
    }
}
