//! The report for a pull request, an issue or a wiki: GitHub's Markdown.

use std::fmt::{self, Write};

use super::display;
use crate::{
    duration,
    report::{Outcome, Report},
};

/// Spans in the list of the largest.
const LARGEST: usize = 10;

/// Renders it.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> fmt::Result {
    head(out, report)?;
    warnings(out, report)?;
    guests(out, report)?;
    phases(out, report)?;
    chain(out, report)?;
    largest(out, report)?;
    if !report.advice.is_empty() {
        writeln!(out, "\n### What could be shorter\n")?;
        for advice in &report.advice {
            let (text, how) = (escape(&advice.text), escape(&advice.how));
            writeln!(out, "- **{}** less: {text}. {how}", duration(advice.saving_ns))?;
        }
    }
    Ok(())
}

/// What each phase waited for longest.
fn chain(out: &mut String, report: &Report) -> fmt::Result {
    let longest = report.phases.iter().filter_map(|phase| Some((phase, phase.chain.first()?)));
    for (number, (phase, link)) in longest.enumerate() {
        if number == 0 {
            writeln!(out, "\n### Critical path\n\n| phase | longest wait | own time |\n|---|---|---:|")?;
        }
        let name = if link.subject.is_empty() {
            link.name.clone()
        } else {
            format!("{} [{}]", link.name, link.subject)
        };
        writeln!(out, "| {} | {} | {} |", escape(&phase.id), escape(&name), duration(link.own_ns))?;
    }
    Ok(())
}

fn head(out: &mut String, report: &Report) -> fmt::Result {
    let releases = escape(&display::releases(report));
    match &report.window {
        Some(window) => {
            let (length, error) = (duration(window.duration_ns), duration(window.error_ns));
            writeln!(out, "## Blackout {length} &pm; {error}: {releases}\n")?;
            let (definition, start, end) =
                (escape(&window.definition), escape(&window.start), escape(&window.end));
            writeln!(out, "Window `{definition}`, from {start} to {end}.")?;
        }
        None => {
            writeln!(out, "## No blackout window: {releases}\n\nThe evidence does not hold both its ends.")?
        }
    }
    let run = &report.run;
    writeln!(
        out,
        "Run `{}` on {}, {} CPUs, {} MiB, {}: **{}**, flight recorder {}, borders &pm; {}.",
        escape(&run.id),
        escape(&run.host),
        run.cpus,
        run.memory_bytes >> 20,
        escape(&run.recorded_at),
        display::outcome(report),
        display::handover(report),
        duration(report.clock.error_ns)
    )
}

fn warnings(out: &mut String, report: &Report) -> fmt::Result {
    let label = if report.outcome == Outcome::Failed { "CAUTION" } else { "WARNING" };
    let failures = report.failures.iter().map(|failure| failure.message.clone());
    let lost = display::lost(report);
    let words: Vec<String> = failures.chain(lost).chain(report.notes.iter().cloned()).collect();
    if words.is_empty() {
        return writeln!(out, "Nothing was lost.");
    }
    writeln!(out, "\n> [!{label}]")?;
    for line in words {
        writeln!(out, "> - {}", escape(&line))?;
    }
    Ok(())
}

fn guests(out: &mut String, report: &Report) -> fmt::Result {
    if report.vms.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| Guest | Blackout | &pm; | Longest pause of a vCPU | Status |\n|---|--:|--:|--:|---|")?;
    let known = |ns: Option<u64>| ns.map_or("unknown".to_owned(), duration);
    for vm in &report.vms {
        let pause = vm.vcpus.iter().filter_map(|vcpu| vcpu.pause_ns).max();
        let (name, status) = (escape(&vm.name), display::status(vm.status));
        let (length, error, pause) = (known(vm.blackout_ns), known(vm.error_ns), known(pause));
        writeln!(out, "| {name} | {length} | {error} | {pause} | {status} |")?;
    }
    Ok(())
}

fn phases(out: &mut String, report: &Report) -> fmt::Result {
    if report.phases.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| Kernel | Phase | Time | Share | &pm; |\n|---|---|--:|--:|--:|")?;
    for phase in &report.phases {
        let (kernel, title, share) =
            (display::kernel(phase.kernel), escape(&phase.title), phase.share * 100.0);
        let (length, error) = (duration(phase.duration_ns), duration(phase.error_ns));
        writeln!(out, "| {kernel} | {title} | {length} | {share:.1} % | {error} |")?;
    }
    if let Some(window) = &report.window {
        writeln!(
            out,
            "| | **window** | **{}** | 100.0 % | {} |",
            duration(window.duration_ns),
            duration(window.error_ns)
        )?;
    }
    Ok(())
}

fn largest(out: &mut String, report: &Report) -> fmt::Result {
    let items = display::largest(report, LARGEST);
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n<details><summary>Largest spans, by their own time</summary>\n")?;
    writeln!(out, "| Own time | Of | Phase | Span | Task |\n|--:|--:|---|---|---|")?;
    for item in &items {
        let phase = item.phase.and_then(|index| report.phases.get(index)).map_or("", |phase| &phase.id);
        let [own, total] =
            [item.span.self_ns, item.span.duration_ns].map(|ns| ns.map_or("?".to_owned(), duration));
        let (name, task) = (escape(&display::name(item)), escape(item.span.comm.as_deref().unwrap_or("")));
        writeln!(out, "| {own} | {total} | {} | {name} | {task} |", escape(phase))?;
    }
    writeln!(out, "\n</details>")
}

/// Text that is only text: no markup, link, mention or cell border.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A reference, for a backslash does not keep these from linking to people and issues.
            '@' => out.push_str("&#64;"),
            '#' => out.push_str("&#35;"),
            '\n' | '\r' => out.push(' '),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '!' | '|' | '~' | '$' => {
                out.extend(['\\', c])
            }
            c => out.push(c),
        }
    }
    // Bare addresses become links otherwise.
    out.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_only_text() {
        assert_eq!(
            escape("a|b <i> [x](http://y) @me `c`"),
            "a\\|b &lt;i&gt; \\[x\\]\\(http:&#47;&#47;y\\) &#64;me \\`c\\`"
        );
        assert_eq!(escape("device_shutdown"), "device\\_shutdown");
    }
}
