//! The clients of an agent. They get lines and say nothing: what they send is never read, so it costs
//! nothing but their own socket's buffer.

use std::{fs, io, os::unix::fs::FileTypeExt, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::timeout,
};

use super::{
    endpoint::Endpoint,
    journal::{Cursor, Journal},
    message::{LossPlace, Message},
    vsock,
};

/// A client that takes nothing for this long has its place given to another.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Lines written at once.
const BATCH_LINES: usize = 256;

/// What all clients share.
pub struct Server {
    journal: Arc<Journal>,
    hello: Box<dyn Fn() -> Message + Send + Sync>,
    places: Semaphore,
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
    /// `vsock:`
    Vsock(vsock::Listener),
}

impl Listener {
    /// Listens; within a tokio runtime. A Unix socket is for its owner alone (mode 0600); one that
    /// nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The system's.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => unix(path).map(Self::Unix),
            Endpoint::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Endpoint::Vsock { cid, port } => vsock::Listener::bind(*cid, *port).map(Self::Vsock),
        }
    }
}

fn unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    // The socket is made with the rights that are left: nobody can connect before they are set.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
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

    /// Accepts clients until it is dropped.
    ///
    /// # Errors
    /// When no more can be accepted: the listener is broken.
    pub async fn accept(self: Arc<Self>, listener: Listener) -> io::Result<()> {
        loop {
            let accepted = match &listener {
                Listener::Unix(listener) => listener.accept().await.map(|(client, _)| self.spawn(client)),
                Listener::Tcp(listener) => listener.accept().await.map(|(client, _)| self.spawn(client)),
                Listener::Vsock(listener) => listener.accept().await.map(|client| self.spawn(client)),
            };
            match accepted {
                Ok(()) => {}
                // Of this one connection, or of all descriptors: it passes when clients go.
                Err(error) if passes(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
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

    async fn client(&self, mut client: impl AsyncWrite + Unpin) -> io::Result<()> {
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
            let batch = self.journal.read(&mut cursor, BATCH_LINES);
            let loss = batch.lost.map(|count| Message::Loss { place: LossPlace::Client, count }.line());
            self.write(&mut client, loss.as_slice()).await?;
            self.write_bytes(&mut client, batch.lines.concat().as_bytes()).await?;
            if batch.ended {
                return client.shutdown().await;
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
            let written = timeout(self.write_timeout, client.write(bytes)).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
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
