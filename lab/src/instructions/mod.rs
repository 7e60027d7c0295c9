//! `cargo lab overhead --instructions`: the cost of looking as instructions, by function of the kernel.
//!
//! QEMU counts them, by a plugin of ours (`lab-plugin`); the rest is here:
//!
//! ```text
//! counts    what the plugin wrote
//! symbols   which function an address is in
//! window    the stretches of the window, and what was executed in each
//! groups    which part of the kernel a function belongs to
//! table     two rows side by side
//! ```

pub mod counts;
pub mod groups;
pub mod symbols;
pub mod table;
pub mod window;

use crate::kernel::Kernel;
use crate::live_update::LiveUpdate;
use crate::overhead::require_complete;
use crate::plan::Observer;
use crate::qemu::Counting;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use symbols::Symbols;
use table::Pair;
use toolbox::binaries::{self, Binaries};
use toolbox::cache::Cache;
use window::Executed;

/// File of all functions of both rows, among the results.
const ALL: &str = "instructions.json";

/// Live updates with nobody looking and with blackout, side by side in Markdown.
///
/// # Errors
/// When the host cannot do its part, or a live update failed.
pub fn measure(
    update: &LiveUpdate,
    cache: &Cache,
    kernel: &Kernel,
    binaries: &Binaries,
    out: &Path,
) -> Result<String> {
    let plugin = binaries::plugin()?;
    let map = kernel.image.with_file_name("System.map");
    let symbols = fs::read_to_string(&map).with_context(|| {
        format!("cannot read {}: remove its folder, and the lab builds the kernel anew", map.display())
    })?;
    let symbols = Symbols::parse(&symbols).with_context(|| map.display().to_string())?;
    let borders = window::borders(&symbols).with_context(|| map.display().to_string())?;
    let scratch = cache.temporary()?;
    let share = scratch.path().join("share");
    let row = |observer, name: &str| -> Result<Vec<Executed>> {
        eprintln!("lab: {name} looks, and QEMU counts");
        let kernels = (kernel.clone(), kernel.clone());
        let mut lab = update.prepare_for(observer, cache, kernels, binaries, out.into())?;
        let suffix = format!("-{name}");
        let counts = lab.file("instructions", &suffix, "txt");
        lab.counting =
            Some(Counting { plugin: plugin.clone(), out: counts.clone(), borders: borders.clone() });
        require_complete(name, &lab.run(&suffix, &share)?.result)?;
        let text =
            fs::read_to_string(&counts).with_context(|| format!("cannot read {}", counts.display()))?;
        let counts = counts::parse(&text).and_then(|counts| window::window(&counts, &symbols));
        counts.with_context(|| format!("the instructions with {name} looking"))
    };
    let (nobody, blackout) = (row(Observer::Nobody, "nobody")?, row(Observer::Blackout, "blackout")?);
    let pairs: Vec<_> =
        nobody.iter().zip(&blackout).map(|(nobody, blackout)| Pair { nobody, blackout }).collect();
    let all = out.join(ALL);
    fs::write(&all, serde_json::to_vec(&pairs)?)
        .with_context(|| format!("cannot write {}", all.display()))?;
    Ok(table::tables(&pairs, &groups::groups()?))
}
