//! What a lossy or incomplete run spoils: it is left out there, and only there.

use std::collections::BTreeMap;

use profiler_report::{
    catalogue::{Place, boot_symbol},
    report::{Coverage, Handover, Outcome, Report},
};

/// Reasons not to compare parts of a run.
#[derive(Debug, Default)]
pub struct Spoil {
    all: Option<String>,
    outgoing: Option<String>,
    incoming: Option<String>,
    window: Option<String>,
    hot: Option<String>,
    /// By name of the probe.
    probes: BTreeMap<String, String>,
}

impl Spoil {
    /// Looks for the reasons in what the report says of itself.
    pub fn of(report: &Report) -> Self {
        let mut spoil = Self::default();
        let loss = &report.loss;
        let lost = |count: Option<u64>, what: &str| {
            count.filter(|count| *count > 0).map(|count| format!("{count} {what} lost"))
        };
        if report.handover != Handover::Intact {
            let state = format!("{:?}", report.handover).to_lowercase();
            spoil.outgoing = Some(format!("flight recorder {state}"));
        }
        let flight = lost(loss.flight_recorder, "records of the flight recorder");
        spoil.outgoing = spoil.outgoing.take().or(flight);
        spoil.incoming = lost(loss.boot_trace, "records of the boot trace")
            .or_else(|| lost(loss.kmsg, "lines of the kernel log"));
        spoil.hot = lost(loss.hot, "records of counted functions");
        spoil.all = lost(Some(loss.recording), "parts of the recording");
        for probe in &loss.per_probe {
            let reason = format!("{} lost of {}: {}", probe.count, probe.probe, probe.reason);
            // Named by the catalogue, or by the event of a boot kprobe, which is named for its symbol.
            let event = boot_symbol(&probe.probe);
            let named =
                |known: &&Coverage| known.probe == probe.probe || known.symbol.as_deref() == Some(event);
            match report.coverage.iter().find(named) {
                Some(known) => drop(spoil.probes.insert(known.probe.clone(), reason)),
                None => spoil.all = Some(reason),
            }
        }
        match report.outcome {
            Outcome::Complete => {}
            Outcome::Failed => spoil.all = Some("the live update failed".to_owned()),
            Outcome::Partial => {
                let known = spoil.outgoing.is_some() || spoil.incoming.is_some();
                spoil.window = Some("the report is partial".to_owned());
                if !known {
                    spoil.all.get_or_insert("the report is partial".to_owned());
                }
            }
        }
        spoil
    }

    /// Why the window cannot be compared.
    pub fn window(&self) -> Option<String> {
        let first = self.all.as_ref().or(self.window.as_ref()).or(self.outgoing.as_ref());
        first.or(self.incoming.as_ref()).or(self.probes.values().next()).cloned()
    }

    /// Why the phase with this index cannot.
    pub fn phase(&self, report: &Report, index: usize) -> Option<String> {
        if let Some(reason) = &self.all {
            return Some(reason.clone());
        }
        let phase = report.phases.get(index)?;
        let next = report.phases.get(index + 1);
        let side = match phase.kernel {
            Place::Outgoing => self.outgoing.as_ref(),
            // It begins with the last record of one kernel and ends with the first of the other.
            Place::Jump => self.outgoing.as_ref().or(self.incoming.as_ref()),
            Place::Incoming => self.incoming.as_ref(),
        };
        // The ends of a partial window are not proven, nor are those of its first and last phase.
        let outer = self.window.as_ref().filter(|_| index == 0 || next.is_none());
        let end = report.window.as_ref().map_or("", |window| &window.end);
        let borders = [phase.begins_with.as_str(), next.map_or(end, |next| &next.begins_with)];
        let border = |name: &str| {
            borders.iter().any(|border| border.split_once(' ').is_some_and(|(_, probe)| probe == name))
        };
        let probe = self.probes.iter().find(|(name, _)| border(name)).map(|(_, reason)| reason);
        side.or(outer).or(probe).cloned()
    }

    /// Whether spans of this name cannot.
    pub fn span(&self, name: &str) -> bool {
        self.probes.contains_key(name)
    }

    /// Why counted functions cannot.
    pub fn hot(&self) -> Option<&String> {
        self.hot.as_ref().or(self.all.as_ref())
    }

    /// Whether there is any reason.
    pub fn any(&self) -> bool {
        self.window().is_some() || self.hot.is_some()
    }
}
