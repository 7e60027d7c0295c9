//! The report as one page: no network, no inline style, its script and its style named by digest in a
//! content security policy. All figures are in tables that need no script; the script adds the timeline.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::display;
use crate::{duration, render::xml::escape, report::Report};

mod data;
mod histogram;
mod picture;
mod tables;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// In the order of what uses what.
const SCRIPT: &str = concat!(
    "\"use strict\";(() => {\n",
    include_str!("model.js"),
    include_str!("viewport.js"),
    include_str!("draw.js"),
    include_str!("inspect.js"),
    include_str!("controls.js"),
    "})();\n"
);

/// Renders it.
///
/// # Errors
/// Serde's.
pub fn render(report: &Report) -> serde_json::Result<String> {
    let window = report.window.as_ref();
    let length = window.map_or("no window".to_owned(), |window| duration(window.duration_ns));
    let headline = match window {
        Some(window) => format!("Blackout {length} <small>&#177; {}</small>", duration(window.error_ns)),
        None => "No blackout window".to_owned(),
    };
    let between = window.map_or("The evidence does not hold both its ends.".to_owned(), |window| {
        format!(
            "{} window, from {} to {}",
            escape(&window.definition),
            escape(&window.start),
            escape(&window.end)
        )
    });
    let releases = escape(&display::releases(report)).into_owned();
    let tool = [&report.tool.name, &report.tool.version, &report.tool.commit].map(String::as_str).join(" ");
    let parts = [
        ("policy", policy()),
        ("title", format!("blackout {length}, {releases}")),
        ("style", STYLE.to_owned()),
        ("headline", headline),
        ("releases", releases.clone()),
        ("between", between),
        ("facts", tables::facts(report)),
        ("warnings", tables::warnings(report)),
        ("picture", picture::svg(report)),
        ("phases", tables::phases(report)),
        ("guests", tables::guests(report)),
        ("advice", tables::advice(report)),
        ("chain", tables::chain(report)),
        ("largest", tables::largest(report)),
        ("hot", tables::hot(report)),
        ("loss", tables::loss(report)),
        ("coverage-summary", tables::coverage_summary(report)),
        ("coverage", tables::coverage(report)),
        ("kernels", tables::kernels(report)),
        ("tool", escape(tool.trim()).into_owned()),
        ("data", data::json(report)?),
        ("script", SCRIPT.to_owned()),
    ];
    Ok(fill(PAGE, &parts))
}

/// Nothing is loaded from anywhere, and only these two texts are script and style.
fn policy() -> String {
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'",
        digest(STYLE),
        digest(SCRIPT)
    )
}

/// Puts each part where the template names it, `{{name}}`, in one pass: what a part holds is never looked at.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, tail)| Some((before, tail.split_once("}}")?)))
    {
        out += before;
        out += parts.iter().find(|(part, _)| *part == name).map_or("", |(_, text)| text.as_str());
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_the_template_is_filled_and_parts_are_not_looked_at() {
        let parts = [("a", "{{b}}".to_owned()), ("b", "2".to_owned())];
        assert_eq!(fill("<{{a}}|{{b}}>", &parts), "<{{b}}|2>");
        let report = crate::testing::report(Vec::new());
        let page = render(&report).unwrap();
        assert!(!page.contains("{{"), "a place without a part");
        for (name, _) in PAGE.split("{{").skip(1).filter_map(|tail| tail.split_once("}}")) {
            assert!(PAGE.matches(&format!("{{{{{name}}}}}")).count() == 1, "{name} twice");
        }
    }

    #[test]
    fn script_and_style_cannot_end_early() {
        assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!--") && !STYLE.contains("</"));
    }
}
