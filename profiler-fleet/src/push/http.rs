//! OTLP over HTTP: POST of protobuf, gzipped; which answers mean later, and which never.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use ureq::{Agent, http::StatusCode};

use super::PushError;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer that is read.
const LONGEST_ANSWER: u64 = 64 << 10;

/// Where to send to.
pub struct Collector {
    base: String,
    headers: Vec<(String, String)>,
    agent: Agent,
}

/// What a collector says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it; the answer's body.
    Taken(Vec<u8>),
    /// It will never take it.
    Refused(String),
    /// It is away or busy.
    NotNow {
        /// In words.
        why: String,
        /// How long it asks to be left alone.
        after: Option<Duration>,
    },
}

impl Collector {
    /// A collector by its base address (the signals' paths are added), and headers as
    /// `OTEL_EXPORTER_OTLP_HEADERS` has them: `NAME=VALUE,NAME=VALUE`.
    ///
    /// # Errors
    /// [`PushError::Url`], [`PushError::Header`].
    pub fn new(base: &str, headers: &str) -> Result<Self, PushError> {
        let wrong = |why| PushError::Url(base.to_owned(), why);
        match base.split_once("://") {
            Some(("http", host)) if !host.is_empty() => {}
            Some(("https", _)) => return Err(wrong("; TLS is left to a collector on this host")),
            _ => return Err(wrong("")),
        }
        let pair = |text: &str| match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(PushError::Header(text.to_owned())),
        };
        let headers = headers.split(',').filter(|text| !text.trim().is_empty()).map(pair);
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            headers: headers.collect::<Result<_, _>>()?,
            agent: config.build().into(),
        })
    }

    /// Sends one request to a path below the base.
    pub fn post(&self, path: &str, message: &[u8]) -> Answer {
        let url = format!("{}{path}", self.base);
        let not_now = |why: String, after| Answer::NotNow { why: format!("{url}: {why}"), after };
        let mut request = self.agent.post(&url).header("Content-Type", "application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name.as_str(), value.as_str());
        }
        let body = match gzip(message) {
            Ok(body) => body,
            Err(error) => return not_now(error.to_string(), None),
        };
        let mut response = match request.header("Content-Encoding", "gzip").send(body.as_slice()) {
            Ok(response) => response,
            Err(error @ (ureq::Error::Http(_) | ureq::Error::BadUri(_))) => {
                return Answer::Refused(error.to_string());
            }
            Err(error) => return not_now(error.to_string(), None),
        };
        let status = response.status();
        let after = response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
        // A body that breaks off says less, and the status holds all the same.
        let body = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec().unwrap_or_default();
        if status.is_success() {
            return Answer::Taken(body);
        }
        let words = profiler_report::evidence::text::scrub(&body, 200);
        let why = format!("{status} {}", words.trim());
        // OTLP, "Retryable Response Codes".
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => not_now(why, after.map(Duration::from_secs)),
            _ => Answer::Refused(why),
        }
    }
}

fn gzip(message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_or_header_is_said() {
        let error = |base, headers| Collector::new(base, headers).err().map(|error| error.to_string());
        assert_eq!(error("http://localhost:4318/", "a=b, c=d=e,"), None);
        assert!(error("localhost:4318", "").unwrap().contains("http://HOST:PORT"));
        assert!(error("http://", "").is_some());
        assert!(error("http://localhost", "secret").unwrap().contains("NAME=VALUE"));
    }
}
