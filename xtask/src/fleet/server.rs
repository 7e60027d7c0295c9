//! Servers of a check: on ports of their own, gone when it ends.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use ureq::Agent;

/// Limit of one request.
const ANSWER: Duration = Duration::from_secs(300);
/// Looks, a fifth of a second apart, at a server that begins: ten minutes. They are counted, and not time: on a busy
/// machine both sides are slower.
const LOOKS: u32 = 3000;

/// One that runs.
pub struct Server(Child);

impl Server {
    /// Starts it; what it says goes to a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let command = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child =
            command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
        Ok(Self(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of the loopback address that nobody has now.
///
/// # Errors
/// The system's.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Answers of a Prometheus, or of what speaks as one.
pub struct Api {
    agent: Agent,
    /// `http://HOST:PORT`.
    pub base: String,
}

impl Api {
    /// Waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait(port: u16, log: &Path) -> Result<Self> {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER)).build();
        let api = Self { agent: config.into(), base: format!("http://127.0.0.1:{port}") };
        for _ in 0..LOOKS {
            let answer = api.agent.get(format!("{}/-/healthy", api.base)).call();
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(api);
            }
            thread::sleep(Duration::from_millis(200));
        }
        bail!("{} does not answer: see {}", api.base, log.display())
    }

    /// `data` of an answer.
    ///
    /// # Errors
    /// What Prometheus says.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let mut request = self.agent.get(format!("{}/api/v1/{path}", self.base));
        for (name, value) in query {
            request = request.query(name, value);
        }
        let text = request.call()?.body_mut().with_config().limit(64 << 20).read_to_string()?;
        let mut answer: Value = serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))?;
        if answer["status"] != "success" {
            bail!("{path} {query:?}: {}", answer["error"]);
        }
        Ok(answer["data"].take())
    }

    /// Samples of a query now.
    ///
    /// # Errors
    /// What Prometheus says.
    pub fn query(&self, expr: &str) -> Result<Vec<Value>> {
        Ok(self.get("query", &[("query", expr)])?["result"].as_array().cloned().unwrap_or_default())
    }

    /// The one value of a query.
    ///
    /// # Errors
    /// When it has none, or several.
    pub fn number(&self, expr: &str) -> Result<f64> {
        let samples = self.query(expr)?;
        let [sample] = samples.as_slice() else { bail!("{expr}: {} samples", samples.len()) };
        Ok(sample["value"][1].as_str().context("a value")?.parse()?)
    }
}
