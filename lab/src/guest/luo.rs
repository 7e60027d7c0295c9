//! The ioctls of `/dev/liveupdate` and of its sessions (include/uapi/linux/liveupdate.h, Linux 7.3).

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Where the orchestrator is.
pub const DEVICE: &str = "/dev/liveupdate";

const NAME_BYTES: usize = 64;
const CREATE_SESSION: u8 = 0x00;
const RETRIEVE_SESSION: u8 = 0x01;
const PRESERVE_FD: u8 = 0x40;
const RETRIEVE_FD: u8 = 0x41;
const FINISH: u8 = 0x42;

/// `struct liveupdate_ioctl_create_session`, and `..._retrieve_session`: they are the same.
#[repr(C)]
struct SessionArgument {
    size: u32,
    fd: i32,
    name: [u8; NAME_BYTES],
}

/// `struct liveupdate_session_preserve_fd`, and `..._retrieve_fd`: they are the same.
#[repr(C)]
struct FileArgument {
    size: u32,
    fd: i32,
    token: u64,
}

/// `struct liveupdate_session_finish`.
#[repr(C)]
struct FinishArgument {
    size: u32,
    reserved: u32,
}

/// The orchestrator. Only one process at a time may have it open; sessions outlive it.
pub struct Orchestrator(File);

/// A session. Closing an outgoing one gives its preservations up; closing an incoming one finishes it.
pub struct Session(OwnedFd);

impl Orchestrator {
    /// Opens [`DEVICE`]. The first time in an incoming kernel, this takes over what was preserved.
    ///
    /// # Errors
    /// `EBUSY` when another process has it open; `EIO` when what the outgoing kernel left cannot be
    /// taken over, for one because this kernel has no handler for a file type (`luo_open`,
    /// kernel/liveupdate/luo_core.c).
    pub fn open() -> Result<Self> {
        File::options().read(true).write(true).open(DEVICE).map(Orchestrator)
    }

    /// Creates a session that will be found by `name` under the incoming kernel.
    ///
    /// # Errors
    /// `EEXIST` when there is one of that name; `EINVAL` when the name is empty or longer than 63 bytes.
    pub fn create(&self, name: &str) -> Result<Session> {
        self.session(CREATE_SESSION, name)
    }

    /// Retrieves a session the outgoing kernel left.
    ///
    /// # Errors
    /// `ENOENT` when there is none of that name; `EINVAL` when it was retrieved before.
    pub fn retrieve(&self, name: &str) -> Result<Session> {
        self.session(RETRIEVE_SESSION, name)
    }

    fn session(&self, command: u8, name: &str) -> Result<Session> {
        let mut argument =
            SessionArgument { size: size_of::<SessionArgument>() as u32, fd: -1, name: [0; NAME_BYTES] };
        // The last byte stays zero.
        match argument.name.get_mut(..name.len()) {
            Some(bytes) if name.len() < NAME_BYTES => bytes.copy_from_slice(name.as_bytes()),
            _ => return Err(Error::from(ErrorKind::InvalidInput)),
        }
        // SAFETY: both commands take a SessionArgument, whose size it names itself.
        unsafe { call(self.0.as_fd(), command, &mut argument)? };
        // SAFETY: the kernel has just installed this descriptor for us; nobody else knows it.
        unsafe { owned(argument.fd) }.map(Session)
    }
}

impl Session {
    /// Preserves an open file under `token`, unique in this session.
    ///
    /// # Errors
    /// `ENOENT` when no handler knows that type of file; `EEXIST` when the token is taken; what the
    /// handler's `preserve` gives.
    pub fn preserve(&self, file: BorrowedFd<'_>, token: u64) -> Result<()> {
        let mut argument =
            FileArgument { size: size_of::<FileArgument>() as u32, fd: file.as_raw_fd(), token };
        // SAFETY: the command takes a FileArgument, whose size it names itself.
        unsafe { call(self.0.as_fd(), PRESERVE_FD, &mut argument) }
    }

    /// Opens the file that was preserved under `token`.
    ///
    /// # Errors
    /// `ENOENT` when there is none; what the handler's `retrieve` gives.
    pub fn retrieve(&self, token: u64) -> Result<File> {
        let mut argument = FileArgument { size: size_of::<FileArgument>() as u32, fd: -1, token };
        // SAFETY: the command takes a FileArgument, whose size it names itself.
        unsafe { call(self.0.as_fd(), RETRIEVE_FD, &mut argument)? };
        // SAFETY: the kernel has just installed this descriptor for us; nobody else knows it.
        unsafe { owned(argument.fd) }.map(File::from)
    }

    /// Tells the kernel that everything is restored; retrieved files stay open.
    ///
    /// # Errors
    /// `EBUSY` when a handler's `can_finish` refuses.
    pub fn finish(&self) -> Result<()> {
        let mut argument = FinishArgument { size: size_of::<FinishArgument>() as u32, reserved: 0 };
        // SAFETY: the command takes a FinishArgument, whose size it names itself.
        unsafe { call(self.0.as_fd(), FINISH, &mut argument) }
    }
}

impl From<OwnedFd> for Session {
    fn from(fd: OwnedFd) -> Self {
        Session(fd)
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `_IO(0xBA, command)`.
const fn request(command: u8) -> u32 {
    0xba << 8 | command as u32
}

/// # Safety
/// `argument` must be the structure `command` takes, with its own size in its first field.
unsafe fn call<T>(fd: BorrowedFd<'_>, command: u8, argument: &mut T) -> Result<()> {
    // SAFETY: the descriptor is open and the kernel writes within `argument`, says the caller.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), request(command) as _, std::ptr::from_mut(argument)) };
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// # Safety
/// `fd` must be a descriptor nobody else owns, or negative.
unsafe fn owned(fd: i32) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::other("the kernel answered without a file descriptor"));
    }
    // SAFETY: open and ours, says the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_the_kernels() {
        assert_eq!(size_of::<SessionArgument>(), 72);
        assert_eq!(size_of::<FileArgument>(), 16);
        assert_eq!(std::mem::offset_of!(FileArgument, token), 8);
        assert_eq!(size_of::<FinishArgument>(), 8);
        assert_eq!(request(FINISH), 0xba42);
    }
}
