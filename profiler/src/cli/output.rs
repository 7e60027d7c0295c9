//! `--format FORMAT[=FILE]`, as often as wanted.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use profiler_compare::{Run, budget::Budget, inputs, render};

/// What a comparison can be rendered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
    Junit,
    Github,
    Benchfmt,
}

impl From<Format> for render::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
            Format::Markdown => Self::Markdown,
            Format::Junit => Self::Junit,
            Format::Github => Self::Github,
            Format::Benchfmt => Self::Benchfmt,
        }
    }
}

/// One thing to write, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    format: Format,
    /// Standard output, if `None`.
    file: Option<PathBuf>,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (format, file) = match text.split_once('=') {
            Some((_, "")) => return Err("no file behind the =".to_owned()),
            Some((format, file)) => (format, Some(PathBuf::from(file))),
            None => (text, None),
        };
        let known = || {
            let names = Format::value_variants().iter().filter_map(|format| format.to_possible_value());
            names.map(|name| name.get_name().to_owned()).collect::<Vec<_>>().join(", ")
        };
        let format = Format::from_str(format, false).map_err(|_| format!("the formats are: {}", known()))?;
        Ok(Self { format, file })
    }
}

/// Writes all of them: every file first, so that they are there whatever becomes of standard output.
pub fn write(
    outputs: &[Output],
    stdout: &mut impl Write,
    render: impl Fn(render::Format) -> serde_json::Result<String>,
) -> Result<()> {
    let (to_stdout, to_files): (Vec<&Output>, Vec<&Output>) =
        outputs.iter().partition(|output| output.file.is_none());
    for output in to_files {
        let Some(path) = &output.file else { continue };
        let text = render(output.format.into())?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // Nothing asked for standard output: only then, and without files, the text.
    let default = Output { format: Format::Text, file: None };
    let to_stdout = if outputs.is_empty() { vec![&default] } else { to_stdout };
    for output in to_stdout {
        stdout.write_all(render(output.format.into())?.as_bytes())?;
    }
    Ok(())
}

/// Reads runs, with progress on a terminal.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Run>> {
    let terminal = io::stderr().is_terminal();
    let progress = |done: usize, all: usize| {
        if terminal && all > 1 {
            let end = if done == all { "\r\x1b[K" } else { "" };
            eprint!("\rreading run {done} of {all}{end}");
        }
    };
    let runs = inputs::load(paths, &progress)?;
    if runs.is_empty() {
        bail!("no runs were given");
    }
    Ok(runs)
}

/// Reads a budget.
pub fn budget(path: &Path) -> Result<Budget> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Budget::parse(&text).with_context(|| format!("{name}"))
}
