//! Sockets between a virtual machine and its host (`AF_VSOCK`), which std does not have. Once
//! connected they are streams of bytes like any other.

use std::{
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

/// Listens on a port. The socket does not block.
///
/// # Errors
/// The system's: without `CONFIG_VSOCKETS` there are no such sockets.
pub fn listen(cid: u32, port: u32) -> io::Result<OwnedFd> {
    let socket = socket(libc::SOCK_NONBLOCK)?;
    let address = address(cid, port);
    // SAFETY: the address is as long as said and outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) })?;
    // SAFETY: plain numbers.
    check(unsafe { libc::listen(socket.as_raw_fd(), 16) })?;
    Ok(socket)
}

/// Connects, blocking.
///
/// # Errors
/// The system's.
pub fn connect(cid: u32, port: u32) -> io::Result<UnixStream> {
    let socket = socket(0)?;
    let address = address(cid, port);
    // SAFETY: the address is as long as said and outlives the call.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) })?;
    Ok(UnixStream::from(socket))
}

const LENGTH: libc::socklen_t = size_of::<libc::sockaddr_vm>() as libc::socklen_t;

fn socket(flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags, 0) };
    // SAFETY: a new descriptor, ours alone.
    check(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address(cid: u32, port: u32) -> libc::sockaddr_vm {
    // SAFETY: plain numbers, for which zero is a value.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = cid;
    address.svm_port = port;
    address
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
