//! Strings of a recording, made safe to print: a recording comes from anywhere, and whoever made it may
//! have put control characters into names.

use crate::{
    evidence::text::scrub,
    recording::{
        Body,
        frame::{CommandResult, Coverage, Kernel, Run},
    },
};

/// Bytes of a string that are kept; command lines are the longest.
const MAX_BYTES: usize = 4096;

/// Scrubs every string of a body that a report may show. Texts of tracefs are left as they are: their
/// parsers need the line ends, and scrub what they take out.
pub fn clean(mut body: Body) -> Body {
    match &mut body {
        Body::Run(Run { id, tool, .. }) => each([id, tool]),
        Body::Kernel(kernel) => {
            let Kernel {
                release,
                version,
                arch,
                host,
                build_id,
                config_sha256,
                cmdline,
                clocksource,
                rtc,
                ..
            } = kernel;
            each([release, version, arch, host, build_id, config_sha256, cmdline, clocksource]);
            each(rtc.iter_mut().map(|rtc| &mut rtc.name));
        }
        Body::Symbols { symbols } => each(symbols.iter_mut().map(|(_, name)| name)),
        Body::Modules { modules } => each(modules.iter_mut().map(|(_, name)| name)),
        Body::Missed { misses } => each(misses.iter_mut().map(|(name, _)| name)),
        Body::Coverage(Coverage { probes, .. }) => {
            for probe in probes {
                each([&mut probe.probe, &mut probe.method]);
                each(probe.symbol.iter_mut().chain(&mut probe.error));
            }
        }
        Body::Command(CommandResult { argv, .. }) => each(argv.iter_mut()),
        Body::Note { text } => each([text]),
        _ => {}
    }
    body
}

fn each<'a>(strings: impl IntoIterator<Item = &'a mut String>) {
    for string in strings {
        *string = scrub(string.as_bytes(), MAX_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::frame::RtcReading;

    #[test]
    fn nothing_reaches_a_terminal_unescaped() {
        let evil = "a\u{1b}]0;pwned\u{7}\u{202e}".to_owned();
        let kernel = Kernel { host: evil.clone(), ..Kernel::default() };
        let rtc = RtcReading { name: evil.clone(), ..RtcReading::default() };
        let clock = Kernel { rtc: Some(rtc), ..Kernel::default() };
        for body in [Body::Note { text: evil }, Body::Kernel(kernel), Body::Kernel(clock)] {
            let json = serde_json::to_string(&clean(body)).unwrap();
            assert!(!json.contains("u001b") && !json.contains('\u{202e}'), "{json}");
        }
    }
}
