//! The clients of an agent. They get lines and say nothing: what they send is never read, so it costs
//! nothing but their own socket's buffer. Those who come by TLS have said their token before (`guard`).

use std::{fs, io, os::unix::fs::FileTypeExt, path::Path, pin::pin, sync::Arc, time::Duration};

use profiler_watch::{
    endpoint::Endpoint,
    message::{LossPlace, Message},
};
use rustix::{
    fs::Mode,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    guard::Guard,
    journal::{Cursor, Journal},
    vsock,
};

/// A client that takes nothing for this long has its place given to another.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Steps in which that time is counted. A process or virtual machine that is stopped finds all of its timers expired when
/// it goes on; the stop costs a client one step, and not the whole time.
const WRITE_STEPS: u32 = 30;
/// Pause between two checks whether clients are left.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of lines written at once: what a client that does not read can hold on to, beside one long line
/// that all share.
const BATCH_BYTES: usize = 64 * 1024;

/// Strangers at the door of a TLS endpoint at once; more are turned away, so that they take no client's place.
const STRANGERS: usize = 16;

/// What all clients share.
pub struct Server {
    journal: Arc<Journal>,
    hello: Box<dyn Fn() -> Message + Send + Sync>,
    places: Semaphore,
    door: Arc<Semaphore>,
    max_clients: usize,
    write_timeout: Duration,
}

/// A socket that clients connect to.
#[derive(Debug)]
pub enum Listener {
    /// `unix:`
    Unix(UnixListener),
    /// `tcp:`
    Tcp(TcpListener),
    /// `tls:`
    Tls(TcpListener, Guard),
    /// `vsock:`
    Vsock(vsock::Listener),
}

impl Listener {
    /// Listens; within a tokio runtime. A Unix socket is for its owner alone (mode 0600); one that
    /// nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The system's, and for TLS without `guard`.
    pub async fn bind(endpoint: &Endpoint, guard: Option<&Guard>) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => unix(path).map(Self::Unix),
            Endpoint::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Endpoint::Tls { host, port } => {
                let guard = guard.ok_or_else(|| io::Error::other("there is no certificate and no token"))?;
                let listener = TcpListener::bind((host.as_str(), *port)).await?;
                Ok(Self::Tls(listener, guard.clone()))
            }
            Endpoint::Vsock { cid, port } => vsock::Listener::bind(*cid, *port).map(Self::Vsock),
        }
    }

    /// Port that was found, if 0 was asked for.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => Some(listener.local_addr().ok()?.port()),
            Self::Unix(_) | Self::Vsock(_) => None,
        }
    }
}

fn unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The file is made with the socket's own rights (`unix_bind_bsd`, net/unix/af_unix.c, Linux 7.3): nobody can connect
    // before they are set, and no other thread's files get them, as they would by umask.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 128)?;
    UnixListener::from_std(socket.into())
}

impl Server {
    /// A server of `journal` for `max_clients` clients at once; `hello` makes the first line of each.
    pub fn new(
        journal: Arc<Journal>,
        max_clients: usize,
        hello: impl Fn() -> Message + Send + Sync + 'static,
    ) -> Self {
        Self {
            journal,
            hello: Box::new(hello),
            places: Semaphore::new(max_clients),
            door: Arc::new(Semaphore::new(STRANGERS)),
            max_clients,
            write_timeout: WRITE_TIMEOUT,
        }
    }

    /// As it is, but a client that takes nothing for `write_timeout` is dropped.
    pub fn with_write_timeout(self, write_timeout: Duration) -> Self {
        Self { write_timeout, ..self }
    }

    /// Clients that are connected.
    pub fn clients(&self) -> usize {
        self.max_clients - self.places.available_permits()
    }

    /// Waits until no client is left, and no stranger that may become one.
    pub async fn idle(&self) {
        loop {
            // A client that was just accepted takes its place when its task runs.
            sleep(PAUSE).await;
            if self.clients() == 0 && self.door.available_permits() == STRANGERS {
                return;
            }
        }
    }

    /// Accepts clients until it is dropped.
    ///
    /// # Errors
    /// When no more can be accepted: the listener is broken.
    pub async fn accept(self: Arc<Self>, listener: Listener) -> io::Result<()> {
        loop {
            let accepted = match &listener {
                Listener::Unix(listener) => listener.accept().await.map(|(client, _)| self.spawn(client)),
                Listener::Tcp(listener) => listener.accept().await.map(|(client, _)| self.spawn(client)),
                Listener::Tls(listener, guard) => {
                    listener.accept().await.map(|(stranger, _)| self.admit(stranger, guard))
                }
                Listener::Vsock(listener) => listener.accept().await.map(|client| self.spawn(client)),
            };
            match accepted {
                Ok(()) => {}
                // Of this one connection, or of all descriptors: it passes when clients go.
                Err(error) if passes(&error) => sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(error),
            }
        }
    }

    fn spawn(self: &Arc<Self>, client: impl AsyncWrite + Unpin + Send + 'static) {
        let server = Arc::clone(self);
        tokio::spawn(async move {
            // That a client has gone is no error of ours.
            let _ = server.client(client).await;
        });
    }

    fn admit(self: &Arc<Self>, stranger: TcpStream, guard: &Guard) {
        let Ok(place) = Arc::clone(&self.door).try_acquire_owned() else { return };
        let (server, guard) = (Arc::clone(self), guard.clone());
        tokio::spawn(async move {
            // Who is not let in has been told why, if it understands us at all.
            if let Ok(client) = guard.admit(stranger).await {
                drop(place);
                let _ = server.client(client).await;
            }
        });
    }

    pub(super) async fn client(&self, mut client: impl AsyncWrite + Unpin) -> io::Result<()> {
        let Ok(_place) = self.places.try_acquire() else {
            let reason = format!("all {} places are taken", self.max_clients);
            return self.write(&mut client, &[Message::Bye { reason }.line()]).await;
        };
        let mut changed = self.journal.subscribe();
        let mut cursor = Cursor::default();
        // The line under way when the other kernel stopped may still be open on a forwarded connection.
        self.write(&mut client, &[Some("\n".to_owned()), (self.hello)().line()]).await?;
        loop {
            changed.mark_unchanged();
            let batch = self.journal.read(&mut cursor, BATCH_BYTES);
            let loss = batch.lost.map(|count| Message::Loss { place: LossPlace::Client, count }.line());
            self.write(&mut client, loss.as_slice()).await?;
            match batch.lines.as_slice() {
                // It may be a report: no copy of it for each client.
                [line] => self.write_bytes(&mut client, line.as_bytes()).await?,
                lines => self.write_bytes(&mut client, lines.concat().as_bytes()).await?,
            }
            if batch.ended {
                return self.within_timeout(client.shutdown()).await;
            }
            if batch.lines.is_empty() && changed.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn write(
        &self,
        client: &mut (impl AsyncWrite + Unpin),
        lines: &[Option<String>],
    ) -> io::Result<()> {
        let text: String = lines.iter().flatten().map(String::as_str).collect();
        self.write_bytes(client, text.as_bytes()).await
    }

    async fn write_bytes(&self, client: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.within_timeout(client.write(bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        // TLS keeps back what makes no whole record.
        self.within_timeout(client.flush()).await
    }

    async fn within_timeout<T>(&self, operation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let mut operation = pin!(operation);
        for _ in 0..WRITE_STEPS {
            if let Ok(result) = timeout(self.write_timeout / WRITE_STEPS, &mut operation).await {
                return result;
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

fn passes(error: &io::Error) -> bool {
    let of_a_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    of_a_connection
        || matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::{
        io::{AsyncReadExt, duplex},
        time::{Instant, advance},
    };

    use super::*;
    use crate::live::journal::Limits;

    /// A server whose journal holds one line and its end.
    fn server(line: &str) -> Arc<Server> {
        let journal = Arc::new(Journal::new(Limits::default()));
        journal.push(line);
        journal.end();
        Arc::new(Server::new(journal, 1, || Message::Bye { reason: "first line".to_owned() }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_of_the_whole_process_costs_no_client_its_place() {
        let server = server("the report\n");
        let (mut reader, client) = duplex(1);
        let serving = tokio::spawn(async move { server.client(client).await });
        sleep(Duration::from_millis(1)).await;
        for _ in 0..3 {
            // All timers of the process expire at once.
            advance(10 * WRITE_TIMEOUT).await;
            sleep(Duration::from_millis(1)).await;
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("the report\n"), "{text}");
        serving.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_place_in_time() {
        let (_reader, client) = duplex(1);
        let begun = Instant::now();
        let error = server("the report\n").client(client).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Timers have a resolution of a millisecond.
        let waited = begun.elapsed().checked_sub(WRITE_TIMEOUT).unwrap();
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }

    /// Takes everything, and never ends.
    struct Endless;

    impl AsyncWrite for Endless {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_ends_loses_its_place_in_time() {
        let error = server("the report\n").client(Endless).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
