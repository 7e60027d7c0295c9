//! The door of a `tls:` endpoint: certificate, handshake and token.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use profiler_watch::{
    message::Message,
    tls::{TOKEN_CHARACTERS, TlsError, Token, certificates, provider},
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

/// How long a stranger has to become a client.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// What a wrong token costs who guesses.
const WRONG: Duration = Duration::from_secs(1);

/// An agent's: who it is, and who may read.
#[derive(Clone)]
pub struct Guard {
    acceptor: TlsAcceptor,
    token: Token,
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
        Ok(Self { acceptor: Arc::new(config).into(), token: Token::read(token)? })
    }

    /// Makes a client of a stranger.
    ///
    /// # Errors
    /// For those who take too long, speak no TLS, or do not know the token.
    pub async fn admit(
        &self,
        stranger: tokio::net::TcpStream,
    ) -> io::Result<TlsStream<tokio::net::TcpStream>> {
        timeout(HANDSHAKE, async {
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
