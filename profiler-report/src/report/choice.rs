//! Which window a report divides.

use crate::{
    stitch::{Sighting, What},
    timeline::{Ends, Guest, VmStatus, WindowKind},
};

/// What is asked for; by default the longest window of a guest that is known, else the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Which definition.
    pub window: WindowChoice,
    /// The guest, by name.
    pub vm: Option<String>,
    /// Begin at the first mark of this name; with `vm`, of that guest.
    pub from_mark: Option<String>,
    /// End at the last mark of this name; likewise.
    pub to_mark: Option<String>,
}

/// Definition of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WindowChoice {
    /// A guest's if one is known, else the host's.
    #[default]
    Auto,
    /// The host's.
    Host,
    /// A guest's.
    Vm,
}

/// What was asked for is not in the recording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// No such guest.
    #[error("the recording has no guest {name:?}; it has {}", list(.known))]
    NoGuest {
        /// The name asked for.
        name: String,
        /// Names of those it has.
        known: Vec<String>,
    },
    /// Its window is not known.
    #[error("the window of guest {name:?} is not known: {why}")]
    NotMeasured {
        /// The guest.
        name: String,
        /// Why.
        why: String,
    },
    /// No such mark.
    #[error("the recording has no mark {name:?}; it has {}", list(.known))]
    NoMark {
        /// The name asked for.
        name: String,
        /// Names of those it has.
        known: Vec<String>,
    },
    /// The marks are there, in the wrong order.
    #[error("the window would end before it begins: {to} is before {from}")]
    Backwards {
        /// What begins it.
        from: String,
        /// What ends it.
        to: String,
    },
}

/// A window, and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen<'a> {
    /// Its ends; `None` if the evidence holds none.
    pub ends: Option<Ends>,
    /// `vm`, `host` or `marks`.
    pub definition: &'static str,
    /// The guest whose stop is a milestone of it.
    pub guest: Option<&'a Guest>,
    /// What a reader must know of the choice.
    pub note: Option<String>,
}

/// Chooses; `host` is the host window. Guests are the longest window first.
///
/// # Errors
/// [`ChoiceError`].
pub fn choose<'a>(
    choice: &Choice,
    guests: &'a [Guest],
    sightings: &[Sighting],
    host: Option<Ends>,
) -> Result<Chosen<'a>, ChoiceError> {
    let whole = host.as_ref().is_none_or(|host| host.kind != WindowKind::Returned);
    let mut chosen = match guest(choice, guests)? {
        Some((guest, ends)) if whole || choice.window == WindowChoice::Vm => {
            let note = others(guests);
            Chosen { ends: Some(ends), definition: "vm", guest: Some(guest), note }
        }
        _ => {
            let unknown = choice.window == WindowChoice::Auto && whole && !guests.is_empty();
            let note =
                unknown.then(|| format!("no guest's window is known: this is the host's. {}", whys(guests)));
            Chosen { ends: host, definition: "host", guest: None, note }
        }
    };
    let mark = |name: &str| marks(name, choice.vm.as_deref(), sightings);
    let (from, to) = (choice.from_mark.as_deref(), choice.to_mark.as_deref());
    if let (Some(name), Some(ends)) = (from, &mut chosen.ends) {
        let (first, _) = mark(name)?;
        (ends.start, ends.starts_with) = (first.at, format!("mark {name}"));
    }
    if let (Some(name), Some(ends)) = (to, &mut chosen.ends) {
        let (_, last) = mark(name)?;
        (ends.end, ends.ends_with) = (last.at, format!("mark {name}"));
    }
    if let (true, Some(ends)) = (from.is_some() || to.is_some(), &mut chosen.ends) {
        if ends.end.ticks < ends.start.ticks {
            let Ends { starts_with: from, ends_with: to, .. } = ends.clone();
            return Err(ChoiceError::Backwards { from, to });
        }
        if from.is_some() && to.is_some() || ends.kind == WindowKind::Whole {
            ends.kind = WindowKind::Chosen;
        }
        chosen.definition = "marks";
    }
    Ok(chosen)
}

/// The guest whose window it is: the one asked for, else the longest that is known.
fn guest<'a>(choice: &Choice, guests: &'a [Guest]) -> Result<Option<(&'a Guest, Ends)>, ChoiceError> {
    let known = |guest: &'a Guest| Some((guest, ends(guest)?));
    let Some(name) = &choice.vm else {
        return Ok(match choice.window {
            WindowChoice::Host => None,
            WindowChoice::Auto => guests.iter().find_map(known),
            WindowChoice::Vm => match guests.iter().find_map(known) {
                Some(found) => Some(found),
                None => {
                    let why = if guests.is_empty() { "no vCPU was seen".to_owned() } else { whys(guests) };
                    return Err(ChoiceError::NotMeasured { name: "any".to_owned(), why });
                }
            },
        });
    };
    let names = || guests.iter().map(|guest| guest.name.clone()).collect();
    let guest = guests.iter().find(|guest| guest.name == *name);
    let guest = guest.ok_or_else(|| ChoiceError::NoGuest { name: name.clone(), known: names() })?;
    match known(guest) {
        _ if choice.window == WindowChoice::Host => Ok(None),
        Some(found) => Ok(Some(found)),
        None => {
            let why = guest.why.clone().unwrap_or_default();
            Err(ChoiceError::NotMeasured { name: name.clone(), why })
        }
    }
}

/// The ends of a guest's window, if both are known.
fn ends(guest: &Guest) -> Option<Ends> {
    let (start, end) = (guest.start?, guest.end?);
    if guest.status != VmStatus::Measured {
        return None;
    }
    let stopped =
        guest.vcpus.iter().find(|(_, vcpu)| vcpu.exit.as_ref().is_some_and(|exit| exit.at == start));
    let words = |what: &str, number: Option<&u32>| {
        let number = number.map(|number| format!(" {number}")).unwrap_or_default();
        format!("{what} of vcpu{number} of {}", guest.name)
    };
    Some(Ends {
        start,
        end: end.max(start),
        starts_with: words("last exit", stopped.map(|(number, _)| number)),
        ends_with: words("first run", guest.first_to_run.as_ref()),
        kind: WindowKind::Chosen,
    })
}

/// What to say of guests whose own windows are not known, beside one that is.
fn others(guests: &[Guest]) -> Option<String> {
    let unknown = guests.iter().any(|guest| guest.status != VmStatus::Measured);
    unknown.then(|| format!("not every guest's window is known. {}", whys(guests)))
}

fn whys(guests: &[Guest]) -> String {
    let why = |guest: &Guest| Some(format!("{}: {}", guest.name, guest.why.as_ref()?));
    guests.iter().filter_map(why).collect::<Vec<_>>().join("; ")
}

/// First and last mark of a name.
fn marks<'a>(
    name: &str,
    vm: Option<&str>,
    sightings: &'a [Sighting],
) -> Result<(&'a Sighting, &'a Sighting), ChoiceError> {
    let all = || {
        sightings.iter().filter_map(|sighting| match &sighting.what {
            What::Mark { mark } if vm.is_none() || mark.vm.as_deref() == vm => Some((sighting, &mark.name)),
            _ => None,
        })
    };
    let mut named = all().filter(|(_, of)| *of == name).map(|(sighting, _)| sighting);
    let Some(first) = named.next() else {
        let mut known: Vec<String> = all().map(|(_, name)| name.clone()).collect();
        known.sort_unstable();
        known.dedup();
        return Err(ChoiceError::NoMark { name: name.to_owned(), known });
    };
    Ok((first, named.next_back().unwrap_or(first)))
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
