//! The reports of finished runs: made by `blackout report` on the host, summed up here.

use crate::result::Outcome;
use crate::run::{Finished, Lab};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use toolbox::exec;
use toolbox::program;

/// One run with its reports.
#[derive(Debug)]
pub struct Reported {
    /// The run.
    pub finished: Finished,
    /// `report.txt`, if it could be made.
    pub text: Option<String>,
    /// `report.json`, if it could be made.
    pub json: Option<Value>,
}

impl Reported {
    /// Makes and keeps the reports of a run with `blackout`, the profiler's program.
    ///
    /// # Errors
    /// When a report of a complete run cannot be made; after a failed run there may be too little evidence.
    pub fn make(lab: &Lab, suffix: &str, finished: Finished, blackout: &Path) -> Result<Self> {
        let complete = finished.result.outcome == Outcome::Complete;
        let Some(recording) = &finished.recording else {
            anyhow::ensure!(!complete, "the guest says the live update came through, but left no recording");
            return Ok(Self { finished, text: None, json: None });
        };
        let report = |format: &str, extension: &str| -> Result<String> {
            let mut command = program::command(blackout);
            let text = exec::output(command.arg("report").arg(recording).args(["--format", format]))?;
            let path = lab.file("report", suffix, extension);
            fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(text)
        };
        let both = || -> Result<(String, Value)> {
            let text = report("text", "txt")?;
            let json = report("json", "json")?;
            Ok((text, serde_json::from_str(&json).context("`blackout report --format json` gave no JSON")?))
        };
        match both() {
            Ok((text, json)) => Ok(Self { finished, text: Some(text), json: Some(json) }),
            Err(error) if complete => Err(error),
            Err(error) => {
                eprintln!("lab: no report of the failed run: {error:#}");
                Ok(Self { finished, text: None, json: None })
            }
        }
    }

    /// Whether the live update and its workload came through.
    pub fn complete(&self) -> bool {
        self.finished.result.outcome == Outcome::Complete
    }

    /// Length of the blackout window, nanoseconds.
    pub fn window_ns(&self) -> Option<u64> {
        self.json.as_ref()?.pointer("/window/duration_ns")?.as_u64()
    }

    /// What each guest says of itself, a line each.
    pub fn guest_lines(&self) -> impl Iterator<Item = String> {
        let hz = self.json.as_ref().and_then(|report| report.pointer("/clock/hz")?.as_u64()).unwrap_or(0);
        self.finished.result.guests.iter().map(move |guest| {
            match (guest.complaint(), guest.blackout_ns(hz)) {
                (Some(complaint), _) => complaint,
                (None, Some(ns)) => {
                    let vcpus = guest.vcpus.len();
                    format!(
                        "guest {}: intact, {vcpus} vCPUs dark for {} by its own TSC",
                        guest.name,
                        milliseconds(ns)
                    )
                }
                (None, None) => format!("guest {}: intact", guest.name),
            }
        })
    }

    /// What stands for this run in JSON output: its report, or what is known without one.
    fn to_json(&self) -> Value {
        let result = &self.finished.result;
        self.json.clone().unwrap_or_else(
            || json!({ "schema": "blackout.lab-failure/1", "stage": result.stage, "message": result.message }),
        )
    }
}

/// What goes to stdout.
pub fn output(runs: &[Reported], as_json: bool) -> String {
    match runs {
        [run] if as_json => format!("{:#}\n", run.to_json()),
        [run] => run.text.clone().unwrap_or_default(),
        runs if as_json => format!("{:#}\n", Value::Array(runs.iter().map(Reported::to_json).collect())),
        runs => {
            let line = |(index, run): (usize, &Reported)| {
                let window = run.window_ns().map_or_else(|| "no window".into(), milliseconds);
                let failure = if run.complete() { "" } else { &run.finished.result.message };
                format!("run {:3}  {window:>14}  {failure}", index + 1).trim_end().to_owned() + "\n"
            };
            let windows: Vec<u64> = runs.iter().filter_map(Reported::window_ns).collect();
            runs.iter().enumerate().map(line).collect::<String>() + &summary(windows)
        }
    }
}

/// Smallest, middle and largest window.
fn summary(mut windows_ns: Vec<u64>) -> String {
    windows_ns.sort_unstable();
    let middle = windows_ns.len() / 2;
    let median = match windows_ns.as_slice() {
        [] => return "no run has a window\n".into(),
        all if all.len() % 2 == 1 => all.get(middle).copied().unwrap_or_default(),
        all => {
            let pair = [all.get(middle - 1), all.get(middle)].map(|value| value.copied().unwrap_or_default());
            pair[0].midpoint(pair[1])
        }
    };
    let ends = [windows_ns.first(), windows_ns.last()].map(|value| value.copied().unwrap_or_default());
    format!(
        "window   min {}  median {}  max {}  ({} runs)\n",
        milliseconds(ends[0]),
        milliseconds(median),
        milliseconds(ends[1]),
        windows_ns.len()
    )
}

fn milliseconds(ns: u64) -> String {
    format!("{}.{:03} ms", ns / 1_000_000, ns / 1_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Gap, GuestResult, LabResult, Stage, VcpuResult};

    fn run(window_ns: Option<u64>) -> Reported {
        let (outcome, message) = match window_ns {
            Some(_) => (Outcome::Complete, ""),
            None => (Outcome::Failed, "it hung"),
        };
        let result = LabResult { stage: Stage::Done, outcome, message: message.into(), ..LabResult::empty() };
        let json = window_ns.map(|ns| json!({ "window": { "duration_ns": ns } }));
        Reported {
            finished: Finished { result, recording: None },
            text: window_ns.map(|_| "text\n".into()),
            json,
        }
    }

    #[test]
    fn one_run_is_its_report() {
        assert_eq!(output(&[run(Some(5))], false), "text\n");
        let json: Value = serde_json::from_str(&output(&[run(Some(5))], true)).unwrap();
        assert_eq!(json["window"]["duration_ns"], 5);
    }

    #[test]
    fn guests_speak_for_themselves() {
        let mut run = run(Some(5));
        run.json = Some(json!({ "clock": { "hz": 1_000_000_000u64 } }));
        let vcpu = |id, start_tsc| VcpuResult {
            id,
            loops_before: 1,
            loops_after: 2,
            registers_lost: 0,
            gaps: vec![Gap { start_tsc, end_tsc: 3_500_000 }],
        };
        let well = GuestResult {
            vcpus: vec![vcpu(0, 400_000), vcpu(1, 500_000)],
            ..GuestResult::lost("vm0", String::new())
        };
        run.finished.result.guests = vec![well, GuestResult::lost("vm1", "its VMM died".into())];
        let lines: Vec<String> = run.guest_lines().collect();
        assert_eq!(
            lines,
            ["guest vm0: intact, 2 vCPUs dark for 3.000 ms by its own TSC", "guest vm1: its VMM died"]
        );
    }

    #[test]
    fn several_runs_are_summed_up() {
        let runs = [run(Some(1_000_000)), run(None), run(Some(4_000_000)), run(Some(2_500_000))];
        let text = output(&runs, false);
        assert!(text.contains("run   2       no window  it hung\n"), "{text}");
        assert!(text.ends_with("min 1.000 ms  median 2.500 ms  max 4.000 ms  (3 runs)\n"), "{text}");
        assert!(summary(vec![4_000_000, 1_000_000]).contains("median 2.500 ms"));
        let json: Value = serde_json::from_str(&output(&runs, true)).unwrap();
        assert_eq!((json.as_array().unwrap().len(), &json[1]["message"]), (4, &json!("it hung")));
    }
}
