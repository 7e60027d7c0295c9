//! What looking costs, counted.

use crate::run::lab_while;
use lab::instructions::groups::{group_of, groups};
use serde_json::Value;

#[test]
#[ignore = "boots a virtual machine"]
fn full_instructions_are_all_some_functions_and_the_verifiers_are_more_with_blackout() {
    let document = tempfile::NamedTempFile::new().unwrap();
    let load = ["--sessions", "1", "--files", "1", "--file-size", "64M", "--cpus", "1"];
    let flags = ["overhead", "--deterministic", "--instructions", "--guests", "0"];
    let markdown = ["--markdown", document.path().to_str().unwrap()];
    let run = lab_while(&[flags.as_slice(), &load, &markdown].concat(), |_, _| {});
    assert_eq!(run.exit_code, 0, "{run}");

    let pairs = run.json("instructions.json");
    let pairs = pairs.as_array().unwrap();
    assert_eq!(pairs.len(), 8, "{run}");
    for pair in pairs {
        for row in [&pair["nobody"], &pair["blackout"]] {
            let sum: u64 = functions(row).map(|(_, count)| count).sum();
            assert_eq!(Some(sum), row["total"].as_u64(), "{}: {run}", row["stretch"]);
            assert!(sum > 0, "{}: {run}", row["stretch"]);
        }
    }
    let groups = groups().unwrap();
    let verified = |who: &str| -> u64 {
        let all = pairs.iter().flat_map(|pair| functions(&pair[who]));
        let verifier = |name: &str| group_of(&groups, name).is_some_and(|group| group.name == "verifier");
        all.filter(|(name, _)| verifier(name)).map(|(_, count)| count).sum()
    };
    // Millions in fact; nobody has no program.
    assert!(verified("blackout") > verified("nobody") + 1_000_000, "{run}");
    let kept = std::fs::read_to_string(document.path()).unwrap();
    assert!(
        kept.contains("## `cargo lab overhead --deterministic --instructions")
            && kept.contains("| verifier |")
    );
}

fn functions(row: &Value) -> impl Iterator<Item = (&str, u64)> {
    let functions = row["functions"].as_object().unwrap();
    functions.iter().map(|(name, count)| (name.as_str(), count.as_u64().unwrap()))
}
