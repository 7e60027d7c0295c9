//! Names for addresses, from `/proc/kallsyms`, and modules of what is built in. Slow (a hundred thousand lines), so never inside a window.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead, BufReader},
};

use super::AgentError;
use crate::evidence::builtin::Ranges;

const PATH: &str = "/proc/kallsyms";

/// The symbol at or next below each address, as `(address asked for, name)`; what the kernel hides
/// (`kptr_restrict`) or does not know is left out.
pub fn resolve(addresses: &BTreeSet<u64>) -> Result<Vec<(u64, String)>, AgentError> {
    let mut text: Vec<(u64, String)> = Vec::new();
    read(|address, kind, name| {
        if address != 0 && matches!(kind, "t" | "T" | "w" | "W") {
            text.push((address, name.to_owned()));
        }
    })?;
    text.sort_by_key(|(address, _)| *address);
    let nearest = |address: u64| {
        let index = text.partition_point(|(start, _)| *start <= address).checked_sub(1)?;
        text.get(index).map(|(_, name)| (address, name.clone()))
    };
    Ok(addresses.iter().filter_map(|address| nearest(*address)).collect())
}

/// Those of these symbols that the kernel has.
pub fn known<'s>(symbols: impl Iterator<Item = &'s String>) -> Result<BTreeSet<&'s str>, AgentError> {
    let symbols: BTreeSet<&str> = symbols.map(String::as_str).collect();
    let mut known = BTreeSet::new();
    read(|_, _, name| known.extend(symbols.get(name)))?;
    Ok(known)
}

/// Those of these addresses that lie in modules which are built in; `None` if the kernel's build does not say
/// (`CONFIG_BUILTIN_MODULE_RANGES`).
pub fn modules(addresses: &BTreeSet<u64>) -> Option<Vec<(u64, String)>> {
    let release = rustix::system::uname().release().to_str().ok()?.to_owned();
    let text = fs::read_to_string(format!("/lib/modules/{release}/modules.builtin.ranges")).ok()?;
    let ranges = Ranges::parse(&text);
    let (symbols, mut at) = (ranges.symbols(), BTreeMap::new());
    let note = |address, _: &str, name: &str| {
        if symbols.contains(name) {
            at.insert(name.to_owned(), address);
        }
    };
    read(note).ok()?;
    Some(ranges.modules(addresses, &at))
}

fn read(mut each: impl FnMut(u64, &str, &str)) -> Result<(), AgentError> {
    let mut file = BufReader::new(File::open(PATH).map_err(AgentError::file("open", PATH))?);
    let mut line = String::new();
    while file.read_line(&mut line).map_err(AgentError::file("read", PATH))? > 0 {
        let mut fields = line.split_ascii_whitespace();
        if let (Some(address), Some(kind), Some(name)) = (fields.next(), fields.next(), fields.next())
            && let Ok(address) = u64::from_str_radix(address, 16)
        {
            each(address, kind, name);
        }
        line.clear();
    }
    Ok(())
}
