//! What a series is, and which of its runs are done: two files in its folder, so that it can be gone on with.

use super::noise::Noise;
use super::order::Side;
use crate::result::Outcome;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use toolbox::fingerprint::fingerprint;

const SERIES_FILE: &str = "series.json";
const RUNS_FILE: &str = "runs.ndjson";
const SCHEMA: &str = "blackout.lab-series/1";

/// Everything that decides over the figures of a run, but for the machine that runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The two builds, in the order of [`super::order::SIDES`].
    pub sides: [Build; 2],
    /// The virtual machine and what runs it, in words.
    pub machine: String,
}

/// One build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its release.
    pub release: String,
    /// Fingerprint of the kernel's image.
    pub image: String,
    /// Fingerprint of the initramfs: the profiler, the guest's init, the workload.
    pub initrd: String,
    /// Delays planted into it.
    pub delays: String,
}

impl Inputs {
    /// Names a series by its inputs.
    pub fn name(&self) -> Result<String> {
        Ok(fingerprint(&[&serde_json::to_vec(self)?]))
    }
}

/// A series as its folder has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Series {
    schema: String,
    /// Decides over the order of the runs.
    seed: u64,
    inputs: Inputs,
}

/// One run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Which build.
    pub side: Side,
    /// Which of that build's runs, from 1.
    pub number: u32,
    /// Whether the live update came through.
    pub outcome: Outcome,
    /// Why not, or empty.
    pub message: String,
    /// Length of the window, nanoseconds; `None` without a report.
    pub window_ns: Option<u64>,
    /// When it began, seconds since 1970.
    pub started_at: u64,
    /// What else the machine did.
    pub noise: Noise,
}

/// The folder of a series.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    /// Decides over the order.
    pub seed: u64,
    /// Runs that are done, in the order they were.
    pub entries: Vec<Entry>,
}

impl Journal {
    /// Goes on with the series in `dir`, or begins it. `seed` is for a new one.
    ///
    /// # Errors
    /// When the folder holds a series with other inputs, or cannot be read or written.
    pub fn open(dir: &Path, inputs: &Inputs, seed: u64) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let path = dir.join(SERIES_FILE);
        let dir = dir.to_owned();
        if !path.exists() {
            let series = Series { schema: SCHEMA.into(), seed, inputs: inputs.clone() };
            fs::write(&path, serde_json::to_vec_pretty(&series)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
            return Ok(Self { dir, seed, entries: Vec::new() });
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let series: Series =
            serde_json::from_slice(&text).with_context(|| format!("cannot understand {}", path.display()))?;
        if series.inputs != *inputs {
            bail!(
                "{} holds a series of other builds, or of another version of the lab: give another folder, \
                 or remove this one",
                dir.display()
            );
        }
        let runs = dir.join(RUNS_FILE);
        let entries = entries(&fs::read_to_string(&runs).unwrap_or_default());
        // Without what was torn, so that the next line stands alone.
        let lines = entries.iter().map(|entry| Ok(serde_json::to_string(entry)? + "\n"));
        fs::write(&runs, lines.collect::<Result<String>>()?)
            .with_context(|| format!("cannot write {}", runs.display()))?;
        Ok(Self { dir, seed: series.seed, entries })
    }

    /// Whether a run is done.
    pub fn has(&self, side: Side, number: u32) -> bool {
        self.entries.iter().any(|entry| (entry.side, entry.number) == (side, number))
    }

    /// Notes a run that has ended.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        let path = self.dir.join(RUNS_FILE);
        let line = serde_json::to_string(&entry)? + "\n";
        let file = File::options().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        self.entries.push(entry);
        Ok(())
    }
}

/// The runs of a file whose last line may be torn: that run is not done.
fn entries(text: &str) -> Vec<Entry> {
    text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(delays: &str) -> Inputs {
        let build = |delays: &str| Build {
            release: "7.3.4".into(),
            image: "1".into(),
            initrd: "2".into(),
            delays: delays.into(),
        };
        Inputs { sides: [build(""), build(delays)], machine: "2 CPUs".into() }
    }

    fn entry(side: Side, number: u32) -> Entry {
        let noise = Noise { wall_ms: 5, load_milli: Some(1), steal_milli: None, busy_milli: Some(900) };
        Entry {
            side,
            number,
            outcome: Outcome::Complete,
            message: String::new(),
            window_ns: Some(7),
            started_at: 1,
            noise,
        }
    }

    #[test]
    fn a_series_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new");
        let mut journal = Journal::open(&dir, &inputs(""), 5).unwrap();
        journal.add(entry(Side::B, 1)).unwrap();
        journal.add(entry(Side::A, 1)).unwrap();
        let again = Journal::open(&dir, &inputs(""), 6).unwrap();
        assert_eq!((again.seed, &again.entries), (5, &journal.entries));
        assert!(again.has(Side::B, 1) && !again.has(Side::B, 2));
        let runs = dir.join(RUNS_FILE);
        fs::write(&runs, fs::read_to_string(&runs).unwrap() + "{\"side").unwrap();
        Journal::open(&dir, &inputs(""), 5).unwrap().add(entry(Side::B, 2)).unwrap();
        assert_eq!(Journal::open(&dir, &inputs(""), 5).unwrap().entries.len(), 3);
        let error = Journal::open(&dir, &inputs("x"), 6).unwrap_err().to_string();
        assert!(error.contains("other builds"), "{error}");
    }

    #[test]
    fn a_torn_line_is_a_run_that_is_not_done() {
        let line = serde_json::to_string(&entry(Side::A, 1)).unwrap();
        let torn = format!("{line}\n{}", &line[..line.len() - 4]);
        assert_eq!(entries(&torn), [entry(Side::A, 1)]);
    }

    #[test]
    fn other_inputs_have_another_name() {
        assert_eq!(inputs("x").name().unwrap(), inputs("x").name().unwrap());
        assert_ne!(inputs("x").name().unwrap(), inputs("y").name().unwrap());
    }
}
