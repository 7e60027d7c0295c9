//! What failed.

use super::{Failure, axis::Axis};
use crate::{catalogue::Place, recording::Side, stitch::Stitched, timeline::Call};

/// What failed: the system call, calls that returned an errno, commands, and what the kernel logged.
pub fn failures(stitched: &Stitched, calls: &[Call], axis: &Axis) -> Vec<Failure> {
    let mut failures = Vec::new();
    for call in calls {
        // During the brownout clients may probe and miss; only the update itself counts.
        let before = stitched.outgoing.returned.is_none() && call.side == Side::Outgoing;
        let Some(errno) = call.retval.filter(|retval| (-4095..0).contains(retval)) else { continue };
        if before || call.kind == "initcall" || call.kind == "reboot" {
            continue;
        }
        let named = |prefix: &str| part(&call.subject, prefix).map(str::to_owned);
        let of = if call.subject.is_empty() { String::new() } else { format!(" of {}", call.subject) };
        let errno = i32::try_from(-errno).ok();
        failures.push(Failure {
            kernel: Place::from(call.side),
            function: call.name.clone(),
            session: named("session "),
            token: named("token "),
            errno,
            at_ns: Some(axis.at(call.enter.ticks)),
            message: format!("{}{of}: {}", call.name, errno_text(errno)),
        });
    }
    failures.extend(stitched.complaints.iter().map(|complaint| Failure {
        kernel: Place::from(complaint.side),
        function: complaint.function.clone(),
        session: None,
        token: complaint.token.map(|token| format!("{token:#x}")),
        errno: complaint.errno,
        at_ns: complaint.at.map(|at| axis.at(at.ticks)),
        message: complaint.text.clone(),
    }));
    if let Some((errno, ticks)) = stitched.outgoing.returned {
        failures.push(Failure {
            kernel: Place::Outgoing,
            function: "reboot(LINUX_REBOOT_CMD_KEXEC)".to_owned(),
            session: None,
            token: None,
            errno: Some(errno),
            at_ns: Some(axis.at(ticks)),
            message: format!("reboot(LINUX_REBOOT_CMD_KEXEC) came back: {}", errno_text(Some(errno))),
        });
    }
    for (side, command) in stitched.commands() {
        if command.exit_code != 0 {
            let name = command.argv.join(" ");
            failures.push(Failure {
                kernel: Place::from(side),
                message: format!("command {name} ended with exit code {}", command.exit_code),
                function: name,
                session: None,
                token: None,
                errno: None,
                at_ns: Some(axis.at(command.ended_tsc)),
            });
        }
    }
    failures.sort_by_key(|failure| failure.at_ns);
    failures
}

/// What a subject such as `session lab-0, token 0x1` says behind `prefix`.
fn part<'s>(subject: &'s str, prefix: &str) -> Option<&'s str> {
    subject.split(", ").find_map(|part| part.strip_prefix(prefix))
}

fn errno_text(errno: Option<i32>) -> String {
    errno.map_or("failed".to_owned(), |errno| std::io::Error::from_raw_os_error(errno).to_string())
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn subjects_are_taken_apart() {
        let subject = "session lab-0, token 0x1";
        assert_eq!((part(subject, "session "), part(subject, "token ")), (Some("lab-0"), Some("0x1")));
        assert_eq!((part("token 0x2", "session "), part("token 0x2", "token ")), (None, Some("0x2")));
        assert_eq!(part("", "session "), None);
    }
}
