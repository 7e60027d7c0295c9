//! Agents and readers on real sockets: slow, mute and hostile ones.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    ops::ControlFlow,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use profiler::live::{
    guard::Guard,
    journal::{Journal, Limits},
    server::{Listener, Server},
};
use profiler_watch::{
    client::{self, Heard, Target},
    decode::Decoder,
    endpoint::Endpoint,
    message::{Hello, LossPlace, Message, Place, SCHEMA},
    tls::Trust,
};

/// An agent on a Unix socket whose journal the test writes.
struct Agent {
    journal: Arc<Journal>,
    server: Arc<Server>,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

fn hello() -> Message {
    Message::Hello(Hello {
        schema: SCHEMA.to_owned(),
        tool: "test".to_owned(),
        kernel: Place::Outgoing,
        run: "0123456789abcdef".to_owned(),
        host: "h".to_owned(),
        release: "7.3.4".to_owned(),
        cpus: 1,
        tsc_hz: Some(1_000_000_000),
        tsc: 1,
        realtime_ns: 1,
    })
}

fn agent(limits: Limits, max_clients: usize, write_timeout: Duration) -> Agent {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let journal = Arc::new(Journal::new(limits));
    let server = Server::new(Arc::clone(&journal), max_clients, hello).with_write_timeout(write_timeout);
    let server = Arc::new(server);
    accept(&server, Endpoint::Unix(path.clone()), None);
    Agent { journal, server, path, _dir: dir }
}

/// Accepts clients in a thread of its own; the port, where there is one.
fn accept(server: &Arc<Server>, endpoint: Endpoint, guard: Option<Guard>) -> Option<u16> {
    let (ready, listening) = std::sync::mpsc::channel();
    let server = Arc::clone(server);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = Listener::bind(&endpoint, guard.as_ref()).await.unwrap();
            ready.send(listener.port()).unwrap();
            server.accept(listener).await.unwrap();
        });
    });
    listening.recv().unwrap()
}

fn line(number: u64) -> String {
    let name = format!("call-{number}");
    let end = Message::End { kernel: Place::Outgoing, name, tsc: number, pid: Some(1), retval: None };
    end.line().unwrap()
}

/// Reads to the end; the messages.
fn read_all(mut stream: UnixStream) -> Vec<Message> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let mut decoder = Decoder::default();
    let messages = decoder.feed(&bytes);
    assert_eq!(decoder.malformed(), 0);
    messages
}

/// Numbers of the lines among messages, and the last count of lines missed.
fn numbers(messages: &[Message]) -> (Vec<u64>, u64) {
    let mut lost = 0;
    let mut numbers = Vec::new();
    for message in messages {
        match message {
            Message::End { tsc, .. } => numbers.push(*tsc),
            Message::Loss { place: LossPlace::Client, count } => lost = *count,
            _ => {}
        }
    }
    (numbers, lost)
}

const PATIENT: Duration = Duration::from_secs(600);

#[test]
fn a_client_gets_everything_from_the_beginning_and_the_socket_is_its_owners() {
    let agent = agent(Limits::default(), 4, PATIENT);
    let mode = std::fs::metadata(&agent.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    agent.journal.push(line(1));
    let stream = UnixStream::connect(&agent.path).unwrap();
    agent.journal.push(line(2));
    agent.journal.end();
    let messages = read_all(stream);
    assert_eq!(messages[0], hello());
    assert_eq!(numbers(&messages), (vec![1, 2], 0));
}

#[test]
fn one_that_never_reads_misses_lines_and_nobody_else_does() {
    let limits = Limits { lines: 1000, bytes: 1 << 20 };
    let agent = agent(limits, 4, PATIENT);
    let mute = UnixStream::connect(&agent.path).unwrap();
    let mut good = BufReader::new(UnixStream::connect(&agent.path).unwrap());
    // Far more than journal and socket buffers hold; in pieces that the good one can follow.
    const PIECES: u64 = 40;
    const PIECE: u64 = 500;
    let mut text = String::new();
    for piece in 0..PIECES {
        (0..PIECE).for_each(|number| agent.journal.push(line(piece * PIECE + number)));
        let last = line(piece * PIECE + PIECE - 1);
        while !text.ends_with(&last) {
            assert!(good.read_line(&mut text).unwrap() > 0);
        }
    }
    agent.journal.end();
    let mut decoder = Decoder::default();
    let (good, lost) = numbers(&decoder.feed(text.as_bytes()));
    assert_eq!((good.len() as u64, lost), (PIECES * PIECE, 0));
    // What the mute one finds when it looks at last: a hole, and how large it is.
    let (late, lost) = numbers(&read_all(mute));
    assert!(lost > 0, "nothing was lost: the test pushes too little");
    assert_eq!(late.len() as u64 + lost, PIECES * PIECE);
    assert!(late.is_sorted());
}

#[test]
fn one_that_sends_garbage_is_served_as_any_other() {
    let agent = agent(Limits::default(), 4, PATIENT);
    let mut rude = UnixStream::connect(&agent.path).unwrap();
    rude.set_nonblocking(true).unwrap();
    // Until its own socket is full: nobody reads there.
    let mut sent = 0;
    loop {
        match rude.write(&[0x1b; 4096]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((1..16 << 20).contains(&sent), "{sent}");
    rude.set_nonblocking(false).unwrap();
    (0..100).for_each(|number| agent.journal.push(line(number)));
    agent.journal.end();
    // It leaves with bytes unread, so its end may see a reset after the last line.
    let mut text = Vec::new();
    let _ = rude.read_to_end(&mut text);
    assert_eq!(numbers(&Decoder::default().feed(&text)).0.len(), 100);
}

#[test]
fn two_hundred_clients_at_once() {
    let agent = agent(Limits::default(), 256, PATIENT);
    let clients: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(&agent.path).unwrap()).collect();
    (0..1000).for_each(|number| agent.journal.push(line(number)));
    agent.journal.end();
    for client in clients {
        let (numbers, lost) = numbers(&read_all(client));
        assert_eq!((numbers, lost), ((0..1000).collect(), 0));
    }
}

/// Kilobytes of memory that this process has.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn two_hundred_that_never_read_hold_a_batch_each() {
    let limits = Limits { lines: 10_000, bytes: 4 << 20 };
    let agent = agent(limits, 256, PATIENT);
    let mute: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(&agent.path).unwrap()).collect();
    while agent.server.clients() < mute.len() {
        thread::yield_now();
    }
    let before = resident_kib();
    let long = "x".repeat(30_000) + "\n";
    for _ in 0..2_000 {
        agent.journal.push(long.as_str());
        thread::yield_now();
    }
    // Twice a batch for each (its lines, and what is written of them), the journal, and some room: of a journal
    // for each it would be 800 MiB.
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 200 * 2 * 64 + 4 * 1024 + 32 * 1024, "{grown} KiB");
    assert_eq!(agent.server.clients(), mute.len());
}

#[test]
fn there_are_so_many_places_and_the_mute_lose_theirs() {
    let agent = agent(Limits { lines: 100, bytes: 1 << 20 }, 2, Duration::from_millis(200));
    let mute = [UnixStream::connect(&agent.path).unwrap(), UnixStream::connect(&agent.path).unwrap()];
    while agent.server.clients() < 2 {
        thread::yield_now();
    }
    let refused = read_all(UnixStream::connect(&agent.path).unwrap());
    assert!(matches!(refused.as_slice(), [Message::Bye { reason }] if reason.contains("2 places")));
    // As long as it takes until both sockets are full and the agent has given up on them.
    let mut number = 0;
    while agent.server.clients() > 0 {
        agent.journal.push(line(number));
        number += 1;
        thread::yield_now();
    }
    let last = BufReader::new(UnixStream::connect(&agent.path).unwrap()).lines().nth(1).unwrap().unwrap();
    assert!(last.contains("blackout.stream/1"), "{last}");
    drop(mute);
}

#[test]
fn a_reader_joins_both_halves_over_a_connection_that_breaks() {
    let path = follow_two(Path::new("agent.sock"));
    assert_eq!(path, ["hello", "end", "bye", "apart", "hello", "end", "bye"]);
}

/// Two agents, one after the other on the same socket; what a reader hears of them.
fn follow_two(name: &Path) -> Vec<&'static str> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let serve = |number: u64| {
        let (ready, listening) = std::sync::mpsc::channel();
        let endpoint = Endpoint::Unix(path.clone());
        let serving = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let journal = Arc::new(Journal::new(Limits::default()));
                let server = Arc::new(Server::new(Arc::clone(&journal), 4, hello));
                // Replaces the socket that the one before left.
                let listener = Listener::bind(&endpoint, None).await.unwrap();
                ready.send(()).unwrap();
                let accepting = tokio::spawn(Arc::clone(&server).accept(listener));
                while server.clients() == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                journal.push(line(number));
                journal.push(Message::Bye { reason: "over".to_owned() }.line().unwrap());
                journal.end();
                while server.clients() > 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                accepting.abort();
            });
        });
        listening.recv().unwrap();
        serving
    };
    let mut first = Some(serve(1));
    let mut heard_all = Vec::new();
    let (mut byes, mut apart) = (0, false);
    let target = Target { endpoint: Endpoint::Unix(path.clone()), trust: None };
    client::follow(&target, |heard| {
        match heard {
            Heard::Message(message) => heard_all.push(match *message {
                Message::Hello(_) => "hello",
                Message::End { .. } => "end",
                Message::Bye { .. } => {
                    byes += 1;
                    "bye"
                }
                _ => "other",
            }),
            Heard::Apart(_) if !apart => {
                apart = true;
                heard_all.push("apart");
                first.take().unwrap().join().unwrap();
                serve(2);
            }
            _ => {}
        }
        if byes == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    heard_all
}

/// A file with this text.
fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Attempts to hear an agent.
const ATTEMPTS: usize = 20;

/// What a reader hears until it is told the end, or why it cannot hear anything. Both sides of TLS limit their waits by
/// the clock, and a busy machine exceeds these limits now and then: an attempt that fails for another reason than the
/// `expected` one is repeated. The last one counts.
fn hear(target: &Target, expected: Option<&str>) -> Result<Vec<Message>, String> {
    let is_expected = |why: &String| expected.is_some_and(|expected| why.contains(expected));
    let mut heard = hear_once(target);
    for _ in 1..ATTEMPTS {
        if heard.is_ok() || heard.as_ref().is_err_and(is_expected) {
            break;
        }
        heard = hear_once(target);
    }
    heard
}

fn hear_once(target: &Target) -> Result<Vec<Message>, String> {
    let mut messages = Vec::new();
    let mut failed = None;
    client::follow(target, |heard| match heard {
        Heard::Message(message) => {
            let over = matches!(*message, Message::Bye { .. });
            messages.push(*message);
            if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        Heard::Apart(why) => {
            failed = Some(why);
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    failed.map_or(Ok(messages), Err)
}

#[test]
fn by_tls_only_who_knows_the_token_is_told_anything() {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name);
    let [certificate, key, stranger] = ["agent.pem", "agent.key.pem", "stranger.pem"].map(made);
    let token = file(dir.path(), "token", "0123456789abcdef0123456789abcdef\n");
    let wrong = file(dir.path(), "wrong", "0123456789abcdef0123456789abcdeF\n");

    let journal = Arc::new(Journal::new(Limits::default()));
    let server = Arc::new(Server::new(Arc::clone(&journal), 1, hello));
    let guard = Guard::load(&certificate, &key, &token).unwrap();
    let port = accept(&server, "tls:127.0.0.1:0".parse().unwrap(), Some(guard)).unwrap();
    journal.push(line(1));
    journal.push(Message::Bye { reason: "over".to_owned() }.line().unwrap());
    journal.end();
    // They neither take a place nor learn anything: one that is mute, one that speaks no TLS.
    let _mute = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut rude = TcpStream::connect(("127.0.0.1", port)).unwrap();
    rude.write_all(&[0x1b; 4096]).unwrap();
    let mut answer = Vec::new();
    let _ = rude.read_to_end(&mut answer);
    assert!(!answer.windows(8).any(|part| part == b"blackout"), "{answer:?}");

    let target = |trusted: Option<(&Path, &Path)>| Target {
        endpoint: format!("tls:127.0.0.1:{port}").parse().unwrap(),
        trust: trusted.map(|(certificate, token)| Trust::load(certificate, token).unwrap()),
    };
    let messages = hear(&target(Some((&certificate, &token))), None).unwrap();
    assert_eq!((&messages[0], numbers(&messages)), (&hello(), (vec![1], 0)));
    let refusal = "the token is wrong";
    assert_eq!(hear(&target(Some((&certificate, &wrong))), Some(refusal)).unwrap_err(), refusal);
    let error = hear(&target(Some((&stranger, &token))), Some("certificate")).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    assert!(hear_once(&target(None)).unwrap_err().contains("--tls-ca"));
    // Without TLS there is no stream at all.
    let plain = Target { endpoint: format!("tcp:127.0.0.1:{port}").parse().unwrap(), trust: None };
    assert!(hear_once(&plain).is_err());
}
