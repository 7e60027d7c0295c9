//! The terminal, and where the news comes from.

use std::{
    io,
    ops::ControlFlow,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use profiler_report::report::Report;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use super::{
    action::{Action, action},
    rows,
    screen::{Link, Screen},
    theme::Theme,
    ui::{Ui, View},
    view,
};
use crate::{
    client::{self, Heard, Target},
    message::{Counters, Message},
    replay::{Playback, Timed},
    state::{Clock, Half, State},
};

/// A frame takes some milliseconds: so many a second are enough for a clock, and cost little.
const FRAME: Duration = Duration::from_millis(100);
/// How often it is looked at whether the agent has fallen silent.
const LISTEN: Duration = Duration::from_millis(500);

/// Where the news comes from.
#[derive(Debug)]
pub enum Source {
    /// An agent.
    Agent(Target),
    /// A recording, or a recorded stream.
    Messages(Vec<Timed>),
}

/// What `blackout tui` is told.
#[derive(Debug)]
pub struct Options {
    /// Where the news comes from.
    pub source: Source,
    /// An earlier report to compare with, and its name.
    pub baseline: Option<(Report, String)>,
    /// Colours.
    pub theme: Theme,
    /// A replay begins to run.
    pub play: bool,
}

/// Something happened.
enum News {
    Terminal(Event),
    Agent(Heard),
    /// The terminal is gone.
    End,
}

/// Shows the live update until the user leaves.
///
/// # Errors
/// The terminal's.
pub fn run(options: Options) -> io::Result<()> {
    let (sender, news) = mpsc::channel();
    let mut follower = match options.source {
        Source::Agent(target) => {
            listen(target, sender.clone());
            Follower::Live {
                state: Box::default(),
                began: Instant::now(),
                apart: Some("connecting".to_owned()),
            }
        }
        Source::Messages(messages) => {
            let mut playback = Playback::new(messages);
            if options.play {
                playback.toggle();
            }
            Follower::Replay(Box::new(playback))
        }
    };
    let mut terminal = ratatui::try_init()?;
    read_terminal(sender);
    let baseline = options.baseline.as_ref().map(|(report, name)| (report, name.as_str()));
    let result = watch(&mut terminal, &mut follower, &news, baseline, options.theme);
    ratatui::restore();
    result
}

/// What is known, and how it comes to be known.
enum Follower {
    Live { state: Box<State>, began: Instant, apart: Option<String> },
    Replay(Box<Playback>),
}

impl Follower {
    fn state(&self) -> &State {
        match self {
            Self::Live { state, .. } => state,
            Self::Replay(playback) => &playback.state,
        }
    }

    fn now(&self) -> Duration {
        match self {
            Self::Live { began, .. } => began.elapsed(),
            Self::Replay(playback) => playback.position,
        }
    }

    fn link(&self) -> Link {
        match self {
            Self::Live { apart: Some(why), .. } => Link::Apart(why.clone()),
            Self::Live { .. } => Link::Live,
            Self::Replay(playback) => Link::Replay {
                position: playback.position,
                length: playback.length(),
                speed: playback.speed,
                playing: playback.playing,
            },
        }
    }

    /// When to look again if nothing happens; `None` for never.
    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Replay(playback) => playback.playing.then_some(FRAME),
            Self::Live { state, .. } => match state.clock(self.now()) {
                Clock::Running { .. } => Some(FRAME),
                Clock::Reported { .. } => None,
                _ => Some(LISTEN),
            },
        }
    }

    /// Takes what an agent said; whether that changes what is seen.
    fn hear(&mut self, heard: Heard) -> bool {
        let Self::Live { state, began, apart } = self else { return false };
        match heard {
            Heard::Connected => *apart = None,
            Heard::Apart(why) => *apart = Some(why),
            Heard::Malformed(count) => state.malformed = count,
            Heard::Message(message) => {
                let pulse = matches!(*message, Message::Counters(_));
                let before = counts(state);
                state.apply(*message, began.elapsed());
                return !pulse || before != counts(state);
            }
        }
        true
    }
}

/// What of the counters is shown: not their time.
fn counts(state: &State) -> Vec<(u64, u64, u64, u64)> {
    let halves = state.outgoing.iter().chain(&state.incoming);
    let shown = |half: &Half| {
        let Counters { sessions, files, finished, vcpus, .. } = half.counters;
        (sessions, files, finished, vcpus)
    };
    halves.map(shown).collect()
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    follower: &mut Follower,
    news: &Receiver<News>,
    baseline: Option<(&Report, &str)>,
    theme: Theme,
) -> io::Result<()> {
    let mut ui = Ui::default();
    let mut picture: Option<Report> = None;
    let (mut changed, mut seen) = (true, true);
    let mut drawn = Instant::now();
    loop {
        if changed {
            picture = follower.state().picture();
            changed = false;
            seen = true;
        }
        if seen {
            let (link, now) = (follower.link(), follower.now());
            let screen = Screen {
                state: follower.state(),
                report: picture.as_ref(),
                baseline: baseline.map(|(report, _)| report),
                baseline_name: baseline.map_or("", |(_, name)| name),
                link: &link,
                now,
                theme,
            };
            terminal.draw(|frame| view::draw(frame, &screen, &mut ui))?;
            drawn = Instant::now();
        }
        let first = match follower.patience() {
            Some(patience) => news.recv_timeout(patience),
            None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        // Whatever comes within one frame is seen with it; a key is answered at once.
        let mut next = first.ok();
        let mut key = false;
        seen = next.is_none() && follower.patience() == Some(FRAME);
        let silent = |follower: &Follower| follower.state().silent(follower.now()).is_some();
        seen |= next.is_none() && silent(follower);
        while let Some(one) = next {
            match one {
                News::End => return Ok(()),
                News::Terminal(event) => {
                    key = true;
                    seen = true;
                    take(&event, &mut ui, follower, picture.as_ref(), &mut changed);
                }
                News::Agent(heard) => changed |= follower.hear(heard),
            }
            let left = FRAME.saturating_sub(drawn.elapsed());
            next = if key || !changed { news.try_recv().ok() } else { news.recv_timeout(left).ok() };
        }
        if let Follower::Replay(playback) = follower
            && playback.playing
        {
            playback.advance(drawn.elapsed());
            changed = true;
        }
        if ui.quit {
            return Ok(());
        }
    }
}

fn take(event: &Event, ui: &mut Ui, follower: &mut Follower, picture: Option<&Report>, changed: &mut bool) {
    let Event::Key(key) = event else { return };
    let Some(action) = action(*key, ui.typing).filter(|_| key.kind != KeyEventKind::Release) else { return };
    if let Follower::Replay(playback) = follower {
        match action {
            Action::Play => playback.toggle(),
            Action::Faster(true) => playback.speed = (playback.speed * 2.0).min(64.0),
            Action::Faster(false) => playback.speed = (playback.speed / 2.0).max(1.0 / 64.0),
            Action::Seek(steps) => {
                let step = playback.length() / 100 * u32::try_from(steps.unsigned_abs()).unwrap_or(1);
                let to = if steps < 0 {
                    playback.position.saturating_sub(step)
                } else {
                    playback.position.saturating_add(step)
                };
                playback.seek(to);
            }
            _ => {}
        }
        *changed |= matches!(action, Action::Play | Action::Faster(_) | Action::Seek(_));
    }
    let was_typing = ui.typing;
    ui.take(action);
    // A filter ends with Enter; the next one shows what it found.
    if let (Action::Enter, View::Spans, false, Some(report)) = (action, ui.view, was_typing, picture) {
        let rows = rows::table(report, &ui.filter, ui.order, ui.reverse);
        if let (Some(row), Some((first, last))) = (rows.get(ui.row()), view::whole(report)) {
            let total = (last - first) as f64;
            let begin = (row.span.start_ns - first) as f64 / total;
            ui.locate(begin, row.span.duration_ns.unwrap_or(0) as f64 / total);
        }
    }
}

fn listen(target: Target, news: Sender<News>) {
    thread::spawn(move || {
        client::follow(&target, |heard| match news.send(News::Agent(heard)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
    });
}

fn read_terminal(news: Sender<News>) {
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if news.send(News::Terminal(event)).is_err() {
                return;
            }
        }
        // Nobody listens if the user has left already.
        let _ = news.send(News::End);
    });
}
