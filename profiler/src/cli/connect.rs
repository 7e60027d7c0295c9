//! Whom `stream` and `tui` follow.

use std::path::PathBuf;

use anyhow::Result;
use profiler_watch::{client::Target, endpoint::Endpoint, tls::Trust};

use super::serve::DEFAULT_ENDPOINT;

/// An agent, as the command line says.
#[derive(clap::Args)]
pub struct Connect {
    /// Agent to follow: unix:PATH, tcp:ADDRESS:PORT, tls:HOST:PORT, vsock:CID:PORT
    #[arg(long, value_name = "ENDPOINT", default_value = DEFAULT_ENDPOINT, conflicts_with = "file")]
    connect: Endpoint,
    /// For tls: certificates to trust in PEM form, the agent's own or what it is signed by
    #[arg(long, value_name = "FILE", requires = "token_file")]
    tls_ca: Option<PathBuf>,
    /// For tls: file with the token
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    token_file: Option<PathBuf>,
}

impl Connect {
    /// With the files read.
    pub fn target(&self) -> Result<Target> {
        let trust = match (&self.tls_ca, &self.token_file) {
            (Some(trusted), Some(token)) => Some(Trust::load(trusted, token)?),
            _ => None,
        };
        Ok(Target { endpoint: self.connect.clone(), trust })
    }
}
