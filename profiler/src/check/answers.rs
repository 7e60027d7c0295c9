//! Facts -> whether each need is met.

use profiler_report::{
    catalogue::Need,
    evidence::{
        facts::{Fact, facts as stated},
        text::scrub,
    },
};

use super::{Answer, Facts, NotTried, Seen, State};
use crate::kexec::cmdline::MAX_BYTES;

/// Whether a need is met, and how it could be.
pub fn answer(need: &Need, facts: &Facts) -> Answer {
    let (state, found) = look(&need.id, facts);
    let Need { id, title, level, without, .. } = need.clone();
    let met = state == State::Yes;
    let (without, how) = if met { (String::new(), Vec::new()) } else { (without, ways(need, state, facts)) };
    Answer { id, title, level, state, found: scrub(found.as_bytes(), 200), without, how }
}

/// How to get it: what this kernel was built without; else what it was not told; else what to do.
fn ways(need: &Need, state: State, facts: &Facts) -> Vec<String> {
    let run = need.run.iter().cloned();
    if state == State::Unknown {
        // Who lacks privileges is told so once, and to whom nothing is denied there is something to do.
        let denied = !facts.capabilities_missing.as_ref().is_ok_and(Vec::is_empty);
        return run.filter(|_| !denied).collect();
    }
    let options = match &facts.config {
        Some(config) => need.options_off(config),
        None => need.config.iter().map(String::as_str).collect(),
    };
    let missing = options.into_iter().map(|option| format!("build the kernel with {option}"));
    let words = need.cmdline.iter().flat_map(|line| line.split_ascii_whitespace());
    let untold: Vec<&str> = words.filter(|word| !has_word(&facts.kernel.cmdline, word)).collect();
    let boot = (!untold.is_empty()).then(|| format!("boot with {}", untold.join(" ")));
    let by_option: Vec<String> = missing.chain(boot).collect();
    let certain = facts.config.is_some() && !by_option.is_empty();
    by_option.into_iter().chain(run.filter(|_| !certain)).collect()
}

fn has_word(cmdline: &str, word: &str) -> bool {
    cmdline.split_ascii_whitespace().any(|other| other == word)
}

fn look(id: &str, facts: &Facts) -> (State, String) {
    let symbol = |name: &str| seen(&facts.symbols, |known| known.contains(name), name);
    let events = |names: &[&str]| {
        let there =
            |known: &std::collections::BTreeSet<String>| names.iter().all(|name| known.contains(*name));
        seen(&facts.events, there, &names.join(", "))
    };
    let tracer = |name: &str| seen(&facts.tracers, |all| all.iter().any(|tracer| tracer == name), name);
    match id {
        "kexec" => match (facts.kexec_disabled, facts.lockdown.as_str()) {
            (Some(true), _) => (State::No, "kernel.kexec_load_disabled is 1".to_owned()),
            _ => config_or(facts, "CONFIG_KEXEC_FILE", symbol("__x64_sys_kexec_file_load")),
        },
        "kho" => kho(facts),
        "luo" => yes_if(facts.liveupdate_device, "/dev/liveupdate"),
        "memfd" => config_or(facts, "CONFIG_LIVEUPDATE_MEMFD", symbol("memfd_luo_preserve")),
        "privilege" => match &facts.capabilities_missing {
            Ok(missing) if missing.is_empty() => (State::Yes, "all that it takes".to_owned()),
            Ok(missing) => (State::No, format!("no {}", missing.join(", "))),
            Err(error) => (State::Unknown, error.clone()),
        },
        "recorder" => recorder(facts),
        "recorder-clock" => match &facts.recorder {
            Ok(Some(recorder)) if recorder.clock == "local" => (State::Yes, "local".to_owned()),
            Ok(Some(recorder)) => (State::No, recorder.clock.clone()),
            Ok(None) => (State::Unknown, "there is no flight recorder".to_owned()),
            Err(error) => (State::Unknown, error.clone()),
        },
        "tracefs" => seen(&facts.tracefs, |mounted| *mounted, "/sys/kernel/tracing"),
        "bpf" => match (&facts.tried, &facts.config) {
            (Ok(_), _) => (State::Yes, "programs were loaded".to_owned()),
            (Err(NotTried::Refused(error)), _) => (State::No, error.clone()),
            (Err(not), None) => (State::Unknown, not.to_string()),
            (Err(_), Some(config)) => yes_if(config.contains_key("CONFIG_BPF_EVENTS"), "CONFIG_BPF_EVENTS"),
        },
        "bpffs" => yes_if(facts.bpffs, "/sys/fs/bpf"),
        "kprobes" => yes_if(facts.kprobes, "events of type kprobe"),
        "initcalls" => events(&["initcall:initcall_start", "initcall:initcall_finish"]),
        "console" => events(&["printk:console"]),
        "log" => match &facts.log {
            Ok(log) => (State::Yes, format!("{} lines", log.lines.len())),
            Err(error) => (State::Unknown, error.clone()),
        },
        "frequency" => match (facts.kernel.tsc_hz, &facts.log) {
            (Some(hz), _) => (State::Yes, format!("{}.{:03} MHz", hz / 1_000_000, hz / 1_000 % 1_000)),
            (None, Ok(_)) => (State::No, "no line \"tsc: Detected ... MHz\"".to_owned()),
            (None, Err(error)) => (State::Unknown, error.clone()),
        },
        "boot-line" => match &facts.boot_line {
            Ok(Ok(bytes)) => (State::Yes, format!("{bytes} of {MAX_BYTES} bytes")),
            Ok(Err(error)) => (State::No, error.clone()),
            Err(error) => (State::Unknown, error.clone()),
        },
        "tsc" => tsc(facts),
        "btf" => yes_if(facts.btf, "/sys/kernel/btf/vmlinux"),
        "symbols" => seen(&facts.symbols, |known| !known.is_empty(), "/proc/kallsyms"),
        "handlers" => symbol("luo_file_handler_list"),
        "function-tracer" => tracer("function"),
        "fprobe" => config_or(facts, "CONFIG_FPROBE", symbol("register_fprobe_ips")),
        "kvm" => events(&["kvm:kvm_entry", "kvm:kvm_exit"]),
        "config" => match facts.config_file.as_deref() {
            Some(file @ "/proc/config.gz") => (State::Yes, file.to_owned()),
            Some(file) => (State::No, format!("only in {file}")),
            None => (State::No, "no /proc/config.gz".to_owned()),
        },
        "stamp" => match facts.lockdown.as_str() {
            "" | "none" => (State::Yes, "no lockdown".to_owned()),
            lockdown => (State::No, format!("lockdown is `{lockdown}`")),
        },
        _ => (State::Unknown, "this version does not know how to look".to_owned()),
    }
}

fn yes_if(there: bool, what: &str) -> (State, String) {
    if there { (State::Yes, what.to_owned()) } else { (State::No, format!("no {what}")) }
}

fn seen<T>(fact: &Seen<T>, there: impl Fn(&T) -> bool, what: &str) -> (State, String) {
    match fact {
        Ok(fact) => yes_if(there(fact), what),
        Err(error) => (State::Unknown, error.clone()),
    }
}

/// By the configuration, if the kernel tells it; else by something else.
fn config_or(facts: &Facts, option: &str, otherwise: (State, String)) -> (State, String) {
    match &facts.config {
        Some(config) => yes_if(config.contains_key(option), option),
        None => otherwise,
    }
}

fn kho(facts: &Facts) -> (State, String) {
    // `early_param("kho")` takes what `kstrtobool` does (kernel/liveupdate/kexec_handover.c, Linux 7.3).
    let word = facts.kernel.cmdline.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix("kho="));
    let told = word.map(|value| matches!(value, "on" | "1" | "y" | "Y" | "yes" | "t" | "true"));
    let built = |option| facts.config.as_ref().map(|config| config.contains_key(option));
    match (built("CONFIG_KEXEC_HANDOVER"), told, facts.kho_folder) {
        (Some(false), ..) => (State::No, "not built in".to_owned()),
        (_, Some(false), _) => (State::No, "kho=off".to_owned()),
        (_, _, true) => (State::Yes, "/sys/kernel/debug/kho".to_owned()),
        (_, Some(true), _) if facts.liveupdate_device => (State::Yes, "kho=on".to_owned()),
        (Some(true), Some(true), _) => (State::Yes, "kho=on".to_owned()),
        (_, None, _) if built("CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT") == Some(true) => {
            (State::Yes, "on by default".to_owned())
        }
        (None, Some(true), _) => (State::Unknown, "kho=on, but the kernel does not tell".to_owned()),
        (_, None, _) => (State::No, "no kho=on".to_owned()),
    }
}

fn recorder(facts: &Facts) -> (State, String) {
    match &facts.recorder {
        Ok(Some(recorder)) => (State::Yes, format!("{}, {} KiB", recorder.instance, recorder.bytes / 1024)),
        Ok(None) => (State::No, "no trace instance boot_map".to_owned()),
        // Who may not look can still read the command line.
        Err(error) => match facts.kernel.cmdline.contains("trace_instance=boot_map@") {
            true => (State::Unknown, format!("it is on the command line; {error}")),
            false => (State::No, "not on the command line".to_owned()),
        },
    }
}

fn tsc(facts: &Facts) -> (State, String) {
    let lines = facts.log.as_ref().map_or(&[][..], |log| &log.lines);
    let unstable = stated(lines).find_map(|(_, fact)| match fact {
        Fact::TscUnstable { reason } => Some(reason),
        _ => None,
    });
    let lacks: Vec<&str> =
        ["constant_tsc", "nonstop_tsc"].into_iter().filter(|flag| !facts.cpu_flags.contains(*flag)).collect();
    match unstable {
        Some(reason) => (State::No, format!("the kernel calls it unstable: {reason}")),
        None if facts.kernel.arch == "x86_64" && !lacks.is_empty() => {
            (State::No, format!("no {} in /proc/cpuinfo", lacks.join(", ")))
        }
        None => (State::Yes, format!("constant, nonstop; clocksource {}", facts.kernel.clocksource)),
    }
}
