//! Durations of calls as a HdrHistogram interval log: an interval for each phase, and in it a tag for each
//! span name and for each counted function. Values are nanoseconds; times are seconds from the window's start.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer, V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, Tag},
    },
};

use super::{Error, display, lanes};
use crate::report::{Hot, Report};

/// Significant digits that a histogram keeps.
const DIGITS: u8 = 3;

/// Renders it.
///
/// # Errors
/// [`Error::Histogram`] if a histogram of the report is damaged.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    let lost = display::lost(report).unwrap_or("nothing was lost".to_owned());
    builder
        .add_comment(&format!("blackout run {}, {}", report.run.id, display::releases(report)))
        .add_comment(&format!("values: ns; times: s from the window's start; {lost}"))
        .with_max_value_divisor(1e6);
    let mut log = builder.begin_log_with(&mut out, &mut serializer).map_err(|why| failed("the log", &why))?;
    let mut write = |tag: &str, histogram: &Histogram<u64>, start_ns: i64, duration_ns| {
        let (start, length) =
            (Duration::from_nanos(start_ns.unsigned_abs()), Duration::from_nanos(duration_ns));
        log.write_histogram(histogram, start, length, Tag::new(tag))
            .map_err(|why| failed(tag, &format!("{why:?}")))
    };
    // A log's times only grow, and it knows none before its own start: what was counted outside the window is
    // tagged with where, and stands at 0.
    for hot in report.hot.iter().filter(|hot| report.phases.iter().all(|phase| phase.id != hot.phase)) {
        if let Some(histogram) = decode(hot)? {
            write(&tag(&hot.phase, &hot.probe), &histogram, 0, 0)?;
        }
    }
    for (index, phase) in report.phases.iter().enumerate() {
        for (name, histogram) in histograms(report, index)? {
            write(&name, &histogram, phase.start_ns, phase.duration_ns)?;
        }
    }
    Ok(out)
}

/// The histograms of a phase, by tag: `phase/span`.
fn histograms(report: &Report, phase: usize) -> Result<BTreeMap<String, Histogram<u64>>, Error> {
    let mut histograms: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    let Some(id) = report.phases.get(phase).map(|phase| phase.id.as_str()) else { return Ok(histograms) };
    for item in lanes::items(report).iter().filter(|item| item.phase == Some(phase)) {
        let Some(duration_ns) = item.span.duration_ns else { continue };
        let name = tag(id, &item.span.name);
        if !histograms.contains_key(&name) {
            let empty = Histogram::new(DIGITS).map_err(|why| failed(&name, &why))?;
            histograms.insert(name.clone(), empty);
        }
        if let Some(histogram) = histograms.get_mut(&name) {
            histogram.record(duration_ns).map_err(|why| failed(&name, &why))?;
        }
    }
    for hot in report.hot.iter().filter(|hot| hot.phase == id) {
        histograms.extend(decode(hot)?.map(|histogram| (tag(id, &hot.probe), histogram)));
    }
    Ok(histograms)
}

/// The histogram of a counted function; `None` if nobody timed it.
///
/// # Errors
/// [`Error::Histogram`] if it is not a base64 V2 histogram.
pub fn decode(hot: &Hot) -> Result<Option<Histogram<u64>>, Error> {
    let Some(hdr) = &hot.hdr else { return Ok(None) };
    let bytes = STANDARD.decode(hdr).map_err(|why| failed(&hot.probe, &why))?;
    let histogram = Deserializer::new().deserialize(&mut bytes.as_slice());
    histogram.map(Some).map_err(|why| failed(&hot.probe, &why))
}

/// Counts by power of two of the value: (low end in ns, count), from the first that is not empty to the last.
pub fn octaves(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut octaves = [0u64; 64];
    for value in histogram.iter_recorded() {
        let octave = value.value_iterated_to().max(1).ilog2() as usize;
        if let Some(count) = octaves.get_mut(octave) {
            *count = count.saturating_add(value.count_at_value());
        }
    }
    let first = octaves.iter().position(|count| *count > 0);
    let last = octaves.iter().rposition(|count| *count > 0);
    let (Some(first), Some(last)) = (first, last) else { return Vec::new() };
    octaves
        .iter()
        .enumerate()
        .take(last + 1)
        .skip(first)
        .map(|(octave, count)| (1 << octave, *count))
        .collect()
}

/// A tag ends at a comma, a space or the end of the line.
fn tag(phase: &str, name: &str) -> String {
    format!("{phase}/{name}").replace([',', ' ', '\r', '\n'], "_")
}

fn failed(of: &str, why: &impl ToString) -> Error {
    Error::Histogram { of: of.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_in_its_octave() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for value in [0, 1, 2, 3, 1_000, 1_000_000] {
            histogram.record(value).unwrap();
        }
        let octaves = octaves(&histogram);
        assert_eq!(octaves.iter().map(|(_, count)| count).sum::<u64>(), 6);
        assert_eq!((octaves[0], octaves[1]), ((1, 2), (2, 2)));
        assert_eq!(octaves.last(), Some(&(524_288, 1)));
    }
}
