//! Listens for a virtual machine or its host (`AF_VSOCK`) within tokio.

use std::{
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use profiler_watch::vsock;
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
        let socket = vsock::listen(cid, port)?;
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
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: a new descriptor, ours alone.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        };
        let client = self.0.async_io(Interest::READABLE, accept).await?;
        // Reading and writing ask for no family.
        tokio::net::UnixStream::from_std(UnixStream::from(client))
    }
}
