//! What the kernels' logs complain about.

use super::Moment;
use crate::{
    evidence::{facts::Fact, kmsg::KmsgLine},
    recording::Side,
};

/// A line of a kernel's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When, if the log's clock is known and ran.
    pub at: Option<Moment>,
    /// Its level, 0 to 7.
    pub level: u8,
    /// The line.
    pub text: String,
}

/// A complaint of KHO, LUO or one of its handlers.
#[derive(Debug, Clone, PartialEq)]
pub struct Complaint {
    /// Which kernel's.
    pub side: Side,
    /// When, if the log's clock is known.
    pub at: Option<Moment>,
    /// Function that complains.
    pub function: String,
    /// LUO token, if it names one.
    pub token: Option<u64>,
    /// Positive errno, if it names one.
    pub errno: Option<i32>,
    /// The line.
    pub text: String,
}

/// The complaint that a line is, if it is one.
pub fn complaint(side: Side, line: &KmsgLine, at: Option<Moment>) -> Option<Complaint> {
    let text = line.text.clone();
    match Fact::of(line)? {
        Fact::FreezeFailed { token, error, .. } => Some(Complaint {
            side,
            at,
            function: "luo_file_freeze".to_owned(),
            token: Some(token),
            errno: errno(&error),
            text,
        }),
        Fact::HandoverComplaint { .. } => {
            let function = line.text.split(':').next().unwrap_or_default().to_owned();
            Some(Complaint { side, at, function, token: None, errno: None, text })
        }
        _ => None,
    }
}

/// Number of an errno as `%pe` prints it: by name, or as a number without `CONFIG_SYMBOLIC_ERRNAME`.
fn errno(text: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 12] = [
        ("EPERM", libc::EPERM),
        ("ENOENT", libc::ENOENT),
        ("EIO", libc::EIO),
        ("EAGAIN", libc::EAGAIN),
        ("ENOMEM", libc::ENOMEM),
        ("EFAULT", libc::EFAULT),
        ("EBUSY", libc::EBUSY),
        ("ENODEV", libc::ENODEV),
        ("EINVAL", libc::EINVAL),
        ("ENOSPC", libc::ENOSPC),
        ("EOPNOTSUPP", libc::EOPNOTSUPP),
        ("ETIMEDOUT", libc::ETIMEDOUT),
    ];
    let text = text.strip_prefix('-')?;
    let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, errno)| *errno);
    named.or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::errno;

    #[test]
    fn errno_by_name_and_by_number() {
        assert_eq!(errno("-EBUSY"), Some(16));
        assert_eq!(errno("-5"), Some(5));
        assert_eq!(errno("EBUSY"), None);
    }
}
