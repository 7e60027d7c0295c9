//! Facts the kernel log states, out of its lines.
//!
//! The messages are those of Linux 7.3 (7.2 has the same); each variant names the function that prints
//! it. Only lines of the kernel itself count: a task can write the same words to `/dev/kmsg`.

use super::kmsg::KmsgLine;

/// What one line states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// "KHO: found kexec handover data." (`kho_populate`, kernel/liveupdate/kexec_handover.c).
    KhoFound,
    /// "KHO: exec from: RELEASE (count N)" (`kho_in_kexec_metadata`, same file).
    ExecFrom {
        /// Release of the outgoing kernel.
        release: String,
        /// Kexecs with KHO since the cold boot.
        count: u32,
    },
    /// "Retrieved live update data, liveupdate number: N" (`luo_early_startup`,
    /// kernel/liveupdate/luo_core.c).
    LiveupdateNumber(u64),
    /// "Freeze failed for token[..] handler[..] err[..]" (`luo_file_freeze`,
    /// kernel/liveupdate/luo_file.c).
    FreezeFailed {
        /// Token of the file.
        token: u64,
        /// `compatible` string of its handler.
        handler: String,
        /// `-EINVAL`, or the number without `CONFIG_SYMBOLIC_ERRNAME`.
        error: String,
    },
    /// Any other warning or error of KHO, LUO, its handlers, or the revival of reserved memory.
    HandoverComplaint {
        /// The whole line.
        text: String,
    },
    /// "Revived memory reservation 'LABEL' from KHO" (`reserve_mem_kho_revive`, mm/memblock.c).
    Revived {
        /// Label of the `reserve_mem=`.
        label: String,
    },
    /// "node N deferred pages initialised in Mms" (`deferred_init_memmap`, mm/mm_init.c); the time is
    /// counted in ticks of `CONFIG_HZ`.
    DeferredPages {
        /// NUMA node.
        node: u32,
        /// Milliseconds.
        ms: u64,
    },
    /// "tsc: Detected X MHz processor" (`determine_cpu_tsc_frequencies`, arch/x86/kernel/tsc.c): the
    /// TSC has this frequency unless [`Fact::TscDetected`] says another.
    ProcessorDetected {
        /// Kilohertz.
        khz: u64,
    },
    /// "tsc: Detected X MHz TSC" (same place), printed if it differs from the processor's.
    TscDetected {
        /// Kilohertz.
        khz: u64,
    },
    /// "tsc: Refined TSC clocksource calibration: X MHz" (`tsc_refine_calibration_work`).
    TscRefined {
        /// Kilohertz.
        khz: u64,
    },
    /// "tsc: Marking TSC unstable due to REASON" (`mark_tsc_unstable`).
    TscUnstable {
        /// Why.
        reason: String,
    },
    /// "Ring buffer meta \[N\] is from previous boot!" (`rb_meta_validate_events`,
    /// kernel/trace/ring_buffer.c).
    RingKept {
        /// CPU whose ring it is.
        cpu: u32,
        /// Pages found invalid and dropped.
        discarded_pages: u64,
    },
    /// "Ring buffer boot meta ...", and "commit page not found" (`rb_meta_init`, `rb_cpu_meta_valid`,
    /// `rb_meta_validate_events`): a persistent ring was not taken over. A cold boot says so as well.
    RingRejected {
        /// The kernel's reason.
        reason: String,
    },
    /// "Run PATH as init process" (`run_init_process`, init/main.c).
    RunInit {
        /// The program.
        path: String,
    },
}

impl Fact {
    /// What a line states, if anything.
    pub fn of(line: &KmsgLine) -> Option<Self> {
        if !line.is_kernel() {
            return None;
        }
        let text = line.text.as_str();
        let fact = if let Some(text) = text.strip_prefix("KHO: ") {
            kho(text)
        } else if text.starts_with("luo") {
            text.split_once(": ").and_then(|(_, text)| luo(text))
        } else if let Some(text) = text.strip_prefix("tsc: ") {
            tsc(text)
        } else if let Some(text) = text.strip_prefix("Ring buffer ") {
            ring(text)
        } else {
            other(text)
        };
        let complains = || line.level <= WARNING && is_about_handover(text);
        fact.or_else(|| complains().then(|| Self::HandoverComplaint { text: text.to_owned() }))
    }
}

/// Whether KHO, LUO, a handler or the revival of `reserve_mem=` says this; the last has no prefix
/// (`reserve_mem_kho_revive`, mm/memblock.c).
fn is_about_handover(text: &str) -> bool {
    let by = ["luo", "memfd_luo", "kho_block", "FDT 'memblock'"];
    text.contains("KHO") || by.iter().any(|prefix| text.starts_with(prefix))
}

/// `KERN_WARNING`.
const WARNING: u8 = 4;

/// The facts of a log with the lines that state them.
pub fn facts(lines: &[KmsgLine]) -> impl Iterator<Item = (&KmsgLine, Fact)> {
    lines.iter().filter_map(|line| Some((line, Fact::of(line)?)))
}

/// The TSC frequency the kernel last settled on, kilohertz.
pub fn tsc_khz<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Option<u64> {
    let (mut processor, mut tsc, mut refined) = (None, None, None);
    for fact in facts {
        match *fact {
            Fact::ProcessorDetected { khz } => processor = Some(khz),
            Fact::TscDetected { khz } => tsc = Some(khz),
            Fact::TscRefined { khz } => refined = Some(khz),
            _ => {}
        }
    }
    refined.or(tsc).or(processor)
}

fn kho(text: &str) -> Option<Fact> {
    if text == "found kexec handover data." {
        return Some(Fact::KhoFound);
    }
    let (release, count) = text.strip_prefix("exec from: ")?.rsplit_once(" (count ")?;
    Some(Fact::ExecFrom { release: release.to_owned(), count: count.strip_suffix(')')?.parse().ok()? })
}

fn luo(text: &str) -> Option<Fact> {
    if let Some(number) = text.strip_prefix("Retrieved live update data, liveupdate number: ") {
        return number.parse().ok().map(Fact::LiveupdateNumber);
    }
    let (token, rest) = text.strip_prefix("Freeze failed for token[")?.split_once("] handler[")?;
    let (handler, error) = rest.rsplit_once("] err[")?;
    // `%#0llx` prints 0 without a prefix.
    let token = u64::from_str_radix(token.strip_prefix("0x").unwrap_or(token), 16).ok()?;
    let error = error.strip_suffix(']')?.to_owned();
    Some(Fact::FreezeFailed { token, handler: handler.to_owned(), error })
}

fn tsc(text: &str) -> Option<Fact> {
    if let Some(reason) = text.strip_prefix("Marking TSC unstable due to ") {
        return Some(Fact::TscUnstable { reason: reason.to_owned() });
    }
    if let Some(rest) = text.strip_prefix("Refined TSC clocksource calibration: ") {
        return Some(Fact::TscRefined { khz: khz(rest.strip_suffix(" MHz")?)? });
    }
    let rest = text.strip_prefix("Detected ")?;
    if let Some(mhz) = rest.strip_suffix(" MHz processor") {
        Some(Fact::ProcessorDetected { khz: khz(mhz)? })
    } else {
        Some(Fact::TscDetected { khz: khz(rest.strip_suffix(" MHz TSC")?)? })
    }
}

/// Reads `%lu.%03lu` megahertz.
fn khz(mhz: &str) -> Option<u64> {
    let (whole, thousandths) = mhz.split_once('.').filter(|(_, fraction)| fraction.len() == 3)?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(thousandths.parse().ok()?)
}

fn ring(text: &str) -> Option<Fact> {
    if let Some(reason) = text.strip_prefix("boot meta ") {
        return Some(Fact::RingRejected { reason: reason.to_owned() });
    }
    let (cpu, rest) = text.strip_prefix("meta [")?.split_once("] ")?;
    if rest == "commit page not found" {
        return Some(Fact::RingRejected { reason: format!("[{cpu}] {rest}") });
    }
    let rest = rest.strip_prefix("is from previous boot!")?;
    let discarded = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(" pages discarded)"));
    let discarded_pages = discarded.map_or(Some(0), |count| count.parse().ok())?;
    Some(Fact::RingKept { cpu: cpu.parse().ok()?, discarded_pages })
}

fn other(text: &str) -> Option<Fact> {
    if let Some(label) = text.strip_prefix("Revived memory reservation '") {
        return Some(Fact::Revived { label: label.strip_suffix("' from KHO")?.to_owned() });
    }
    if let Some(path) = text.strip_prefix("Run ").and_then(|rest| rest.strip_suffix(" as init process")) {
        return Some(Fact::RunInit { path: path.to_owned() });
    }
    deferred_pages(text).map(|(node, ms)| Fact::DeferredPages { node, ms })
}

/// Node and milliseconds of [`Fact::DeferredPages`], where a line of the kernel's says that.
pub fn deferred_pages(text: &str) -> Option<(u32, u64)> {
    let (node, ms) = text.strip_prefix("node ")?.split_once(" deferred pages initialised in ")?;
    Some((node.parse().ok()?, ms.strip_suffix("ms")?.parse().ok()?))
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
