//! Looks at this kernel for `blackout check`, and changes nothing: probes are attached and taken out again
//! only where nobody records what they say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use profiler_mark::tracefs::{FLIGHT_RECORDER, RECORD_EVENT};
use profiler_report::{
    catalogue::{CATALOGUE, Way},
    evidence,
    recording::Side,
};

use super::{
    AgentError,
    bpf::link,
    error::chain,
    identity, kallsyms, kmsg, load,
    probes::{Look, Probes},
    tracefs::{self, Instance},
};
use crate::check::{Facts, NotTried, Recorder, Seen, Tried};

/// Symbols that tell what a kernel can do, beside those of the catalogue.
const TELLING: [&str; 2] = ["luo_file_handler_list", "register_fprobe_ips"];
/// Events that recordings hold, beside those of the catalogue.
const RECORDED: [&str; 4] =
    ["initcall:initcall_start", "initcall:initcall_finish", "printk:console", "bpf_trace:bpf_trace_printk"];
/// What arming, loading and collecting take (include/uapi/linux/capability.h).
const CAPABILITIES: [(u32, &str); 5] =
    [(21, "CAP_SYS_ADMIN"), (22, "CAP_SYS_BOOT"), (34, "CAP_SYSLOG"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// What this kernel offers, as far as it can be looked at. With `attach` the probes are tried.
pub fn survey(attach: bool, trace_boot: bool) -> Facts {
    let log = kmsg::read_all();
    let kernel = identity::kernel(log.as_deref().unwrap_or_default());
    let (config, config_file) = config(&kernel.release).unzip();
    let capabilities_missing = capabilities_missing();
    let tracefs = match tracefs::reachable() {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("/sys/kernel/tracing: {error}")),
    };
    let global = match &tracefs {
        Ok(true) => Instance::global().map_err(|error| chain(&error)),
        Ok(false) => Err("tracefs is not mounted".to_owned()),
        Err(error) => Err(error.clone()),
    };
    let global = global.as_ref().map_err(String::clone);
    let tried = tried(attach, &capabilities_missing, global.clone());
    Facts {
        tracers: global.clone().and_then(|global| words(global, "available_tracers")),
        events: global.clone().map(events),
        recorder: global.and_then(|_| recorder().map_err(|error| chain(&error))),
        config,
        config_file,
        log: log.map(|log| evidence::kmsg::parse(&log)).map_err(|error| chain(&error)),
        cpu_flags: cpu_flags(),
        capabilities_missing,
        lockdown: lockdown(),
        kexec_disabled: text("/proc/sys/kernel/kexec_load_disabled").map(|text| text != "0"),
        kho_folder: Path::new("/sys/kernel/debug/kho/out").exists(),
        liveupdate_device: Path::new("/dev/liveupdate").exists(),
        kprobes: link::kprobe_pmu().is_ok(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        bpffs: is_bpffs("/sys/fs/bpf"),
        symbols: symbols(),
        boot_line: boot_line(trace_boot),
        tracefs,
        kernel,
        tried,
    }
}

/// Attaches every probe as `arm` and `collect` would, and takes them out again.
fn tried(attach: bool, missing: &Seen<Vec<&str>>, global: Seen<&Instance>) -> Result<Tried, NotTried> {
    if !attach {
        return Err(NotTried::Unable("told not to (--no-attach)".to_owned()));
    }
    match missing {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => return Err(NotTried::Unable(format!("we lack {}", missing.join(", ")))),
        Err(error) => return Err(NotTried::Unable(error.clone())),
    }
    let global = global.map_err(NotTried::Unable)?;
    let refused = |error: AgentError| NotTried::Refused(chain(&error));
    if let Some(listener) = listener(global) {
        return Err(NotTried::Disturbs(format!(
            "{listener} records what probes say: it is armed or being read"
        )));
    }
    let enable = format!("events/{RECORD_EVENT}/enable");
    let was_off = global.get(&enable).is_ok_and(|text| text.starts_with('0'));
    let states = |side| {
        Probes::attach_for_now(side, Look::default(), || ()).map(|(_out_again, coverage)| coverage.probes)
    };
    let tried =
        states(Side::Outgoing).and_then(|outgoing| Ok(Tried { outgoing, incoming: states(Side::Incoming)? }));
    // The kernel switches it on as soon as programs like ours are loaded.
    if was_off {
        global.set(&enable, "0").map_err(refused)?;
    }
    tried.map_err(refused)
}

/// The trace instance that would record our probes' hits, and whose records somebody counts on.
fn listener(global: &Instance) -> Option<String> {
    let on = |instance: &Instance| {
        let is_on = |file: &str| instance.get(file).is_ok_and(|text| text.trim() == "1");
        is_on("tracing_on") && is_on(&format!("events/{RECORD_EVENT}/enable"))
    };
    // An event left on in the global buffer is nobody's, unless a `collect` is going to read it.
    if identity::run_on_cmdline().is_some() && on(global) {
        return Some("the boot's trace buffer".to_owned());
    }
    let listening = global.instances().into_iter().find(|(_, instance)| on(instance));
    listening.map(|(name, _)| format!("trace instance {name}"))
}

fn recorder() -> Result<Option<Recorder>, AgentError> {
    let Some(instance) = Instance::flight_recorder()? else { return Ok(None) };
    let records = instance.records()?;
    let number = |text: String| text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    Ok(Some(Recorder {
        instance: FLIGHT_RECORDER.to_owned(),
        bytes: number(instance.get("buffer_total_size_kb")?).unwrap_or(0) * 1024,
        clock: instance.clock()?,
        armed: instance.get(&format!("events/{RECORD_EVENT}/enable"))?.trim() == "1",
        // `show_last_boot_header`, kernel/trace/trace.c, Linux 7.3; a cold boot's empty ring says so too.
        previous_boot: records > 0
            && instance.get("last_boot_info").is_ok_and(|text| !text.starts_with("# Current")),
        records,
    }))
}

fn symbols() -> Seen<BTreeSet<String>> {
    let telling: Vec<String> = TELLING.map(str::to_owned).into();
    let wanted = CATALOGUE.probes.iter().flat_map(|probe| &probe.symbols).chain(&telling);
    let known = kallsyms::known(wanted).map_err(|error| chain(&error))?;
    Ok(known.into_iter().map(str::to_owned).collect())
}

fn events(global: &Instance) -> BTreeSet<String> {
    let of_catalogue = CATALOGUE.probes.iter().filter(|probe| {
        probe.incoming.contains(&Way::BootEvent) || probe.incoming.contains(&Way::Tracepoint)
    });
    let wanted = of_catalogue.flat_map(|probe| &probe.symbols).map(String::as_str).chain(RECORDED);
    let there = |event: &&str| global.path("events").join(event.replace(':', "/")).is_dir();
    wanted.filter(there).map(str::to_owned).collect()
}

fn words(instance: &Instance, file: &str) -> Seen<Vec<String>> {
    let text = instance.get(file).map_err(|error| chain(&error))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// The length of the line that `blackout load` would give the incoming kernel; inside, why there is none.
fn boot_line(trace_boot: bool) -> Seen<Result<usize, String>> {
    match load::cmdline("0000000000000000", "", trace_boot) {
        Ok(line) => Ok(Ok(line.len())),
        Err(AgentError::Cmdline(error)) => Ok(Err(error.to_string())),
        Err(error) => Err(chain(&error)),
    }
}

/// Options of this kernel, and the file that tells them.
fn config(release: &str) -> Option<(BTreeMap<String, String>, String)> {
    let own = "/proc/config.gz".to_owned();
    let of_kernel = fs::read(&own).ok().and_then(|gz| evidence::config::parse(&gz));
    of_kernel.map(|options| (options, own)).or_else(|| {
        let path = format!("/boot/config-{release}");
        Some((evidence::config::parse_text(&fs::read(&path).ok()?)?, path))
    })
}

/// Which of [`CAPABILITIES`] this process lacks.
fn capabilities_missing() -> Seen<Vec<&'static str>> {
    let path = "/proc/self/status";
    let status = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let bits = bits.ok_or_else(|| format!("{path} has no line CapEff"))?;
    Ok(CAPABILITIES.iter().filter(|(bit, _)| bits >> bit & 1 == 0).map(|(_, name)| *name).collect())
}

fn cpu_flags() -> BTreeSet<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.map(|(_, flags)| flags.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// The word in brackets; empty if the kernel has no lockdown.
fn lockdown() -> String {
    let all = text("/sys/kernel/security/lockdown").unwrap_or_default();
    all.split(['[', ']']).nth(1).unwrap_or_default().to_owned()
}

fn is_bpffs(path: &str) -> bool {
    /// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
    const MAGIC: i128 = 0xcafe_4a11;
    rustix::fs::statfs(path).is_ok_and(|fs| i128::from(fs.f_type) == MAGIC)
}

fn text(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}
