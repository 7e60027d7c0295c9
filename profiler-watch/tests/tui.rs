//! What the terminal shows, of a recording of a real live update.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

use std::{path::PathBuf, time::Duration};

use profiler_report::{
    recording::read,
    report::{self, Report},
    testing::rich,
};
use profiler_watch::{
    message::Message,
    replay::{self, Playback},
    tui::{
        action::Action,
        screen::{Link, Screen},
        theme::Theme,
        ui::{Ui, VIEWS},
        view,
    },
};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(format!("{name}.blackout"));
    std::fs::read(path).unwrap()
}

fn playback(name: &str) -> Playback {
    Playback::new(replay::of_recording(&read(&bytes(name)).unwrap()).unwrap())
}

fn baseline() -> Report {
    report::build(&read(&bytes("other-kernel")).unwrap()).unwrap()
}

/// One frame.
fn frame(playback: &Playback, link: &Link, ui: &mut Ui, size: (u16, u16), colour: bool) -> Buffer {
    let baseline = baseline();
    let picture = playback.state.picture();
    let screen = Screen {
        state: &playback.state,
        report: picture.as_ref(),
        baseline: Some(&baseline),
        baseline_name: "other-kernel",
        link,
        now: playback.position,
        theme: Theme { colour },
    };
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| view::draw(frame, &screen, ui)).unwrap();
    terminal.backend().buffer().clone()
}

/// Its characters.
fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width);
    let lines =
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn replay_link(playback: &Playback) -> Link {
    let (position, length) = (playback.position, playback.length());
    Link::Replay { position, length, speed: 1.0, playing: false }
}

#[test]
fn every_view_at_every_size() {
    let playback = playback("plain");
    let link = replay_link(&playback);
    for (index, (_, name)) in VIEWS.iter().enumerate() {
        for size in SIZES {
            let mut ui = Ui::default();
            ui.take(Action::View(index));
            let shown = text(&frame(&playback, &link, &mut ui, size, false));
            insta::assert_snapshot!(format!("{name}-{}x{}", size.0, size.1), shown);
        }
    }
}

/// `plain`, ending with a report that says everything a report can say.
fn rich() -> Playback {
    let mut messages = replay::of_recording(&read(&bytes("plain")).unwrap()).unwrap();
    for timed in &mut messages {
        if let Message::Report { report, .. } = &mut timed.message {
            **report = rich::rich();
        }
    }
    Playback::new(messages)
}

#[test]
fn guests_histograms_and_advice_at_every_size() {
    let playback = rich();
    let link = replay_link(&playback);
    for (index, name) in [(0, "overview"), (1, "timeline"), (3, "hot")] {
        for size in SIZES {
            let mut ui = Ui::default();
            ui.take(Action::View(index));
            let mut shown = text(&frame(&playback, &link, &mut ui, size, false));
            // What does not fit is one page further down.
            if index == 0 && size.1 == 24 {
                ui.take(Action::End(true));
                shown += "\n\n";
                shown += &text(&frame(&playback, &link, &mut ui, size, false));
            }
            insta::assert_snapshot!(format!("rich-{name}-{}x{}", size.0, size.1), shown);
        }
    }
}

#[test]
fn before_in_and_after_the_silence() {
    let mut playback = playback("plain");
    // Of 2.9 s: the brownout, the dark stretch, the incoming kernel's boot.
    for (name, ms) in [("brownout", 20), ("silence", 600), ("incoming", 1500)] {
        let length = playback.length().as_millis() as u64;
        let window_ms = 2843;
        let begin = length - window_ms;
        playback.seek(Duration::from_millis(if name == "brownout" {
            begin.saturating_sub(ms)
        } else {
            begin + ms
        }));
        let shown = text(&frame(&playback, &Link::Live, &mut Ui::default(), (100, 30), false));
        insta::assert_snapshot!(name, shown);
    }
}

#[test]
fn help_search_and_nothing_known() {
    let mut here = playback("freeze-fails");
    let link = replay_link(&here);
    let mut ui = Ui::default();
    ui.take(Action::Help);
    insta::assert_snapshot!("help", text(&frame(&here, &link, &mut ui, (80, 24), false)));
    ui.take(Action::Help);
    for action in [Action::View(2), Action::Search, Action::Type('l'), Action::Type('u'), Action::Type('o')] {
        ui.take(action);
    }
    insta::assert_snapshot!("search", text(&frame(&here, &link, &mut ui, (80, 24), false)));
    here.state = profiler_watch::state::State::default();
    let apart = Link::Apart("cannot connect to unix:/run/blackout.sock: No such file".to_owned());
    for index in 0..VIEWS.len() {
        let mut ui = Ui::default();
        ui.take(Action::View(index));
        let shown = text(&frame(&here, &apart, &mut ui, (80, 24), false));
        assert!(shown.contains("cannot connect"), "{shown}");
    }
}

#[test]
fn every_view_fits_any_terminal() {
    let playback = playback("plain");
    let link = replay_link(&playback);
    for index in 0..VIEWS.len() {
        for width in [1, 39, 40, 57, 333] {
            for height in [1, 7, 8, 13, 100] {
                let mut ui = Ui::default();
                ui.take(Action::View(index));
                ui.take(Action::Help);
                frame(&playback, &link, &mut ui, (width, height), true);
            }
        }
    }
}

#[test]
fn without_colour_there_is_none_and_with_it_there_is() {
    let playback = playback("plain");
    let link = replay_link(&playback);
    let colours = |colour| {
        let buffer = frame(&playback, &link, &mut Ui::default(), (80, 24), colour);
        buffer.content.iter().filter(|cell| cell.fg != ratatui::style::Color::Reset).count()
    };
    assert_eq!(colours(false), 0);
    assert!(colours(true) > 100);
}

#[test]
fn nothing_of_a_hostile_stream_reaches_the_terminal() {
    let name = format!("\u{1b}]0;owned\u{7}\u{202e}\u{2066}\u{200b}{}", "N".repeat(1 << 20));
    let mut lines = String::new();
    for timed in replay::of_recording(&read(&bytes("plain")).unwrap()).unwrap() {
        let message = match timed.message {
            Message::Hello(mut hello) => {
                (hello.host, hello.release, hello.run) = (name.clone(), name.clone(), name.clone());
                Message::Hello(hello)
            }
            Message::Begin { kernel, tsc, pid, .. } => {
                let (kind, subject, comm) = (name.clone(), name.clone(), Some(name.clone()));
                Message::Begin { kernel, name: name.clone(), kind, subject, tsc, cpu: None, pid, comm }
            }
            Message::Report { .. } => continue,
            other => other,
        };
        // As a hostile agent writes it: JSON, but with nothing escaped that need not be.
        if lines.len() < 12 << 20 {
            lines += &message.line().unwrap();
        }
    }
    let (messages, _) = replay::of_stream(lines.as_bytes());
    let playback = Playback::new(messages);
    for index in 0..VIEWS.len() {
        let mut ui = Ui::default();
        ui.take(Action::View(index));
        let shown = text(&frame(&playback, &Link::Live, &mut ui, (200, 60), true));
        let bad = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}\u{200b}".contains(c);
        assert!(!shown.contains(bad), "{shown}");
    }
}
