//! What the log's way to a console took.
//!
//! Until a console has a thread of its own, printk returns when the line is written, so between two lines
//! that follow each other the first was (`console_unlock` and `nbcon_legacy_emit_next_record`,
//! kernel/printk, Linux 7.3). How long a byte takes is measured twice: when the console is switched on it is
//! given all lines so far at once; and of the times between lines, shared out to the bytes of the first, the
//! shortest hold nothing else. From the first line that another follows sooner than it could have been
//! written, a thread writes (`printk_kthreads_ready`; the 8250's console has one since Linux 7.3): that
//! lengthens the window only where the thread has no other CPU to run on.

use super::{Case, Finding, Line, detect::phase_at};
use crate::report::Report;

/// `[    0.000000] ` before each line, and a carriage return and a newline behind it.
const AROUND: u64 = 17;
/// Shorter lines say little of a byte's time.
const LONG: u64 = 40;
/// Fewer measure nothing.
const LINES: usize = 20;
/// `CONSOLE_LOGLEVEL_DEFAULT` where the configuration is not known, and `quiet`'s (lib/Kconfig.debug).
const DEFAULT_LEVEL: u8 = 7;
const QUIET_LEVEL: u8 = 4;

/// Output inside the window.
pub fn output(case: &Case) -> Option<Finding> {
    let report = case.report;
    let window_end = i64::try_from(report.window.as_ref()?.duration_ns).ok()?;
    let shown = level(report)?;
    let on = |line: &Line| line.text.contains("console [") && line.text.ends_with("] enabled");
    let switched_on = case.log.iter().rposition(on)?;
    let written = |line: &&Line| line.level < shown && line.at_ns.is_none_or(|at| at < window_end);
    let bytes = |lines: &[Line]| lines.iter().filter(written).map(size).sum::<u64>();

    let (backlog, after) = case.log.split_at_checked(switched_on + 1)?;
    let flushed = gap(backlog.last()?, after.first()?)?;
    let at_once = flushed as f64 / bytes(backlog).max(1) as f64;
    let long = |line: &Line| written(&line) && size(line) >= LONG;
    let too_soon =
        |line: &Line, next| long(line) && gap_per_byte(line, next).is_some_and(|ns| ns < at_once / 2.0);
    let first_by_thread = after.array_windows().position(|[line, next]| too_soon(line, next));
    let (waited_for, by_thread) = after.split_at(first_by_thread.unwrap_or(after.len()));

    let mut each: Vec<f64> = waited_for
        .array_windows()
        .filter(|[line, _]| long(line))
        .filter_map(|[line, next]| gap_per_byte(line, next))
        .collect();
    each.sort_by(f64::total_cmp);
    let shortest = each.get(each.len() / 20).filter(|_| each.len() >= LINES)?;
    let per_byte = at_once.min(*shortest);
    let beside = if report.run.cpus > 1 { bytes(by_thread) } else { 0 };
    let all = bytes(case.log);
    Some(Finding {
        phase: phase_at(report, backlog.last()?.at_ns?)?,
        saving_ns: ((all - beside) as f64 * per_byte) as u64,
        facts: vec![
            ("lines", case.log.iter().filter(written).count().to_string()),
            ("bytes", all.to_string()),
            ("per_byte", format!("{per_byte:.0}")),
            (
                "beside",
                if beside > 0 { format!(", {beside} of them by a thread beside it") } else { String::new() },
            ),
        ],
    })
}

fn size(line: &Line) -> u64 {
    line.text.len() as u64 + AROUND
}

fn gap_per_byte(line: &Line, next: &Line) -> Option<f64> {
    Some(gap(line, next)? as f64 / size(line) as f64)
}

fn gap(line: &Line, next: &Line) -> Option<u64> {
    u64::try_from(next.at_ns?.saturating_sub(line.at_ns?)).ok()
}

/// Lines of a lower level are shown.
fn level(report: &Report) -> Option<u8> {
    let kernel = report.incoming.as_ref()?;
    let configured = kernel.config.as_ref().and_then(|config| config.get("CONFIG_CONSOLE_LOGLEVEL_DEFAULT"));
    let mut level = configured.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_LEVEL);
    for word in kernel.cmdline.split_ascii_whitespace() {
        match word.split_once('=') {
            None if word == "quiet" => level = QUIET_LEVEL,
            None if word == "debug" || word == "ignore_loglevel" => level = u8::MAX,
            Some(("loglevel", value)) => level = value.parse().unwrap_or(level),
            _ => {}
        }
    }
    Some(level)
}
