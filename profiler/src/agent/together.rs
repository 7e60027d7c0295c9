//! Links that serve many functions: attaching costs walks over all traceable functions, once a link.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use super::bpf::{
    BpfError, Object,
    link::{self, End, Ends},
    sys::Kind,
};

/// Addresses that get a probe, with their cookies.
#[derive(Default)]
pub struct Targets {
    /// Both ends.
    pub calls: Vec<(u64, u64)>,
    /// Entries alone.
    pub entries: Vec<(u64, u64)>,
}

/// Links, each by what it serves.
type Links = Vec<(&'static str, OwnedFd)>;

impl Targets {
    /// Attaches all with one link for both ends, if the kernel has what a `session` takes; where it cannot do that, with
    /// one for all entries and one for all returns. Gives the method too.
    pub fn attach(&self, object: &Object, session: bool) -> Result<(&'static str, Links), TogetherError> {
        if session && let Ok(links) = self.by_session(object) {
            return Ok(("kprobe-session", links));
        }
        let entries = [self.calls.as_slice(), &self.entries].concat();
        let entry = many(object, "enter", &entries, Ends::One(End::Entry))?;
        let exit = many(object, "exit", &self.calls, Ends::One(End::Return))?;
        Ok(("kprobe-multi", found([("entry", entry), ("return", exit)])))
    }

    fn by_session(&self, object: &Object) -> Result<Links, TogetherError> {
        let call = many(object, "call", &self.calls, Ends::Both)?;
        let entry = many(object, "enter", &self.entries, Ends::One(End::Entry))?;
        Ok(found([("call", call), ("entry", entry)]))
    }
}

fn found(links: [(&'static str, Option<OwnedFd>); 2]) -> Links {
    links.into_iter().filter_map(|(name, link)| Some((name, link?))).collect()
}

/// One link for the wanted ends of all `targets`; none if there are none.
fn many(
    object: &Object,
    program: &'static str,
    targets: &[(u64, u64)],
    ends: Ends,
) -> Result<Option<OwnedFd>, TogetherError> {
    if targets.is_empty() {
        return Ok(None);
    }
    let kind = if ends == Ends::Both { Kind::KprobeSession } else { Kind::KprobeMulti };
    let program = object.load(program, kind)?;
    let (addresses, cookies): (Vec<u64>, Vec<u64>) = targets.iter().copied().unzip();
    Ok(Some(link::many(program.as_fd(), &addresses, &cookies, ends)?))
}

/// Why programs could not be attached where nobody asks why: there is another way, or it goes without.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum TogetherError {
    /// The program.
    Program(#[from] BpfError),
    /// Its link.
    Attach(#[from] io::Error),
}
