//! Streams that leave the machine: TLS, so that nobody else reads them, and a token, so that not everybody may.
//!
//! A reader trusts the certificates it is given and no others; after the handshake it says the token, one line,
//! the only thing that an agent ever reads. TLS 1.3 only: both ends are ours.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    version::TLS13,
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::message::Message;

/// How long a stranger has to become a client.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a reader waits to be let in: longer than the agent takes to refuse it, so that the reader gets the reason.
pub(super) const ADMISSION: Duration = HANDSHAKE.saturating_mul(2);
/// What a wrong token costs who guesses.
const WRONG: Duration = Duration::from_secs(1);
/// Characters of a token.
const TOKEN: std::ops::RangeInclusive<usize> = 16..=256;

/// Why there can be no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file of certificates, or of a key.
    #[error("{path} holds no {what} in PEM form: {source}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why.
        source: pem::Error,
    },
    /// Certificates and key that do not work.
    #[error("{path} cannot be used")]
    Unusable {
        /// The file of certificates.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A token that cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A token that is none.
    #[error(
        "{0} must hold one word of 16 to 256 letters, digits and signs, such as `openssl rand -hex 32` makes"
    )]
    Token(PathBuf),
}

/// What readers say to be let in.
#[derive(Clone)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    fn read(path: &Path) -> Result<Self, TlsError> {
        let text = fs::read_to_string(path).map_err(|source| TlsError::Read { path: path.into(), source })?;
        let word = text.trim();
        let fits = TOKEN.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(word.to_owned())) } else { Err(TlsError::Token(path.into())) }
    }

    /// Compares digests: how long that takes says nothing about the token.
    fn is(&self, said: &[u8]) -> bool {
        Sha256::digest(&self.0) == Sha256::digest(said)
    }
}

/// An agent's: who it is, and who may read.
#[derive(Clone)]
pub struct Guard {
    acceptor: TlsAcceptor,
    token: Token,
    handshake: Duration,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Guard {
    /// From files: certificate (with what it is signed by, if need be) and key in PEM form, token.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, key: &Path, token: &Path) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Pem {
            path: key.into(),
            what: "private key",
            source,
        })?;
        let unusable = |source| TlsError::Unusable { path: certificate.into(), source };
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        Ok(Self { acceptor: Arc::new(config).into(), token: Token::read(token)?, handshake: HANDSHAKE })
    }

    /// Makes a client of a stranger.
    ///
    /// # Errors
    /// For those who take too long, speak no TLS, or do not know the token.
    pub async fn admit(
        &self,
        stranger: tokio::net::TcpStream,
    ) -> io::Result<TlsStream<tokio::net::TcpStream>> {
        timeout(self.handshake, async {
            let mut stream = self.acceptor.accept(stranger).await?;
            let mut said = Vec::new();
            while !said.ends_with(b"\n") {
                if said.len() > *TOKEN.end() || stream.read_buf(&mut said).await? == 0 {
                    break;
                }
            }
            if self.token.is(said.trim_ascii_end()) {
                return Ok(stream);
            }
            sleep(WRONG).await;
            let bye = Message::Bye { reason: "the token is wrong".to_owned() }.line().unwrap_or_default();
            stream.write_all(bye.as_bytes()).await?;
            stream.shutdown().await?;
            Err(io::ErrorKind::PermissionDenied.into())
        })
        .await?
    }
}

/// How long a reader waits for an agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the connection.
    pub connect: Duration,
    /// For each step from there to the first bytes of the stream, or to the refusal.
    pub admission: Duration,
    /// For more of the stream.
    pub stream: Duration,
}

/// A reader's: whom it trusts, and what it says.
#[derive(Debug, Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    token: Token,
}

impl Trust {
    /// From files: certificates that are trusted, in PEM form (the agent's own, or what signed it), and token.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(trusted: &Path, token: &Path) -> Result<Self, TlsError> {
        let unusable = |source| TlsError::Unusable { path: trusted.into(), source };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(trusted)? {
            roots.add(certificate).map_err(unusable)?;
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), token: Token::read(token)? })
    }

    /// Connects, blocking.
    ///
    /// # Errors
    /// When nobody is there, or somebody else is.
    pub(super) fn connect(
        &self,
        host: &str,
        port: u16,
        patience: Patience,
    ) -> io::Result<impl Read + Send + use<>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut stream = Err(io::ErrorKind::NotFound.into());
        for address in (host, port).to_socket_addrs()? {
            stream = TcpStream::connect_timeout(&address, patience.connect);
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream?;
        stream.set_read_timeout(Some(patience.admission))?;
        stream.set_write_timeout(Some(patience.admission))?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        writeln!(stream, "{}", self.token.0)?;
        stream.flush()?;
        Ok(Admission { stream, then: Some(patience.stream) })
    }
}

/// A stream that has a longer timeout until its first bytes come.
struct Admission {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// Timeout of the reads behind the first bytes; `None` once it is set.
    then: Option<Duration>,
}

impl Read for Admission {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        if let Some(timeout) = self.then.take() {
            self.stream.sock.set_read_timeout(Some(timeout))?;
        }
        Ok(length)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem { path: path.into(), what: "certificate", source };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_not_a_short_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            fs::write(file.path(), text).unwrap();
            Token::read(file.path())
        };
        for text in ["", "short", "two words of some length", "sixteen letters\u{fc}", &"x".repeat(257)] {
            assert!(matches!(read(text), Err(TlsError::Token(_))), "{text}");
        }
        let token = read("0123456789abcdef\n").unwrap();
        assert!(token.is(b"0123456789abcdef") && !token.is(b"0123456789abcdeF") && !token.is(b""));
        assert_eq!(format!("{token:?}"), "Token");
    }

    /// An agent that lets one stranger in, or refuses it; its port.
    fn agent(guard: Guard) -> u16 {
        let (ready, listening) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap().port()).unwrap();
                let (stranger, _) = listener.accept().await.unwrap();
                if let Ok(mut client) = guard.admit(stranger).await {
                    client.write_all(b"hello").await.unwrap();
                    client.flush().await.unwrap();
                    std::future::pending::<()>().await;
                }
            });
        });
        listening.recv().unwrap()
    }

    /// A refusal comes after a second (`WRONG`), an agent that is slow later still.
    #[test]
    fn a_reader_waits_longer_for_its_admission_than_for_more_of_the_stream() {
        const LONG: Duration = Duration::from_secs(600);
        let patience = Patience { connect: LONG, admission: LONG, stream: Duration::from_millis(1) };
        let made = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name);
        let [certificate, key] = ["agent.pem", "agent.key.pem"].map(made);
        let dir = tempfile::tempdir().unwrap();
        let [right, wrong] =
            [("right", "0123456789abcdef"), ("wrong", "0123456789abcdeF")].map(|(name, token)| {
                let path = dir.path().join(name);
                fs::write(&path, token).unwrap();
                path
            });
        let guard = Guard { handshake: LONG, ..Guard::load(&certificate, &key, &right).unwrap() };
        let read = |token: &Path| {
            let trust = Trust::load(&certificate, token).unwrap();
            let mut stream = trust.connect("127.0.0.1", agent(guard.clone()), patience).unwrap();
            let mut text = Vec::new();
            let end = stream.read_to_end(&mut text);
            (String::from_utf8(text).unwrap(), end.map_err(|error| error.kind()))
        };
        let (refusal, _) = read(&wrong);
        assert!(refusal.contains("the token is wrong"), "{refusal}");
        let (hello, end) = read(&right);
        assert_eq!((hello.as_str(), end), ("hello", Err(io::ErrorKind::WouldBlock)));
    }
}
