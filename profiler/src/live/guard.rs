//! The door of a `tls:` endpoint: certificate, handshake and token.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use profiler_watch::{
    message::Message,
    tls::{HANDSHAKE, TOKEN_CHARACTERS, TlsError, Token, certificates, provider},
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Delay of the answer to a wrong token.
const WRONG: Duration = Duration::from_secs(1);

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
                if said.len() > *TOKEN_CHARACTERS.end() || stream.read_buf(&mut said).await? == 0 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_watch::tls::{Patience, Trust};
    use std::{fs, io::Read};

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
