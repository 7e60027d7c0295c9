//! Where a stream is to be had.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use thiserror::Error;

/// An address, as the command line writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `tcp:ADDRESS:PORT`; the address may be `localhost`.
    Tcp(SocketAddr),
    /// `tls:HOST:PORT`: TCP that asks for a certificate and a token.
    Tls {
        /// Name or address; the certificate must be for it.
        host: String,
        /// Port.
        port: u16,
    },
    /// `vsock:CID:PORT`; to listen, `vsock:any:PORT`.
    Vsock {
        /// Context id; `u32::MAX` is any.
        cid: u32,
        /// Port.
        port: u32,
    },
}

/// Text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is none of unix:PATH, tcp:ADDRESS:PORT, tls:HOST:PORT, vsock:CID:PORT")]
pub struct EndpointError(String);

/// Where a stream must not be offered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0} can be reached from other machines, and this stream is neither encrypted nor asks who reads it: \
     listen on tls:HOST:PORT, or on unix:PATH or tcp:localhost:PORT and forward that (ssh -L)"
)]
pub struct Exposed(Endpoint);

impl Endpoint {
    /// Refuses to be listened on where anybody could connect.
    ///
    /// # Errors
    /// For TCP on another address than loopback.
    pub fn check_listen(&self) -> Result<(), Exposed> {
        match self {
            Self::Tcp(address) if !address.ip().is_loopback() => Err(Exposed(self.clone())),
            _ => Ok(()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let error = || EndpointError(text.to_owned());
        let (kind, rest) = text.split_once(':').ok_or_else(error)?;
        match kind {
            "unix" if !rest.is_empty() => Ok(Self::Unix(rest.into())),
            "tcp" => {
                let local =
                    |port: &str| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?));
                let address = match rest.strip_prefix("localhost:") {
                    Some(port) => local(port),
                    None => rest.parse().ok(),
                };
                address.map(Self::Tcp).ok_or_else(error)
            }
            "tls" => {
                let (host, port) = rest.rsplit_once(':').ok_or_else(error)?;
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                let is_plain = !bare.is_empty() && (bare.len() < host.len() || !bare.contains(':'));
                let port = port.parse().ok().filter(|_| is_plain).ok_or_else(error)?;
                Ok(Self::Tls { host: bare.to_owned(), port })
            }
            "vsock" => {
                let (cid, port) = rest.split_once(':').ok_or_else(error)?;
                let cid = if cid == "any" { Some(u32::MAX) } else { cid.parse().ok() };
                let port = port.parse().map_err(|_| error())?;
                Ok(Self::Vsock { cid: cid.ok_or_else(error)?, port })
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Tls { host, port } if host.contains(':') => write!(f, "tls:[{host}]:{port}"),
            Self::Tls { host, port } => write!(f, "tls:{host}:{port}"),
            Self::Vsock { cid: u32::MAX, port } => write!(f, "vsock:any:{port}"),
            Self::Vsock { cid, port } => write!(f, "vsock:{cid}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_back() {
        for text in [
            "unix:/run/blackout.sock",
            "tcp:127.0.0.1:7171",
            "tcp:[::1]:9",
            "tls:host.example:7171",
            "tls:[2001:db8::1]:7171",
            "vsock:2:7171",
            "vsock:any:1",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("tcp:localhost:80".parse::<Endpoint>().unwrap().to_string(), "tcp:127.0.0.1:80");
        for text in [
            "",
            "unix:",
            "unix",
            "/run/x",
            "tcp:7171",
            "tcp:host:1",
            "tcp::1",
            "tls:host",
            "tls::1",
            "tls:::1:1",
            "vsock:1",
            "vsock:x:1",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_is_offered_beyond_this_machine() {
        let check = |text: &str| text.parse::<Endpoint>().unwrap().check_listen();
        for text in ["tcp:0.0.0.0:1", "tcp:192.0.2.1:1", "tcp:[::]:1"] {
            assert!(check(text).unwrap_err().to_string().contains("ssh -L"), "{text}");
        }
        for text in ["tcp:127.0.0.1:1", "tcp:[::1]:1", "unix:/x", "vsock:any:1", "tls:0.0.0.0:1"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
