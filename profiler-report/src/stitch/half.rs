//! One kernel's half of a recording, sorted by what it is.

use std::collections::BTreeMap;

use super::clean::clean;
use crate::{
    catalogue::{CATALOGUE, Way},
    evidence::{
        trace::CpuPages,
        zoneinfo::{self, Zone},
    },
    recording::{
        Body, Frame, Side,
        frame::{Anchors, CommandResult, Counted, Coverage, Kernel, Run, TraceBuffer},
    },
};

/// Everything the recording holds about one kernel.
#[derive(Debug, Default)]
pub struct Half<'a> {
    /// Identity of the run, as this half has it.
    pub run: Option<Run>,
    /// The kernel.
    pub kernel: Option<Kernel>,
    /// Trace buffers by name.
    pub buffers: BTreeMap<String, TraceBuffer>,
    /// Their pages.
    pub pages: Vec<(&'a str, CpuPages<'a>)>,
    /// Their loss counters: buffer, CPU, text.
    pub stats: Vec<(&'a str, u32, &'a str)>,
    /// Probes that missed calls: which and how many.
    pub missed: Vec<(String, u64)>,
    /// The kernel log.
    pub kmsg: Option<&'a [u8]>,
    /// Anchors that user space took.
    pub anchors: Vec<Anchors>,
    /// Names by address.
    pub symbols: BTreeMap<u64, String>,
    /// Modules of built-in functions, by address.
    pub modules: BTreeMap<u64, String>,
    /// What was probed.
    pub coverage: Option<Coverage>,
    /// What was counted where it ran.
    pub counted: Option<Counted>,
    /// `/proc/config.gz`.
    pub config: Option<&'a [u8]>,
    /// `/proc/zoneinfo`.
    pub zoneinfo: Option<&'a [u8]>,
    /// `boot_params`.
    pub boot_params: Option<&'a [u8]>,
    /// Commands that ran beside the recorder.
    pub commands: Vec<CommandResult>,
    /// `reboot(2)` came back: errno and TSC.
    pub returned: Option<(i32, u64)>,
    /// Notes of the recorder.
    pub notes: Vec<String>,
    /// The half was written to its end.
    pub ended: bool,
    /// It holds anything at all.
    pub present: bool,
    /// Its kernel is the very build that wrote its command line, so that what boot kprobes read out of
    /// structures by that kernel's layouts is what it says it is.
    pub layouts: bool,
}

impl<'a> Half<'a> {
    /// Gathers one side's frames.
    pub fn gather(frames: &'a [Frame], side: Side) -> Self {
        let mut half = Self::default();
        for frame in frames.iter().filter(|frame| frame.side == side) {
            half.present = true;
            match &frame.body {
                Body::TracePages { buffer, cpu, page_size } => {
                    let pages = CpuPages { cpu: *cpu, page_size: *page_size, blob: &frame.blob };
                    half.pages.push((buffer, pages));
                }
                Body::TraceStats { buffer, cpu, text } => half.stats.push((buffer, *cpu, text)),
                Body::Kmsg => half.kmsg = Some(&frame.blob),
                Body::Config => half.config = Some(&frame.blob),
                Body::ZoneInfo => half.zoneinfo = Some(&frame.blob),
                Body::BootParams => half.boot_params = Some(&frame.blob),
                body => half.take(body.clone()),
            }
        }
        half
    }

    /// Takes a body that carries everything itself; what is known already stays.
    pub fn take(&mut self, body: Body) {
        match clean(body) {
            Body::Run(run) => drop(self.run.get_or_insert(run)),
            Body::Kernel(kernel) => drop(self.kernel.get_or_insert(kernel)),
            Body::TraceBuffer(buffer) => {
                let known = self.buffers.entry(buffer.name.clone()).or_default();
                if known.header_page.is_empty() {
                    known.header_page = buffer.header_page;
                }
                if known.clock.is_empty() {
                    known.clock = buffer.clock;
                }
                if known.formats.len() < buffer.formats.len() {
                    known.formats = buffer.formats;
                }
                known.name = buffer.name;
            }
            Body::KprobeProfile { text } => self.missed.extend(missed(&text)),
            // Both the file and the flight recorder have it.
            Body::Missed { misses } => {
                let new = |miss: &(String, u64)| !self.missed.contains(miss);
                let misses: Vec<_> = misses.into_iter().filter(new).collect();
                self.missed.extend(misses);
            }
            Body::Anchors(anchors) => self.anchors.push(anchors),
            Body::Symbols { symbols } => self.symbols.extend(symbols),
            Body::Modules { modules } => self.modules.extend(modules),
            Body::Coverage(coverage) => drop(self.coverage.get_or_insert(coverage)),
            Body::Counted(counted) => drop(self.counted.get_or_insert(counted)),
            Body::Command(command) => self.commands.push(command),
            Body::RebootReturned { errno, tsc } => self.returned = Some((errno, tsc)),
            Body::Note { text } => self.notes.push(text),
            Body::End => self.ended = true,
            // With blobs, or of a newer version.
            Body::TracePages { .. }
            | Body::TraceStats { .. }
            | Body::Kmsg
            | Body::BootParams
            | Body::ZoneInfo
            | Body::Config
            | Body::Unknown => {}
        }
    }

    /// Whether functions were counted in this kernel.
    pub fn is_counting(&self) -> bool {
        let hot = |symbol: &String| {
            CATALOGUE
                .by_symbol(symbol)
                .is_some_and(|p| p.outgoing.contains(&Way::Hot) || p.incoming.contains(&Way::Hot))
        };
        let probes = self.coverage.iter().flat_map(|coverage| &coverage.probes);
        probes.filter(|probe| probe.error.is_none()).any(|probe| probe.symbol.as_ref().is_some_and(hot))
    }

    /// Whether both halves are of one build; not if either does not tell.
    pub fn same_build(&self, other: &Half) -> bool {
        let (Some(one), Some(two)) = (&self.kernel, &other.kernel) else { return false };
        !one.build_id.is_empty() && one.build_id == two.build_id
    }

    /// The page allocator's zones, if they were recorded.
    pub fn zones(&self) -> Vec<Zone> {
        self.zoneinfo.map(zoneinfo::parse).unwrap_or_default()
    }

    /// Pages of one buffer.
    pub fn pages_of(&self, buffer: &str) -> impl Iterator<Item = CpuPages<'a>> {
        self.pages.iter().filter(move |(name, _)| *name == buffer).map(|(_, pages)| *pages)
    }

    /// Events the kernel counted as lost in one buffer (`per_cpu/cpuN/stats`): `overrun` were
    /// overwritten, `commit overrun` and `dropped events` never written.
    pub fn dropped(&self, buffer: &str) -> u64 {
        let lines =
            self.stats.iter().filter(|(name, ..)| *name == buffer).flat_map(|(.., text)| text.lines());
        lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(counter, _)| matches!(*counter, "overrun" | "commit overrun" | "dropped events"))
            .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
            .sum()
    }

    /// Name of the function at this address: the nearest symbol at or below it. Entry stamps may lie
    /// behind an `endbr64` and a call to the tracer, never further.
    pub fn symbol(&self, address: u64) -> Option<&str> {
        const ENTRY_BYTES: u64 = 16;
        let (start, name) = self.symbols.range(..=address).next_back()?;
        (address - start <= ENTRY_BYTES).then_some(name.as_str())
    }
}

/// Events with misses of a `kprobe_profile`: lines of event, hits, misses (`probes_profile_seq_show`,
/// kernel/trace/trace_kprobe.c, Linux 7.3). A return probe misses when too many calls are open at once.
fn missed(profile: &str) -> Vec<(String, u64)> {
    let event = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (name, misses) = (fields.next()?, fields.nth(1)?.parse::<u64>().ok()?);
        (misses > 0).then(|| (crate::evidence::text::scrub(name.as_bytes(), 128), misses))
    };
    profile.lines().filter_map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::missed;

    #[test]
    fn only_events_that_missed_are_told() {
        let profile =
            "  luo_open                               1               0\n  luo_open_ret  4  2\nnonsense\n";
        assert_eq!(missed(profile), [("luo_open_ret".to_owned(), 2)]);
    }
}
