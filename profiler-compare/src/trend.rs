//! Build after build: how the window and each phase went, and where they changed.

use profiler_report::report::{Kernel, Tool, tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rows, run::Run, stats};

/// Value of [`Trend::schema`].
pub const SCHEMA: &str = "blackout.trend/1";
/// Builds from which on change points are looked for; with fewer, any is found by chance.
pub(crate) const LEAST_BUILDS: usize = 20;
/// Level of the search, for all rows together.
const ALPHA: f64 = 0.05;

/// A series of builds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    /// `blackout.trend/1`.
    pub schema: String,
    /// What made it.
    pub tool: Tool,
    /// The builds, by the time of their first run.
    pub builds: Vec<Build>,
    /// The window, then the phases in the order of time.
    pub rows: Vec<TrendRow>,
}

/// One build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Build {
    /// Release of its incoming kernel.
    pub release: String,
    /// Build id and hash of the configuration, shortened.
    pub id: String,
    /// Time of its first run, RFC 3339.
    pub first: String,
    /// Its runs.
    pub runs: usize,
}

/// The window or a phase over the builds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrendRow {
    /// Phase id; `window`.
    pub id: String,
    /// Median of each build's runs that can be trusted here, nanoseconds; `null` if there are none.
    pub median_ns: Vec<Option<f64>>,
    /// Changes of level: advice, never a verdict.
    pub changes: Vec<ChangePoint>,
}

/// A change of level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangePoint {
    /// Index of the first build of the new level.
    pub build: usize,
    /// Median before it, nanoseconds.
    pub before_ns: f64,
    /// Median after it, nanoseconds.
    pub after_ns: f64,
    /// How often chance gives a change as clear.
    pub p: f64,
}

/// Groups runs by their incoming kernel, in the order of time; runs that did not reach one have no build.
pub fn trend(runs: &[Run]) -> Trend {
    let mut ordered: Vec<&Run> = runs.iter().filter(|run| run.incoming.is_some()).collect();
    ordered.sort_by(|a, b| a.identity.recorded_at.cmp(&b.identity.recorded_at));
    let mut groups: Vec<(Build, Vec<&Run>)> = Vec::new();
    for run in &ordered {
        let Some((release, id)) = run.incoming.as_ref().map(identity) else { continue };
        match groups.iter_mut().find(|(build, _)| build.release == release && build.id == id) {
            Some((build, runs)) => {
                build.runs += 1;
                runs.push(run);
            }
            None => {
                let first = run.identity.recorded_at.clone();
                groups.push((Build { release, id, first, runs: 1 }, vec![run]));
            }
        }
    }
    let window = |run: &Run| run.window.as_ref().filter(|w| w.spoiled.is_none()).map(|w| w.ns);
    let mut rows = vec![row("window", &groups, window)];
    for id in rows::order(&[], &ordered) {
        let phase = |run: &Run| {
            run.phases.iter().find(|phase| phase.id == id && phase.spoiled.is_none()).map(|phase| phase.ns)
        };
        rows.push(row(id, &groups, phase));
    }
    let alpha = ALPHA / rows.len() as f64;
    for row in &mut rows {
        row.changes = changes(&row.median_ns, alpha);
    }
    let builds = groups.into_iter().map(|(build, _)| build).collect();
    Trend { schema: SCHEMA.to_owned(), tool: tool(), builds, rows }
}

/// Release, and the first digits of build id and configuration.
fn identity(kernel: &Kernel) -> (String, String) {
    let short = |text: &str| text.chars().take(8).collect::<String>();
    (kernel.release.clone(), format!("{} {}", short(&kernel.build_id), short(&kernel.config_sha256)))
}

fn row(id: &str, groups: &[(Build, Vec<&Run>)], of: impl Fn(&Run) -> Option<u64>) -> TrendRow {
    let median = |(_, runs): &(Build, Vec<&Run>)| {
        stats::median(&runs.iter().filter_map(|run| of(run)).map(|ns| ns as f64).collect::<Vec<_>>())
    };
    TrendRow { id: id.to_owned(), median_ns: groups.iter().map(median).collect(), changes: Vec::new() }
}

/// Change points of the builds that have a value.
fn changes(medians: &[Option<f64>], alpha: f64) -> Vec<ChangePoint> {
    let known: Vec<(usize, f64)> =
        medians.iter().enumerate().filter_map(|(at, median)| Some((at, (*median)?))).collect();
    if known.len() < LEAST_BUILDS {
        return Vec::new();
    }
    let series: Vec<f64> = known.iter().map(|(_, median)| *median).collect();
    let change = |change: stats::Change| {
        let (build, _) = known.get(change.at)?;
        Some(ChangePoint { build: *build, before_ns: change.before, after_ns: change.after, p: change.p })
    };
    stats::change_points(&series, alpha).into_iter().filter_map(change).collect()
}

/// JSON Schema of [`Trend`], generated from the types.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Trend).to_value()
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};
    use crate::random::Random;

    /// Two runs of each of `builds` builds; from build `slower_from` on, restore takes 10 % longer.
    fn history(builds: usize, slower_from: usize) -> Vec<Run> {
        let mut random = Random::new(17);
        let mut runs = Vec::new();
        for build in 0..builds {
            for run in 0..2 {
                let mut noise = testing::noisy(&mut random, 0.01);
                let mut report = testing::report(&(2 * build + run).to_string(), |id, ns| {
                    noise(id, if id == "restore" && build >= slower_from { ns * 11 / 10 } else { ns })
                });
                report.incoming.as_mut().unwrap().build_id = format!("{build:08x}");
                runs.push(Run::new("x", &report));
            }
        }
        // The order of the files does not matter.
        Random::new(3).shuffle(&mut runs);
        runs
    }

    #[test]
    fn the_build_that_slowed_a_phase_is_found() {
        let trend = trend(&history(30, 18));
        assert_eq!(trend.builds.len(), 30);
        assert!(trend.builds.iter().all(|build| build.runs == 2));
        for row in &trend.rows {
            let at: Vec<usize> = row.changes.iter().map(|change| change.build).collect();
            assert_eq!(at, if row.id == "restore" { vec![18] } else { vec![] }, "{}", row.id);
        }
    }

    #[test]
    fn few_builds_get_no_advice() {
        let trend = trend(&history(LEAST_BUILDS - 1, 10));
        assert!(trend.rows.iter().all(|row| row.changes.is_empty()));
        assert_eq!(super::trend(&[]).builds, []);
    }
}
