//! `blackout serve`: what the kernel does, told to whoever listens, under either kernel.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use profiler_mark::ticks;
use profiler_report::recording::{Body, Side, frame::Kernel, reader};
use profiler_watch::{
    endpoint::{Endpoint, Exposed},
    message::{Hello, Message, SCHEMA},
};
use rustix::time::ClockId;
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{
    guard::Guard,
    journal::{Journal, Limits},
    server::{Listener, Server},
    subject::Subject,
    telling::Telling,
};
use crate::agent::{AgentError, anchors::nanoseconds, identity, state};

/// Time that clients have to take the last lines after a signal.
const GRACE: Duration = Duration::from_secs(3);
/// Time in which connections that were made before the end are still accepted. Its length does not matter: the runtime
/// looks at its sockets at least once, and takes all that wait.
const BACKLOG: Duration = Duration::from_millis(20);

/// What `blackout serve` is told.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Folder of the recordings.
    pub state_dir: PathBuf,
    /// Where to listen.
    pub listen: Vec<Endpoint>,
    /// What `tls:` endpoints need.
    pub guard: Option<Guard>,
    /// Clients at once.
    pub max_clients: usize,
}

/// Why there is no stream.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Something of the host.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Anybody could read it.
    #[error(transparent)]
    Exposed(#[from] Exposed),
    /// A socket.
    #[error("cannot listen on {endpoint}")]
    Listen {
        /// Which.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// Something of this process.
    #[error("cannot serve")]
    Io(#[from] io::Error),
    /// Two would take each other's records.
    #[error("another `blackout serve` is running")]
    Running,
}

/// Serves until the live update is over and reported, or a signal comes. `listening` is called once
/// clients can connect.
///
/// # Errors
/// [`ServeError`].
pub fn serve(options: &ServeOptions, listening: impl FnOnce()) -> Result<(), ServeError> {
    for endpoint in &options.listen {
        endpoint.check_listen()?;
    }
    let _only_one = only_one()?;
    let subject = subject(options)?;
    let journal = Arc::new(Journal::new(Limits::default()));
    let hello = hello(&subject);
    let server = Server::new(Arc::clone(&journal), options.max_clients, move || {
        let (tsc, realtime_ns) = (ticks(), nanoseconds(ClockId::Realtime));
        Message::Hello(Hello { tsc, realtime_ns, ..hello.clone() })
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(options, subject, &journal, Arc::new(server), listening))
}

async fn run(
    options: &ServeOptions,
    subject: Subject,
    journal: &Arc<Journal>,
    server: Arc<Server>,
    listening: impl FnOnce(),
) -> Result<(), ServeError> {
    let stop = Arc::new(AtomicBool::new(false));
    let (ended, mut end) = tokio::sync::oneshot::channel();
    let (begun, begin) = tokio::sync::oneshot::channel();
    // A thread of its own: no client can keep it from reading.
    let teller = {
        let (journal, stop) = (Arc::clone(journal), Arc::clone(&stop));
        thread::Builder::new().name("telling".to_owned()).spawn(move || {
            let telling = Telling::begin(subject, &journal);
            // Nobody waits if the process is ending.
            let _ = begun.send(());
            let result = telling.and_then(|mut telling| telling.all(&stop));
            let reason = match &result {
                Ok(reason) => reason.clone(),
                Err(error) => crate::agent::error::chain(error),
            };
            if let Some(line) = (Message::Bye { reason }).line() {
                journal.push(line);
            }
            journal.end();
            // Nobody waits any more: the process is ending.
            let _ = ended.send(());
            result.map(drop)
        })?
    };
    // Who finds the socket finds an agent that sees what happens from now on.
    let _ = begin.await;
    let mut accepting = JoinSet::new();
    for endpoint in &options.listen {
        let failed = |source| ServeError::Listen { endpoint: endpoint.clone(), source };
        let listener = Listener::bind(endpoint, options.guard.as_ref()).await.map_err(failed)?;
        accepting.spawn(Arc::clone(&server).accept(listener));
    }
    listening();
    let mut signals = watch_signals()?;
    tokio::select! {
        _ = &mut end => {}
        () = wait_for_signal(&mut signals) => stop.store(true, Ordering::Relaxed),
    }
    let told = tokio::task::spawn_blocking(move || teller.join()).await;
    sleep(BACKLOG).await;
    // A reader reconnects when its stream ends, and would get all of it again for as long as a slow client stays.
    accepting.shutdown().await;
    for endpoint in &options.listen {
        if let Endpoint::Unix(path) = endpoint {
            // Who comes later finds no socket, instead of one that nobody serves.
            let _ = std::fs::remove_file(path);
        }
    }
    drain(&server, wait_for_signal(&mut signals)).await;
    match told {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(_)) | Err(_) => Err(io::Error::other("the telling thread died").into()),
    }
}

/// Watches for signals that ask this process to end; true once one came.
fn watch_signals() -> io::Result<watch::Receiver<bool>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        sender.send_replace(true);
    });
    Ok(receiver)
}

async fn wait_for_signal(signals: &mut watch::Receiver<bool>) {
    // The sender lives until it has sent.
    let _ = signals.wait_for(|signalled| *signalled).await;
}

/// Waits until the clients have taken the last lines. The server drops those that take nothing; a `signal` limits the
/// wait to [`GRACE`].
async fn drain(server: &Server, signal: impl Future<Output = ()>) {
    let grace = async {
        signal.await;
        sleep(GRACE).await;
    };
    tokio::select! {
        () = server.idle() => {}
        () = grace => {}
    }
}

/// Held for as long as this process serves.
fn only_one() -> Result<std::fs::File, ServeError> {
    let path = "/run/blackout-serve.lock";
    let file = std::fs::File::create(path).map_err(AgentError::file("create", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(ServeError::Running),
        Err(std::fs::TryLockError::Error(error)) => Err(AgentError::file("lock", path)(error).into()),
    }
}

/// An incoming kernel's run is on its command line; an outgoing one's is the armed recording.
fn subject(options: &ServeOptions) -> Result<Subject, AgentError> {
    let came_with = identity::run_on_cmdline();
    let armed = state::armed(&options.state_dir);
    let (side, run, recording) = match (armed, came_with) {
        // This kernel came by another live update, and is armed for the next.
        (Ok((run, path)), came_with) if came_with.as_ref() != Some(&run.id) => (Side::Outgoing, run.id, path),
        (_, Some(id)) => (Side::Incoming, id.clone(), state::path(&options.state_dir, &id)),
        (Err(error), None) => return Err(error),
        (Ok((run, path)), None) => (Side::Outgoing, run.id, path),
    };
    let mut symbols = Vec::new();
    let mut tsc_hz = None;
    if side == Side::Outgoing {
        let bytes = std::fs::read(&recording).map_err(AgentError::file("read", &recording))?;
        let read =
            reader::read(&bytes).map_err(|source| AgentError::Read { path: recording.clone(), source })?;
        for frame in read.frames {
            match frame.body {
                Body::Symbols { symbols: found } => symbols = found,
                Body::Kernel(Kernel { tsc_hz: Some(hz), .. }) => tsc_hz = Some(hz),
                _ => {}
            }
        }
    }
    // The kernel's scale is there at once; reading all of its log for the frequency is not.
    let scaled = crate::agent::anchors::scale().and_then(profiler_report::clock::sched_clock::hz);
    Ok(Subject { side, run, symbols, recording, tsc_hz: scaled.or(tsc_hz) })
}

fn hello(subject: &Subject) -> Hello {
    let uname = rustix::system::uname();
    Hello {
        schema: SCHEMA.to_owned(),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: subject.side.into(),
        run: subject.run.clone(),
        host: uname.nodename().to_string_lossy().into_owned(),
        release: uname.release().to_string_lossy().into_owned(),
        cpus: identity::listed("/sys/devices/system/cpu/online"),
        tsc_hz: subject.tsc_hz,
        tsc: 0,
        realtime_ns: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        time::Instant,
    };

    use super::*;

    /// A server that has a report for the one client it serves, and that client's end of the connection.
    fn serve_report() -> (Arc<Server>, DuplexStream) {
        let journal = Arc::new(Journal::new(Limits::default()));
        journal.push("the report\n");
        journal.end();
        let bye = || Message::Bye { reason: "first line".to_owned() };
        let server = Arc::new(Server::new(journal, 1, bye));
        let (reader, client) = duplex(1);
        let serving = Arc::clone(&server);
        tokio::spawn(async move { serving.client(client).await });
        (server, reader)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_slow_gets_the_report_at_the_end() {
        let (server, mut reader) = serve_report();
        let reading = tokio::spawn(async move {
            let mut text = String::new();
            // Longer than the grace, and shorter than the server waits for a client that takes nothing.
            while let (Ok(byte), ()) = tokio::join!(reader.read_u8(), sleep(3 * GRACE)) {
                text.push(char::from(byte));
            }
            text
        });
        drain(&server, pending()).await;
        assert_eq!(server.clients(), 0);
        assert!(reading.await.unwrap().ends_with("the report\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_limits_the_wait_for_slow_readers() {
        let (server, _reader) = serve_report();
        let begun = Instant::now();
        drain(&server, ready(())).await;
        assert_eq!(server.clients(), 1);
        let waited = begun.elapsed().checked_sub(GRACE).unwrap();
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }
}
