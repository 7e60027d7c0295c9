//! Which guest of the outgoing kernel is which of the incoming one.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Call;
use crate::{
    recording::Side,
    stitch::{Sighting, What},
};

/// What ties the two halves of a guest together, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// Its VMM's marks (`blackout mark --vm NAME`).
    Mark,
    /// The LUO session its VMM created, and retrieved.
    Session,
    /// The tokens of the files its VMM preserved, and retrieved.
    Token,
    /// It is the only guest left of either kernel, and nothing speaks against it.
    Only,
    /// Nothing: it was seen in one kernel alone.
    Process,
}

/// What one kernel tells of a VMM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Name its marks give it.
    pub name: Option<String>,
    /// Sessions it created or retrieved.
    pub sessions: BTreeSet<String>,
    /// Tokens it preserved or retrieved.
    pub tokens: BTreeSet<String>,
}

impl Known {
    /// Whether it takes part in the live update, as far as is known.
    pub fn preserved(&self) -> bool {
        self.name.is_some() || !self.sessions.is_empty() || !self.tokens.is_empty()
    }

    /// What makes these two the same guest.
    fn ties(&self, other: &Self, by: Identity) -> bool {
        let names = (self.name.as_ref(), other.name.as_ref());
        let (a, b) = (&self.sessions, &other.sessions);
        let other_name = matches!(names, (Some(one), Some(two)) if one != two);
        let other_session = !a.is_empty() && !b.is_empty() && a.is_disjoint(b);
        match by {
            Identity::Mark => names.0.is_some() && names.0 == names.1,
            _ if other_name => false,
            Identity::Session => !a.is_disjoint(b),
            _ if other_session => false,
            Identity::Token => !self.tokens.is_disjoint(&other.tokens),
            Identity::Only => true,
            Identity::Process => false,
        }
    }
}

/// What each VMM made known, by kernel and process. LUO calls count for the process whose main thread
/// makes them: a record names the thread alone.
pub fn known(calls: &[Call], sightings: &[Sighting]) -> BTreeMap<(Side, u32), Known> {
    let mut known: BTreeMap<(Side, u32), Known> = BTreeMap::new();
    for sighting in sightings {
        if let What::Mark { mark } = &sighting.what
            && mark.vm.is_some()
        {
            known.entry((sighting.side, mark.pid)).or_default().name.clone_from(&mark.vm);
        }
    }
    for call in calls {
        let Some(pid) = call.pid else { continue };
        let entry = || (call.side, pid);
        match call.name.as_str() {
            "session-create" | "session-retrieve" => {
                let session = call.subject.strip_prefix("session ").filter(|name| !name.is_empty());
                known.entry(entry()).or_default().sessions.extend(session.map(str::to_owned));
            }
            "file-preserve" | "file-retrieve" => {
                known.entry(entry()).or_default().tokens.insert(call.subject.clone());
            }
            _ => {}
        }
    }
    known
}

/// Pairs outgoing with incoming processes: by the best evidence first, and only where it points from
/// one to one.
pub fn pair(outgoing: &[(u32, Known)], incoming: &[(u32, Known)]) -> Vec<(u32, u32, Identity)> {
    let mut pairs: Vec<(u32, u32, Identity)> = Vec::new();
    for by in [Identity::Mark, Identity::Session, Identity::Token, Identity::Only] {
        let before: Vec<_> = outgoing.iter().filter(|(pid, _)| pairs.iter().all(|p| p.0 != *pid)).collect();
        let after: Vec<_> = incoming.iter().filter(|(pid, _)| pairs.iter().all(|p| p.1 != *pid)).collect();
        let tied = |one: &Known, two: &Known| one.ties(two, by);
        let mut found = Vec::new();
        for (old, one) in &before {
            let mut partners = after.iter().filter(|(_, two)| tied(one, two));
            let (Some((new, two)), None) = (partners.next(), partners.next()) else { continue };
            if before.iter().filter(|(_, one)| tied(one, two)).count() == 1 {
                found.push((*old, *new, by));
            }
        }
        pairs.extend(found);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: Option<&str>, sessions: &[&str], tokens: &[&str]) -> Known {
        let set = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Known { name: name.map(str::to_owned), sessions: set(sessions), tokens: set(tokens) }
    }

    #[test]
    fn the_best_evidence_decides() {
        let outgoing = [
            (1, known(Some("a"), &["x"], &["token 0x1"])),
            (2, known(None, &["y"], &["token 0x1"])),
            (3, known(None, &[], &["token 0x9"])),
            (4, known(None, &[], &[])),
        ];
        let incoming = [
            (11, known(Some("a"), &["other"], &["token 0x1"])),
            (12, known(None, &["y"], &["token 0x1"])),
            (13, known(None, &[], &["token 0x9"])),
            (14, known(None, &[], &[])),
        ];
        let expected = [
            (1, 11, Identity::Mark),
            (2, 12, Identity::Session),
            (3, 13, Identity::Token),
            (4, 14, Identity::Only),
        ];
        assert_eq!(pair(&outgoing, &incoming), expected);
    }

    #[test]
    fn what_is_ambiguous_or_contradicts_ties_nothing() {
        let same_token = [(1, known(None, &[], &["token 0x1"])), (2, known(None, &[], &["token 0x1"]))];
        let there = [(11, known(None, &[], &["token 0x1"])), (12, known(None, &[], &["token 0x1"]))];
        assert_eq!(pair(&same_token, &there), []);
        let (a, b) = ([(1, known(Some("a"), &["s"], &[]))], [(11, known(Some("b"), &["s"], &[]))]);
        assert_eq!(pair(&a, &b), []);
        let (a, b) =
            ([(1, known(None, &["s"], &["token 0x1"]))], [(11, known(None, &["t"], &["token 0x1"]))]);
        assert_eq!(pair(&a, &b), []);
    }
}
