//! One ioctl, as VFIO and iommufd number them: neither direction nor size is in the number, the argument's
//! first word is its size.

use std::ffi::c_ulong;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `_IO(type, number)` of asm-generic/ioctl.h.
pub const fn number(kind: u8, number: u32) -> c_ulong {
    ((kind as c_ulong) << 8) | number as c_ulong
}

/// Calls it.
///
/// # Safety
/// `request` must take a pointer to a `T`, and whatever `T` itself points to must be what the kernel expects
/// there.
///
/// # Errors
/// Those of the request.
pub unsafe fn call<T>(file: BorrowedFd<'_>, request: c_ulong, argument: &mut T) -> Result<()> {
    // SAFETY: the descriptor is open, the argument is ours and of the request's type, says the caller.
    match unsafe { libc::ioctl(file.as_raw_fd(), request as _, std::ptr::from_mut(argument)) } {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}
