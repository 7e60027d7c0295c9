//! OTLP: a live update as a trace, and a host's live updates as metrics, for OpenTelemetry collectors.

mod metrics;
pub mod proto;
mod trace;

use profiler_report::report::{self, Report};

pub use metrics::{Totals, metrics};
pub use trace::{SPANS_IN_A_REQUEST, trace};

use self::proto::{Resource, Scope, attribute};

/// Where it all comes from. The instance is the host: one series a host, whatever runs there.
fn resource(host: &str, arch: &str) -> Resource {
    // Semantic conventions, `host.arch`.
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Resource {
        attributes: vec![
            attribute("service.name", "blackout"),
            attribute("service.instance.id", host),
            attribute("service.version", report::tool().version.as_str()),
            attribute("host.name", host),
            attribute("host.arch", arch),
            attribute("os.type", "linux"),
        ],
    }
}

fn scope() -> Scope {
    Scope { name: "blackout".to_owned(), version: report::tool().version }
}

/// The release of the incoming kernel, or nothing.
fn incoming(report: &Report) -> &str {
    report.incoming.as_ref().map_or("", |kernel| &kernel.release)
}
