//! Sockets between a virtual machine and its host (`AF_VSOCK`), which std and tokio do not have. Once
//! connected they are streams of bytes like any other.

use std::{
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use tokio::io::{Interest, unix::AsyncFd};

/// A listening socket.
#[derive(Debug)]
pub struct Listener(AsyncFd<OwnedFd>);

impl Listener {
    /// Listens on a port; within a tokio runtime.
    ///
    /// # Errors
    /// The system's: without `CONFIG_VSOCKETS` there are no such sockets.
    pub fn bind(cid: u32, port: u32) -> io::Result<Self> {
        let socket = socket(libc::SOCK_NONBLOCK)?;
        let address = address(cid, port);
        // SAFETY: the address is as long as said and outlives the call.
        check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) })?;
        // SAFETY: plain numbers.
        check(unsafe { libc::listen(socket.as_raw_fd(), 16) })?;
        // SAFETY: an open descriptor that nobody else has, and that is not replaced before it is dropped.
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        registered.map(Self).map_err(|error| error.into_parts().1)
    }

    /// The next client.
    ///
    /// # Errors
    /// The system's.
    pub async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let accept = |socket: &OwnedFd| {
            // SAFETY: no address is asked for.
            let fd = unsafe {
                libc::accept4(socket.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags)
            };
            // SAFETY: a new descriptor, ours alone.
            check(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        };
        let client = self.0.async_io(Interest::READABLE, accept).await?;
        // Reading and writing ask for no family.
        tokio::net::UnixStream::from_std(UnixStream::from(client))
    }
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
