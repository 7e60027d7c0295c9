//! The HTML page in a real browser: `cargo xtask page` (part of `cargo xtask test`).
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

use std::{env, fs, path::PathBuf};

use profiler_report::{
    render::{self, Format},
    report::Report,
    testing::rich,
};
use serde_json::Value;

mod chromium;

use chromium::Chromium;

/// A browser that shows a report, and the folder of the page.
fn browse(report: &Report) -> (Chromium, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.html");
    fs::write(&path, render::render(report, Format::Html).unwrap()).unwrap();
    let mut browser = Chromium::start();
    browser.show_as(1280, 900, "screen", "light");
    browser.open(&path);
    browser.frame();
    (browser, dir)
}

fn text(browser: &mut Chromium, selector: &str) -> String {
    browser.eval(&format!("document.querySelector({selector:?}).innerText")).as_str().unwrap().to_owned()
}

/// What the timeline shows: from, to, in nanoseconds.
fn shown(browser: &mut Chromium) -> (f64, f64) {
    browser.frame();
    let range = browser.eval("[Number(canvas.dataset.from), Number(canvas.dataset.to)]");
    (range[0].as_f64().unwrap(), range[1].as_f64().unwrap())
}

/// Middle of the drawn span with this name, found as a user would: by search.
fn find(browser: &mut Chromium, name: &str) {
    browser.eval("canvas.focus()");
    browser.key("/", false);
    assert_eq!(browser.eval("document.activeElement.id"), "search");
    browser.eval("search.select()");
    browser.type_text(name);
    browser.key("Enter", false);
}

#[test]
#[ignore = "needs a browser: cargo xtask page"]
fn zoom_hover_search_and_keys() {
    let report = rich::rich();
    let (mut browser, _dir) = browse(&report);
    let end = report.window.as_ref().unwrap().duration_ns as f64;

    // At first the window is shown, nearly exactly.
    let (from, to) = shown(&mut browser);
    assert!(from < 0.0 && from > -0.05 * end && to > end && to < 1.05 * end, "{from} {to}");

    // Keys: the canvas is reached by Tab, zooms around its middle, pans, and comes back.
    browser.eval("document.getElementById('help-button').focus()");
    browser.key("Tab", false);
    browser.eval("canvas.focus()");
    browser.key("+", false);
    let (a, b) = shown(&mut browser);
    assert!((b - a) < 0.7 * (to - from) && ((a + b) - (from + to)).abs() < 1e-3 * end, "{a} {b}");
    browser.key("ArrowRight", false);
    let (c, d) = shown(&mut browser);
    assert!(c > a && ((d - c) - (b - a)).abs() < 1.0, "{c} {d}");
    browser.key("End", false);
    assert!(shown(&mut browser).0 < report.brownout[0].start_ns as f64);
    browser.key("Home", false);
    assert_eq!(shown(&mut browser), (from, to));

    // Wheel with Ctrl zooms in place; without, the time shown stays.
    let left = browser.eval("canvas.getBoundingClientRect().left + 700").as_f64().unwrap();
    let top = browser.eval("canvas.getBoundingClientRect().top + 120").as_f64().unwrap();
    browser.wheel(left, top, -240.0, true);
    let (a, b) = shown(&mut browser);
    assert!(b - a < 0.5 * (to - from), "{a} {b}");
    browser.wheel(left, top, 30.0, false);
    assert_eq!(shown(&mut browser), (a, b));

    // Dragging pans by as much as the pointer moved.
    browser.mouse("mousePressed", left, top);
    browser.mouse("mouseMoved", left - 100.0, top);
    browser.mouse("mouseReleased", left - 100.0, top);
    let (c, d) = shown(&mut browser);
    assert!(c > a && ((d - c) - (b - a)).abs() < 1.0);

    // Search tells how many, walks through them, and selects.
    find(&mut browser, "svm_init");
    assert!(text(&mut browser, "#matches").starts_with("1 of 1"), "{}", text(&mut browser, "#matches"));
    let selected = text(&mut browser, "#selected");
    assert!(selected.contains("svm_init") && selected.contains("178.080 ms"), "{selected}");

    // Enter zooms to the selection; what is under the pointer is told.
    browser.eval("canvas.focus()");
    browser.key("Enter", false);
    let (a, b) = shown(&mut browser);
    assert!(b - a < 1.6 * 178_080_000.0 && b - a > 178_080_000.0, "{a} {b}");
    let row = browser.eval("Number(canvas.dataset.row)").as_f64().unwrap();
    let y = browser.eval("canvas.getBoundingClientRect().top").as_f64().unwrap() + row;
    browser.mouse("mouseMoved", left, y);
    browser.frame();
    let tip = text(&mut browser, "#tip");
    assert!(tip.contains("svm_init") && tip.contains("178.080 ms"), "{tip}");

    // Shift and arrows walk along the row.
    browser.key("ArrowRight", true);
    let next = text(&mut browser, "#selected h3");
    assert_ne!(next, "svm_init");
    browser.key("ArrowLeft", true);
    assert_eq!(text(&mut browser, "#selected h3"), "svm_init");
    browser.key("Escape", false);
    assert!(text(&mut browser, "#selected").contains("Nothing is selected"));

    // A failed call, and one whose end was not seen, say so.
    find(&mut browser, "token 0xbad");
    assert!(text(&mut browser, "#selected").contains("-5"));
    // Lanes by CPU: the same spans, other lanes.
    browser.eval("(grouping.value = 1, grouping.dispatchEvent(new Event('change')))");
    browser.frame();
    assert!(text(&mut browser, "#selected").contains("token 0xbad"));

    // The tables lead into the timeline.
    browser.eval(
        "[...document.querySelectorAll('a[data-start]')].find(a => a.textContent === 'acpi_init').click()",
    );
    browser.frame();
    assert_eq!(text(&mut browser, "#selected h3"), "acpi_init");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
#[ignore = "needs a browser: cargo xtask page"]
fn hostile_names_are_text() {
    let mut report = rich::rich();
    let name = "</script><img src=x onerror=window.hit=1><svg onload=window.hit=1>";
    for phase in &mut report.phases {
        phase.title = name.into();
        phase
            .spans
            .iter_mut()
            .for_each(|span| (span.name, span.subject) = (name.into(), "B".repeat(1 << 20)));
        phase.spans.truncate(8);
    }
    report.vms[0].name = name.into();
    report.run.host = name.into();
    let (mut browser, _dir) = browse(&report);
    find(&mut browser, "onerror");
    assert!(text(&mut browser, "#selected h3").starts_with("</script><img src=x"));
    assert_eq!(browser.eval("window.hit === undefined"), true);
    assert_eq!(browser.eval("document.querySelectorAll('img, svg[onload]').length"), 0);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
#[ignore = "needs a browser: cargo xtask page"]
fn a_hundred_thousand_spans() {
    let report = rich::large();
    let (mut browser, _dir) = browse(&report);
    assert!(browser.eval("JSON.parse(data.textContent).spans.start.length").as_u64().unwrap() > 100_000);
    let opened_ms = browser.busy_ms();
    // Every key pans or zooms by a step, once a frame; counted is what a frame paints, told is what it takes.
    let measured = browser.eval(
        "(async () => {
            let painted = 0, most = 0;
            const paint = CanvasRenderingContext2D.prototype.fillRect;
            CanvasRenderingContext2D.prototype.fillRect = function (...box) { painted++; paint.apply(this, box); };
            const next = () => new Promise(requestAnimationFrame);
            const press = (key) => canvas.dispatchEvent(new KeyboardEvent('keydown', { key }));
            const frames = [];
            for (const keys of ['End', 'Home', ...Array(30).fill('ArrowRight'), ...Array(12).fill('+'), ...Array(60).fill('ArrowLeft'), ...Array(12).fill('-')]) {
                painted = 0;
                await next();
                press(keys);
                const start = performance.now();
                await next();
                frames.push(performance.now() - start);
                most = Math.max(most, painted);
            }
            frames.sort((a, b) => a - b);
            const at = (share) => frames[Math.floor((frames.length - 1) * share)];
            const loaded = performance.getEntriesByType('navigation')[0].loadEventEnd;
            return { loaded, frames: frames.length, p50: at(0.5), p95: at(0.95), max: at(1), most };
        })()",
    );
    let frame_ms = (browser.busy_ms() - opened_ms) / measured["frames"].as_f64().unwrap();
    eprintln!("100 000 spans, 1280 x 900, ms a frame: {measured}");
    eprintln!("of processor time: {opened_ms:.0} ms to open, {frame_ms:.1} ms a frame");
    // At most one thing a pixel and row.
    let rows = browser
        .eval("JSON.parse(data.textContent).groupings[0].lanes.reduce((sum, lane) => sum + lane.levels, 0)");
    let bound = (rows.as_u64().unwrap() + 4) * 1_280;
    assert!(measured["most"].as_u64().unwrap() < bound, "{measured}, bound {bound}");
    find(&mut browser, "leaf_3");
    let found = text(&mut browser, "#matches");
    let total = browser.eval("document.querySelector('#matches').textContent.split(' ').pop()");
    assert!(found.starts_with("1 of "), "{found}");
    assert!(
        total.as_str().and_then(|total| total.parse::<u64>().ok()).is_some_and(|total| total > 5_000),
        "{found}"
    );
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
#[ignore = "needs a browser: cargo xtask page"]
fn without_a_script_and_in_print_the_figures_are_there() {
    let report = rich::rich();
    let (mut browser, dir) = browse(&report);
    browser.show_as(800, 1100, "print", "light");
    browser.frame();
    let visible = |browser: &mut Chromium, selector: &str| {
        browser.eval(&format!("document.querySelector({selector:?})?.getClientRects().length > 0"))
    };
    assert_eq!(visible(&mut browser, "svg.still"), true);
    assert_eq!(visible(&mut browser, "#canvas"), false);
    browser.call("Emulation.setScriptExecutionDisabled", serde_json::json!({"value": true}));
    browser.show_as(1280, 900, "screen", "light");
    browser.open(&dir.path().join("report.html"));
    assert_eq!(visible(&mut browser, "svg.still"), true);
    assert_eq!(visible(&mut browser, "#instrument"), false);
    let rows = browser.eval("document.querySelectorAll('table')[0].rows.length");
    assert_eq!(rows, Value::from(report.phases.len() + 2));
}

/// Every control has a name, text has contrast, and nothing is wider than a telephone.
#[test]
#[ignore = "needs a browser: cargo xtask page"]
fn accessible_and_narrow() {
    let (mut browser, _dir) = browse(&rich::rich());
    for scheme in ["light", "dark"] {
        browser.show_as(390, 800, "screen", scheme);
        browser.frame();
        let wide = browser.eval("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= 390, "{wide}");
        let poor = browser.eval(
            "(() => {
                const light = (colour) => {
                    const [r, g, b] = colour.match(/[\\d.]+/g).map((n) => n / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const ground = (node) => {
                    for (; node; node = node.parentElement) {
                        const colour = getComputedStyle(node).backgroundColor;
                        if (colour !== 'rgba(0, 0, 0, 0)') return colour;
                    }
                    return 'rgb(255, 255, 255)';
                };
                const poor = [];
                for (const node of document.querySelectorAll('body *:not(script):not(svg *)')) {
                    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())) continue;
                    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((a, b) => b - a);
                    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${node.tagName}.${node.className} ${(a + 0.05) / (b + 0.05)}`);
                }
                return [...new Set(poor)];
            })()",
        );
        assert_eq!(poor, serde_json::json!([]), "{scheme}");
    }
    let nameless = browser.eval(
        "[...document.querySelectorAll('button, input, select, canvas[tabindex], svg[role=img]')].filter((node) => \
         !(node.getAttribute('aria-label') || node.innerText?.trim() || node.labels?.length)).map((node) => node.outerHTML)",
    );
    assert_eq!(nameless, serde_json::json!([]));
}

/// Pictures of the page, for eyes: into the folder $BLACKOUT_PICTURES.
#[test]
#[ignore = "writes pictures: cargo xtask pictures"]
fn pictures() {
    let Some(dir) = env::var_os("BLACKOUT_PICTURES").map(PathBuf::from) else { return };
    let (mut browser, _page) = browse(&rich::fixture("plain"));
    browser.show_as(1280, 960, "screen", "light");
    find(&mut browser, "svm_init");
    browser.screenshot(&dir.join("report.webp"));
    let (mut browser, _page) = browse(&rich::rich());
    let views = [
        ("light", 1280, 4200, "screen", "light"),
        ("dark", 1280, 2600, "screen", "dark"),
        ("narrow", 390, 1600, "screen", "light"),
        ("print", 800, 1600, "print", "light"),
    ];
    for (name, width, height, medium, scheme) in views {
        browser.show_as(width, height, medium, scheme);
        browser.frame();
        browser.screenshot(&dir.join(format!("rich-{name}.png")));
    }
    browser.show_as(1280, 900, "screen", "dark");
    find(&mut browser, "retrieve");
    browser.key("Enter", false);
    browser.eval("canvas.focus()");
    browser.key("Enter", false);
    (0..3).for_each(|_| browser.key("-", false));
    browser.screenshot(&dir.join("rich-zoomed.png"));
    let (mut browser, _page) = browse(&rich::large());
    browser.screenshot(&dir.join("large.png"));
}
