//! Names for addresses, from `/proc/kallsyms`, and modules of what is built in. Slow (a hundred thousand lines), so never
//! inside a window.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader},
};

use profiler_report::evidence::builtin::Ranges;

use super::AgentError;

const PATH: &str = "/proc/kallsyms";

/// Every function that the kernel tells of, by address.
pub struct Functions(Vec<(u64, String)>);

impl Functions {
    /// Reads them; what the kernel hides (`kptr_restrict`) is left out.
    pub fn read() -> Result<Self, AgentError> {
        let mut all: Vec<(u64, String)> = Vec::new();
        read(|address, kind, name| {
            if address != 0 && matches!(kind, "t" | "T" | "w" | "W") {
                all.push((address, name.to_owned()));
            }
        })?;
        all.sort_by_key(|(address, _)| *address);
        Ok(Self(all))
    }

    /// The symbol at or next below each address, as `(address asked for, name)`, if there is one.
    pub fn names(&self, addresses: &BTreeSet<u64>) -> Vec<(u64, String)> {
        let nearest = |address: u64| {
            let index = self.0.partition_point(|(start, _)| *start <= address).checked_sub(1)?;
            self.0.get(index).map(|(_, name)| (address, name.clone()))
        };
        addresses.iter().filter_map(|address| nearest(*address)).collect()
    }

    /// Those of these addresses that lie in modules which are built in; `None` if the kernel's build does not say
    /// (`CONFIG_BUILTIN_MODULE_RANGES`).
    pub fn modules(&self, addresses: &BTreeSet<u64>) -> Option<Vec<(u64, String)>> {
        let release = rustix::system::uname().release().to_str().ok()?.to_owned();
        let text = fs::read_to_string(format!("/lib/modules/{release}/modules.builtin.ranges")).ok()?;
        let ranges = Ranges::parse(&text);
        let symbols = ranges.symbols();
        let wanted = self.0.iter().filter(|(_, name)| symbols.contains(name));
        let at = wanted.map(|(address, name)| (name.clone(), *address)).collect();
        Some(ranges.modules(addresses, &at))
    }
}

/// Those of these symbols that the kernel has.
pub fn known<'s>(symbols: impl Iterator<Item = &'s String>) -> Result<BTreeSet<&'s str>, AgentError> {
    let symbols: BTreeSet<&str> = symbols.map(String::as_str).collect();
    let mut known = BTreeSet::new();
    read(|_, _, name| known.extend(symbols.get(name)))?;
    Ok(known)
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
