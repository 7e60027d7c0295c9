//! Who this kernel and machine are.

use std::{
    fs::{self, File},
    io::Read,
};

use profiler_mark::ticks;
use profiler_report::{
    evidence::{
        facts::{Fact, facts, tsc_khz},
        kmsg,
    },
    recording::{
        Body, Frame, Side,
        frame::{Kernel, RtcReading, Run},
    },
};
use rustix::time::ClockId;
use sha2::{Digest, Sha256};

use super::{AgentError, anchors::nanoseconds};

/// A new run's identity.
pub fn new_run() -> Result<Run, AgentError> {
    let path = "/dev/urandom";
    let mut bytes = [0; 8];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(AgentError::file("read", path))?;
    Ok(run(format!("{:016x}", u64::from_le_bytes(bytes))))
}

/// The identity of this half of a run.
pub fn run(id: String) -> Run {
    let tool = env!("CARGO_PKG_VERSION").to_owned();
    Run { id, recorded_at_ns: nanoseconds(ClockId::Realtime), tool }
}

/// Run id on this kernel's command line: it was started by `blackout load`.
pub fn run_on_cmdline() -> Option<String> {
    let cmdline = fs::read_to_string("/proc/cmdline").ok()?;
    let id = cmdline.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix("blackout.run="))?;
    is_run_id(id).then(|| id.to_owned())
}

/// Whether this is a run's id, which is also the name of a file.
pub fn is_run_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// This kernel and machine, with what the kernel log says of itself. What cannot be read is left
/// empty: identity is context, not evidence.
pub fn kernel(log: &[u8]) -> Kernel {
    let uname = rustix::system::uname();
    let log = kmsg::parse(log);
    let facts: Vec<Fact> = facts(&log.lines).map(|(_, fact)| fact).collect();
    let kexec_count = facts.iter().find_map(|fact| match fact {
        Fact::ExecFrom { count, .. } => Some(*count),
        _ => None,
    });
    let liveupdate_number = facts.iter().find_map(|fact| match fact {
        Fact::LiveupdateNumber(number) => Some(*number),
        _ => None,
    });
    let before = ticks();
    let realtime = nanoseconds(ClockId::Realtime);
    Kernel {
        release: uname.release().to_string_lossy().into_owned(),
        version: uname.version().to_string_lossy().into_owned(),
        arch: uname.machine().to_string_lossy().into_owned(),
        host: uname.nodename().to_string_lossy().into_owned(),
        build_id: build_id().unwrap_or_default(),
        config_sha256: config_sha256().unwrap_or_default(),
        cmdline: text("/proc/cmdline"),
        cpus: listed("/sys/devices/system/cpu/online"),
        memory_bytes: memory_bytes().unwrap_or(0),
        numa_nodes: listed("/sys/devices/system/node/online").max(1),
        tsc_hz: tsc_khz(&facts).map(|khz| khz * 1000),
        clocksource: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        kexec_count: kexec_count.unwrap_or(0),
        liveupdate_number: liveupdate_number.unwrap_or(0),
        realtime_at_tsc: Some((before, realtime)),
        rtc: rtc("/sys/class/rtc/rtc0"),
    }
}

/// Reads the RTC in a folder of sysfs (`since_epoch_show`, drivers/rtc/sysfs.c, Linux 7.3); `None` without one, or without
/// `CONFIG_RTC_INTF_SYSFS`.
fn rtc(folder: &str) -> Option<RtcReading> {
    let name = text(&format!("{folder}/name"));
    let before = ticks();
    let seconds = text(&format!("{folder}/since_epoch"));
    let after = ticks();
    Some(RtcReading { name, before, seconds: seconds.parse().ok()?, after })
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// Members of a kernel list such as `0-3,8`.
pub fn listed(path: &str) -> u32 {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    };
    text(path).split(',').filter_map(range).sum()
}

fn memory_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The configuration as the kernel holds it: a frame of its own, for it is some 40 kB.
pub fn config(side: Side) -> Option<Frame> {
    let blob = fs::read("/proc/config.gz").ok()?;
    Some(Frame { side, body: Body::Config, blob })
}

/// Hash of the compressed configuration as the kernel holds it: equal builds have equal bytes.
fn config_sha256() -> Option<String> {
    let config = fs::read("/proc/config.gz").ok()?;
    Some(hex(&Sha256::digest(config)))
}

/// GNU build id: the note of type 3 in `/sys/kernel/notes`.
fn build_id() -> Option<String> {
    let notes = fs::read("/sys/kernel/notes").ok()?;
    let mut rest = notes.as_slice();
    let word = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize);
    loop {
        let (name_len, desc_len, kind) = (word(rest)?, word(rest.get(4..)?)?, word(rest.get(8..)?)?);
        let name = rest.get(12..)?.get(..name_len)?;
        let desc_at = 12 + name_len.next_multiple_of(4);
        let desc = rest.get(desc_at..)?.get(..desc_len)?;
        if kind == 3 && name == b"GNU\0" {
            return Some(hex(desc));
        }
        rest = rest.get(desc_at + desc_len.next_multiple_of(4)..)?;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rtc_is_read_between_two_readings_of_the_tsc_or_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_str().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(rtc(folder), None);
        write("name", "rtc_cmos 00:04\n");
        write("since_epoch", "1767225600\n");
        let read = rtc(folder).unwrap();
        assert_eq!((read.name.as_str(), read.seconds), ("rtc_cmos 00:04", 1_767_225_600));
        assert!(read.before < read.after);
        for wrong in ["", "-1\n", "soon\n"] {
            write("since_epoch", wrong);
            assert_eq!(rtc(folder), None, "{wrong:?}");
        }
    }
}
