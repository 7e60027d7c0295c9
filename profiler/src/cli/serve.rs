//! `blackout serve`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use profiler::live::{self, ServeOptions, guard::Guard};
use profiler_watch::endpoint::Endpoint;

/// Where an agent listens, and a reader looks for it.
pub const DEFAULT_ENDPOINT: &str = "unix:/run/blackout.sock";

/// Arguments of `blackout serve`.
///
/// Run it in the outgoing kernel after `blackout arm`, and again in the incoming one, as early as you like:
/// it ends by itself once `blackout collect` has written the recording, with the report as its last message.
/// Clients that do not keep up miss lines, and are told how many; they never slow the agent.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Where to listen: unix:PATH (for its owner alone), tcp:localhost:PORT (for every user of this machine),
    /// vsock:any:PORT, or tls:ADDRESS:PORT (for who has the token). May be given more than once
    #[arg(long, value_name = "ENDPOINT", default_value = DEFAULT_ENDPOINT)]
    listen: Vec<Endpoint>,
    /// For tls: certificate in PEM form, for the name that readers connect to
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "token_file"])]
    tls_cert: Option<PathBuf>,
    /// For tls: its private key in PEM form
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// For tls: file with the token that readers must know, a word of at least 16 characters
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    token_file: Option<PathBuf>,
    /// Clients at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_clients: u32,
    /// Folder of the recordings, one file a live update
    #[arg(long, value_name = "DIR", default_value = "/var/lib/blackout")]
    state: PathBuf,
}

/// Serves until the live update is over, or a signal comes.
pub fn run(args: &Args) -> Result<()> {
    let max_clients = usize::try_from(args.max_clients).context("--max-clients")?;
    let (state_dir, listen) = (args.state.clone(), args.listen.clone());
    let guard = match (&args.tls_cert, &args.tls_key, &args.token_file) {
        (Some(certificate), Some(key), Some(token)) => Some(Guard::load(certificate, key, token)?),
        _ => None,
    };
    let is_tls = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Tls { .. });
    if let (Some(endpoint), None) = (listen.iter().find(|endpoint| is_tls(endpoint)), &guard) {
        bail!("{endpoint} needs --tls-cert, --tls-key and --token-file");
    }
    let options = ServeOptions { state_dir, listen, guard, max_clients };
    Ok(live::serve(&options, || {
        for endpoint in &options.listen {
            eprintln!("blackout: listening on {endpoint}");
        }
    })?)
}
