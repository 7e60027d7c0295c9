//! JUnit XML: one suite, one case each; undecided is skipped.

use std::fmt::Write;

use profiler_report::render::xml::escape;

use super::cases::{Case, Outcome};

/// Renders one suite.
pub fn render(cases: &[Case], suite: &str) -> String {
    let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{}\" tests=\"{}\" \
         failures=\"{}\" errors=\"0\" skipped=\"{}\">\n",
        escape(suite),
        cases.len(),
        count(Outcome::Fail),
        count(Outcome::Skip),
    );
    for case in cases {
        let (name, message) = (escape(&case.name), escape(&case.message));
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "<testcase classname=\"blackout.{}\" name=\"{name}\" time=\"{:.9}\">",
            case.class, case.seconds
        );
        let _ = match case.outcome {
            Outcome::Pass => write!(out, "<system-out>{message}</system-out>"),
            Outcome::Fail => write!(out, "<failure message=\"{message}\"/>"),
            Outcome::Skip => write!(out, "<skipped message=\"{message}\"/>"),
        };
        out += "</testcase>\n";
    }
    out + "</testsuite>\n</testsuites>\n"
}
