//! Paths from a function's arguments to what names its call, as `probes.toml` writes them.
//!
//! ```text
//! arg1                                     the argument itself
//! arg0:luo_session.name                    a member of the structure it points to, or of one inside that
//! arg0:device.driver->name                 a member behind a pointer
//! arg0:luo_file_set^luo_session.file_set.name
//!                                          a member of the structure that this one is a member of
//! arg0:liveupdate_file_op_args.serialized_data=>memfd_luo_ser.size
//!                                          a member behind a physical address
//! ```

use std::{fmt, str::FromStr};

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Argument, from 0.
    pub arg: u8,
    /// Structure it points to; `None` for the argument itself.
    pub base: Option<String>,
    /// Steps from there.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `.member`
    Member(String),
    /// `->member`
    Behind(String),
    /// `^structure.member`: to the structure of which this one is that member.
    Container(String, String),
    /// `=>structure`: the number here is the physical address of that structure.
    Physical(String),
}

impl Path {
    /// The structures that it goes through by name.
    pub fn structures(&self) -> impl Iterator<Item = &str> {
        let inner = self.steps.iter().filter_map(|step| match step {
            Step::Container(structure, _) | Step::Physical(structure) => Some(structure),
            Step::Member(_) | Step::Behind(_) => None,
        });
        self.base.iter().chain(inner).map(String::as_str)
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("path {text:?} is not understood");
        let rest = text.strip_prefix("arg").ok_or_else(wrong)?;
        let (digit, rest) = rest.split_at_checked(1).ok_or_else(wrong)?;
        let arg = digit.parse().ok().filter(|arg| *arg < 6).ok_or_else(wrong)?;
        let Some(rest) = rest.strip_prefix(':') else {
            return if rest.is_empty() {
                Ok(Self { arg, base: None, steps: Vec::new() })
            } else {
                Err(wrong())
            };
        };
        let (base, mut rest) = ident(rest).ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(wrong)?;
            steps.push(step);
            rest = after;
        }
        Ok(Self { arg, base: Some(base), steps })
    }
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix("->") {
        let (member, rest) = ident(rest)?;
        Some((Step::Behind(member), rest))
    } else if let Some(rest) = text.strip_prefix("=>") {
        let (structure, rest) = ident(rest)?;
        Some((Step::Physical(structure), rest))
    } else if let Some(rest) = text.strip_prefix('^') {
        let (structure, rest) = ident(rest)?;
        let (member, rest) = ident(rest.strip_prefix('.')?)?;
        Some((Step::Container(structure, member), rest))
    } else {
        let (member, rest) = ident(text.strip_prefix('.')?)?;
        Some((Step::Member(member), rest))
    }
}

/// A C identifier, and what follows it.
fn ident(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    (!name.is_empty()).then(|| (name.to_owned(), rest))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arg{}", self.arg)?;
        if let Some(base) = &self.base {
            write!(f, ":{base}")?;
        }
        self.steps.iter().try_for_each(|step| match step {
            Step::Member(member) => write!(f, ".{member}"),
            Step::Behind(member) => write!(f, "->{member}"),
            Step::Container(structure, member) => write!(f, "^{structure}.{member}"),
            Step::Physical(structure) => write!(f, "=>{structure}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_it_writes() {
        for text in [
            "arg1",
            "arg0:luo_session.name",
            "arg0:device.driver->name",
            "arg0:luo_file_set^luo_session.file_set.name",
            "arg0:liveupdate_file_op_args.serialized_data=>memfd_luo_ser.size",
            "arg5:pci_dev.dev.kobj.name",
        ] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
        for text in
            ["", "arg", "arg6", "arg0.", "arg0:", "arg0:a..b", "arg0:a->", "arg0:a^b", "arg0 :a", "name"]
        {
            assert!(text.parse::<Path>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_an_error(text: String) {
            let _ = text.parse::<Path>();
            let _ = format!("arg0:a{text}").parse::<Path>();
        }
    }
}
