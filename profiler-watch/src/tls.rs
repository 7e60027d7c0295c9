//! Streams that leave the machine: TLS encrypts them, and a token admits their readers.
//!
//! A reader trusts the certificates that it is given and no others. After the handshake it sends the token, one line,
//! the only input that an agent ever reads. TLS 1.3 only: both ends are ours. The agent's end is in the crate
//! `profiler`.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, ServerName,
        pem::{self, PemObject},
    },
    version::TLS13,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// How long an agent gives a connection to become a client.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a reader waits for its admission: longer than the agent takes to refuse it, so that the reader gets the reason.
pub(crate) const ADMISSION: Duration = HANDSHAKE.saturating_mul(2);
/// Characters of a token.
pub const TOKEN_CHARACTERS: std::ops::RangeInclusive<usize> = 16..=256;

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

/// The word that admits a reader.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads a token from a file.
    ///
    /// # Errors
    /// [`TlsError::Read`] and [`TlsError::Token`].
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let text = fs::read_to_string(path).map_err(|source| TlsError::Read { path: path.into(), source })?;
        let word = text.trim();
        let fits = TOKEN_CHARACTERS.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(word.to_owned())) } else { Err(TlsError::Token(path.into())) }
    }

    /// Returns whether a reader sent this token. It compares digests: the time that takes does not depend on the token.
    pub fn is(&self, said: &[u8]) -> bool {
        Sha256::digest(&self.0) == Sha256::digest(said)
    }
}

/// How long a reader waits for an agent.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
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
    pub fn connect(&self, host: &str, port: u16, patience: Patience) -> io::Result<impl Read + Send + use<>> {
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

/// Returns the cryptography that both ends use.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads a file of certificates in PEM form; one at least.
///
/// # Errors
/// [`TlsError::Pem`].
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
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
}
