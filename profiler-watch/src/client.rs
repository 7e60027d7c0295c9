//! A connection to an agent, made again whenever it breaks: the kernel it came from may be replaced.

use std::{
    io::{self, Read},
    net::TcpStream,
    ops::ControlFlow,
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use super::{
    decode::Decoder,
    endpoint::Endpoint,
    message::Message,
    tls::{self, Patience, Trust},
    vsock,
};

/// Pause before the next try.
const RETRY: Duration = Duration::from_millis(300);
/// A connection to a kernel that is gone says nothing, and never breaks. Agents are not silent this long.
const SILENCE: Duration = Duration::from_secs(2);

/// Whom a reader follows.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where.
    pub endpoint: Endpoint,
    /// What a `tls:` endpoint needs.
    pub trust: Option<Trust>,
}

/// What a reader hears.
#[derive(Debug)]
pub enum Heard {
    /// The connection stands.
    Connected,
    /// A message.
    Message(Box<Message>),
    /// The connection broke, or could not be made: why, in words.
    Apart(String),
    /// Lines so far that were no message.
    Malformed(u64),
}

/// Follows an agent, and the one that comes after it, until `each` breaks off.
pub fn follow(target: &Target, mut each: impl FnMut(Heard) -> ControlFlow<()>) {
    let mut apart = String::new();
    loop {
        let why = match connect(target) {
            Ok(stream) => match read(stream, &mut each) {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(why) => why,
            },
            Err(error) => format!("cannot connect to {}: {error}", target.endpoint),
        };
        // The same failure again and again is one piece of news.
        if why != apart {
            apart.clone_from(&why);
            if each(Heard::Apart(why)).is_break() {
                return;
            }
        }
        thread::sleep(RETRY);
    }
}

fn read(mut stream: Stream, each: &mut impl FnMut(Heard) -> ControlFlow<()>) -> ControlFlow<(), String> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut malformed = 0;
    let mut greeted = false;
    each(Heard::Connected)?;
    loop {
        let length = match stream.0.read(&mut buffer) {
            Ok(0) => return ControlFlow::Continue("the agent closed the connection".to_owned()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return ControlFlow::Continue("the agent is silent".to_owned());
            }
            Err(error) => return ControlFlow::Continue(format!("the connection broke: {error}")),
        };
        for message in decoder.feed(buffer.get(..length).unwrap_or_default()) {
            match message {
                Message::Bye { reason } if !greeted => return ControlFlow::Continue(reason),
                Message::Hello(_) => greeted = true,
                _ => {}
            }
            each(Heard::Message(Box::new(message)))?;
        }
        if malformed != decoder.malformed() {
            malformed = decoder.malformed();
            each(Heard::Malformed(malformed))?;
        }
    }
}

struct Stream(Box<dyn Read + Send>);

fn connect(target: &Target) -> io::Result<Stream> {
    Ok(Stream(match &target.endpoint {
        // A socket of this machine breaks when its other end goes; one that a virtual machine monitor
        // forwards stays, and so does what lies in it.
        Endpoint::Unix(path) => Box::new(UnixStream::connect(path)?),
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, SILENCE)?;
            stream.set_read_timeout(Some(SILENCE))?;
            Box::new(stream)
        }
        Endpoint::Tls { host, port } => {
            let none = || io::Error::other("whom to trust is not said (--tls-ca, --token-file)");
            let patience = Patience { connect: SILENCE, admission: tls::ADMISSION, stream: SILENCE };
            Box::new(target.trust.as_ref().ok_or_else(none)?.connect(host, *port, patience)?)
        }
        Endpoint::Vsock { cid, port } => {
            let stream = vsock::connect(*cid, *port)?;
            stream.set_read_timeout(Some(SILENCE))?;
            Box::new(stream)
        }
    }))
}
