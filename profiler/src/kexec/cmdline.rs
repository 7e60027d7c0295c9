//! The incoming kernel's command line: the current one, without what belonged to this boot, with the
//! boot-time evidence switched on.
//!
//! Made again from its own output it does not change, so that a chain of live updates does not grow.

/// Longest line `kexec_file_load` takes on x86, bytes without the NUL: `COMMAND_LINE_SIZE` 2048
/// (arch/x86/include/asm/setup.h), less the 30 bytes that `bzImage64_load` keeps for `elfcorehdr=` also
/// when it loads no crash kernel (arch/x86/kernel/kexec-bzimage64.c, Linux 7.3), less one there and the
/// NUL.
pub const MAX_BYTES: usize = 2048 - 1 - 30 - 1;

/// Parameters of one boot: replaced or dropped, not inherited.
const OURS: [&str; 10] = [
    "BOOT_IMAGE",
    "initrd",
    "trace_clock",
    "trace_buf_size",
    "ftrace",
    "ftrace_filter",
    "trace_event",
    "kprobe_event",
    "tsc_early_khz",
    "blackout.run",
];

/// What is switched on in the incoming kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// Functions (globs) for the boot function tracer; if empty the tracer stays off.
    pub filter: Vec<String>,
    /// `system:event` names for the boot trace buffer.
    pub events: Vec<String>,
    /// Kprobe definitions, commas for spaces: `p:name,symbol`.
    pub kprobes: Vec<String>,
    /// The outgoing kernel's TSC frequency, kHz: true log times before calibration.
    pub tsc_khz: Option<u64>,
    /// [`profiler_report::recording::frame::Run::id`].
    pub run_id: String,
    /// Parameters of the user's, put last: they win.
    pub append: String,
}

/// A command line that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CmdlineError {
    /// Too long for the kernel.
    #[error("command line is {over} bytes over the kernel's {MAX_BYTES}; shorten its largest parts: {}", parts.join(", "))]
    TooLong {
        /// Bytes too many.
        over: usize,
        /// The three largest parameters with their sizes.
        parts: Vec<String>,
    },
    /// A quote is opened and never closed: it would swallow what follows.
    #[error("unbalanced quote in parameter {parameter:?}")]
    Quote {
        /// The parameter.
        parameter: String,
    },
    /// A name that would end its list, or the line.
    #[error("{value:?} cannot stand in {parameter}=: space, quote, control or separator character")]
    Value {
        /// The parameter it was meant for.
        parameter: &'static str,
        /// The value.
        value: String,
    },
}

/// The incoming kernel's command line, from the text of `/proc/cmdline` and what to switch on.
///
/// Everything else survives in its order, `init`'s own arguments behind `--` included; of several
/// `reserve_mem=...:trace` and several `trace_instance=...@trace` the first stays. A parameter that
/// [`Boot::append`] repeats word for word stands once, where append puts it.
///
/// # Errors
/// [`CmdlineError`].
pub fn generate(current: &str, boot: &Boot) -> Result<String, CmdlineError> {
    let (current, arguments) = split_init(parameters(current)?);
    let (append, more_arguments) = split_init(parameters(&boot.append)?);

    let mut flight_recorder_seen = [false; 2];
    let mut line: Vec<String> = current
        .into_iter()
        .filter(|parameter| !OURS.iter().any(|ours| same_key(ours, key(parameter))))
        .filter(|parameter| !append.contains(parameter))
        .filter(|parameter| match flight_recorder_part(parameter) {
            Some(part) => !std::mem::replace(&mut flight_recorder_seen[part], true),
            None => true,
        })
        .map(str::to_owned)
        .collect();
    let mut ours = vec!["trace_clock=x86-tsc".to_owned(), "trace_buf_size=2M".to_owned()];
    if !boot.filter.is_empty() {
        ours.push("ftrace=function".to_owned());
    }
    for (name, values, separator) in [
        ("ftrace_filter", &boot.filter, ','),
        ("trace_event", &boot.events, ','),
        ("kprobe_event", &boot.kprobes, ';'),
    ] {
        if !values.is_empty() {
            ours.push(list(name, values, separator)?);
        }
    }
    ours.extend(boot.tsc_khz.map(|khz| format!("tsc_early_khz={khz}")));
    // The kernel adds events to events (`trace_append_boot_param`, kernel/trace/trace.c, Linux 7.3): the last word alone
    // does not win.
    line.extend(ours.into_iter().filter(|own| !append.iter().any(|other| same_key(key(own), key(other)))));
    line.push(list("blackout.run", std::slice::from_ref(&boot.run_id), ',')?);
    line.extend(append.into_iter().map(str::to_owned));

    let arguments: Vec<&str> = if more_arguments.is_empty() { arguments } else { more_arguments };
    if !arguments.is_empty() {
        line.push("--".to_owned());
        line.extend(arguments.into_iter().map(str::to_owned));
    }
    check_length(line)
}

fn check_length(mut line: Vec<String>) -> Result<String, CmdlineError> {
    let text = line.join(" ");
    let Some(over) = text.len().checked_sub(MAX_BYTES).filter(|&over| over > 0) else { return Ok(text) };
    line.sort_by_key(|parameter| std::cmp::Reverse(parameter.len()));
    let parts =
        line.iter().take(3).map(|parameter| format!("{} ({} bytes)", key(parameter), parameter.len()));
    Err(CmdlineError::TooLong { over, parts: parts.collect() })
}

fn list(name: &'static str, values: &[String], separator: char) -> Result<String, CmdlineError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '"' || c == separator;
    match values.iter().find(|value| value.is_empty() || value.contains(bad)) {
        Some(value) => Err(CmdlineError::Value { parameter: name, value: value.clone() }),
        None => Ok(format!("{name}={}", values.join(&separator.to_string()))),
    }
}

/// Splits as the kernel does (lib/cmdline.c, `next_arg`): at white space that is not inside double
/// quotes, which may stand anywhere in a parameter.
fn parameters(line: &str) -> Result<Vec<&str>, CmdlineError> {
    let mut found = Vec::new();
    let mut begin = None;
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match (c, begin) {
            // The kernel's own text ends at a NUL; /proc/cmdline ends with a newline.
            (c, _) if c.is_control() && !c.is_whitespace() => {
                return Err(CmdlineError::Value { parameter: "command line", value: line.to_owned() });
            }
            (c, Some(from)) if c.is_ascii_whitespace() && !quoted => {
                found.extend(line.get(from..at));
                begin = None;
            }
            (c, None) if c.is_ascii_whitespace() => {}
            (c, _) => {
                begin = begin.or(Some(at));
                quoted ^= c == '"';
            }
        }
    }
    let last = begin.and_then(|from| line.get(from..));
    if let Some(parameter) = last.filter(|_| quoted) {
        return Err(CmdlineError::Quote { parameter: parameter.to_owned() });
    }
    found.extend(last);
    Ok(found)
}

/// Splits the kernel's parameters from the arguments of init, behind `--`.
fn split_init(parameters: Vec<&str>) -> (Vec<&str>, Vec<&str>) {
    let mut halves = parameters.splitn(2, |parameter| *parameter == "--");
    let mut next = || halves.next().map(<[_]>::to_vec).unwrap_or_default();
    (next(), next())
}

fn key(parameter: &str) -> &str {
    let parameter = parameter.strip_prefix('"').unwrap_or(parameter);
    parameter.split_once('=').map_or(parameter, |(key, _)| key)
}

/// The kernel takes `-` and `_` for the same in names (kernel/params.c, `parameq`).
fn same_key(a: &str, b: &str) -> bool {
    let dashed = |byte: u8| if byte == b'-' { b'_' } else { byte };
    a.bytes().map(dashed).eq(b.bytes().map(dashed))
}

/// Which part of the flight recorder a parameter sets up: 0 the memory, 1 the instance on it.
fn flight_recorder_part(parameter: &str) -> Option<usize> {
    let value = parameter.split_once('=').map_or("", |(_, value)| value);
    match key(parameter) {
        "reserve_mem" if value.ends_with(":trace") => Some(0),
        "trace_instance" if value.split(',').next()?.ends_with("@trace") => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORDER: &str = "reserve_mem=12M:4096:trace trace_instance=boot_map@trace";

    fn boot() -> Boot {
        Boot {
            filter: vec!["luo_*".into(), "kernel_init_freeable".into()],
            events: vec!["printk:console".into(), "initcall:*".into()],
            kprobes: vec!["p:a,luo_open".into(), "r:b,luo_open".into()],
            tsc_khz: Some(2_400_000),
            run_id: "00112233445566aa".into(),
            append: "quiet".into(),
        }
    }

    #[test]
    fn replaces_this_boots_own_and_keeps_the_rest() {
        let current = format!(
            "BOOT_IMAGE=/vmlinuz initrd=\\initrd {RECORDER} kho=on trace-clock=local {RECORDER} \
             dyndbg=\"file a.c +p\" reserve_mem=2M:4096:other quiet -- single\n"
        );
        assert_eq!(
            generate(&current, &boot()).unwrap(),
            format!(
                "{RECORDER} kho=on dyndbg=\"file a.c +p\" reserve_mem=2M:4096:other \
                 trace_clock=x86-tsc trace_buf_size=2M ftrace=function \
                 ftrace_filter=luo_*,kernel_init_freeable trace_event=printk:console,initcall:* \
                 kprobe_event=p:a,luo_open;r:b,luo_open tsc_early_khz=2400000 \
                 blackout.run=00112233445566aa quiet -- single"
            )
        );
    }

    #[test]
    fn nothing_to_trace_leaves_the_function_tracer_off() {
        let boot = Boot { run_id: "x".into(), ..Boot::default() };
        assert_eq!(generate("", &boot).unwrap(), "trace_clock=x86-tsc trace_buf_size=2M blackout.run=x");
    }

    #[test]
    fn what_the_user_appends_stands_instead_of_ours() {
        let boot = Boot { append: "kprobe_event= trace-buf-size=9M".into(), ..boot() };
        let line = generate("", &boot).unwrap();
        assert!(!line.contains("luo_open") && !line.contains("2M"), "{line}");
        assert!(
            line.contains("trace_clock=x86-tsc ") && line.ends_with("kprobe_event= trace-buf-size=9M"),
            "{line}"
        );
    }

    #[test]
    fn a_line_of_the_kernels_limit_fits_and_one_more_does_not() {
        let rest = generate("", &boot()).unwrap().len() + 1;
        let filler = "x".repeat(MAX_BYTES - rest);
        assert_eq!(generate(&filler, &boot()).unwrap().len(), MAX_BYTES);
        let error = generate(&format!("{filler}y"), &boot()).unwrap_err();
        let CmdlineError::TooLong { over: 1, parts } = error else { panic!("{error}") };
        assert!(parts[0].ends_with(&format!("({} bytes)", filler.len() + 1)), "{parts:?}");
    }

    #[test]
    fn values_that_would_break_the_line_are_refused() {
        let broken = |edit: fn(&mut Boot)| {
            let mut boot = boot();
            edit(&mut boot);
            generate("quiet", &boot).unwrap_err()
        };
        assert!(matches!(broken(|boot| boot.filter[0] = "a b".into()), CmdlineError::Value { .. }));
        assert!(matches!(broken(|boot| boot.events[0] = "a,b".into()), CmdlineError::Value { .. }));
        assert!(matches!(broken(|boot| boot.kprobes[0] = "p;q".into()), CmdlineError::Value { .. }));
        assert!(matches!(broken(|boot| boot.run_id = String::new()), CmdlineError::Value { .. }));
        assert!(matches!(broken(|boot| boot.append = "a=\"b".into()), CmdlineError::Quote { .. }));
        assert!(matches!(generate("a\0b", &boot()), Err(CmdlineError::Value { .. })));
    }

    fn user_line() -> impl Strategy<Value = Vec<String>> {
        let parameter = prop_oneof![
            "u[a-z_.-]{0,6}",
            "u[a-z_]{0,6}=[a-z0-9,=@:]{0,8}",
            "u[a-z]{0,4}=\"[a-z =]{0,8}\"",
            "\"u[a-z]{0,4}=[a-z ]{0,8}\"",
        ];
        prop::collection::vec(parameter, 0..12)
    }

    proptest! {
        #[test]
        fn generating_again_changes_nothing(
            user in user_line(),
            append in user_line(),
            arguments in user_line(),
            noise in prop::sample::subsequence(
                vec!["BOOT_IMAGE=a", "initrd=b", "ftrace=x", "tsc_early_khz=1", "blackout.run=old", RECORDER],
                0..6,
            ),
        ) {
            let boot = Boot { append: append.join(" "), ..boot() };
            let current =
                format!("{} {}  {} -- {}", noise.join(" "), user.join(" "), noise.join("\t"), arguments.join(" "));
            let once = generate(&current, &boot).unwrap();
            prop_assert_eq!(generate(&once, &boot).unwrap(), once.clone());
            let later = Boot { run_id: "ffeeddccbbaa9988".into(), ..boot };
            prop_assert_eq!(generate(&once, &later).unwrap().len(), once.len());
        }

        #[test]
        fn the_users_parameters_survive_in_order(user in user_line()) {
            let line = generate(&user.join(" "), &boot()).unwrap();
            let kept: Vec<&str> =
                parameters(&line).unwrap().into_iter().filter(|p| key(p).starts_with('u')).collect();
            prop_assert_eq!(kept, user);
        }

        #[test]
        fn any_line_is_answered(current in ".{0,200}", append in ".{0,40}") {
            let boot = Boot { append, ..boot() };
            if let Ok(line) = generate(&current, &boot) {
                prop_assert!(line.len() <= MAX_BYTES);
                prop_assert_eq!(generate(&line, &boot).unwrap(), line);
            }
        }
    }
}
