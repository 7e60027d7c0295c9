//! Functions that are called once a page: counted where they ran, or known from what their callers carry.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2Serializer},
};
use profiler_common::hot::middle;

use super::Hot;
use crate::{
    catalogue::{BROWNOUT, CATALOGUE, Place},
    recording::{Side, frame::Share},
    stitch::{Carried, Stitched},
    timeline::{self, Call, Cell, Node, Tasks},
};

/// Significant digits of a histogram: finer than the buckets it is made of.
const DIGITS: u8 = 3;

/// Every function that was counted, and every one whose calls are known without that.
pub fn hot(stitched: &Stitched, calls: &[Call], tasks: &Tasks, cells: &[Cell]) -> Vec<Hot> {
    let [outgoing, incoming] = &stitched.counted;
    let mut all = carried(calls, tasks, cells);
    all.extend(counted(Side::Outgoing, &outgoing.shares, |ip| stitched.outgoing.symbol(ip)));
    all.extend(counted(Side::Incoming, &incoming.shares, |ip| stitched.incoming.symbol(ip)));
    all
}

/// What the programs counted: all CPUs' shares of a function and an epoch together.
fn counted<'s>(side: Side, shares: &[Share], symbol: impl Fn(u64) -> Option<&'s str>) -> Vec<Hot> {
    let mut functions: BTreeMap<(u32, &str), Vec<&Share>> = BTreeMap::new();
    for share in shares {
        let Some(probe) = symbol(share.ip).and_then(|symbol| CATALOGUE.by_symbol(symbol)) else { continue };
        functions.entry((share.epoch, &probe.name)).or_default().push(share);
    }
    let kernel = Place::from(side);
    let hot = |((epoch, probe), shares): ((u32, &str), Vec<&Share>)| {
        let sum = |of: fn(&Share) -> u64| shares.iter().map(|share| of(share)).fold(0, u64::saturating_add);
        let min_ns = shares.iter().map(|share| share.min_ns).min()?;
        // A damaged recording must not turn the two round.
        let max_ns = shares.iter().map(|share| share.max_ns).max()?.max(min_ns);
        let histogram = histogram(&shares);
        let quantile = |q| histogram.as_ref().map(|of| of.value_at_quantile(q).clamp(min_ns, max_ns));
        Some(Hot {
            probe: probe.to_owned(),
            kernel,
            phase: CATALOGUE.phase_of_epoch(kernel, epoch)?.to_owned(),
            subject: String::new(),
            carried_by: None,
            count: sum(|share| share.count),
            bytes: None,
            order: None,
            total_ns: Some(sum(|share| share.total_ns)),
            min_ns: Some(min_ns),
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            max_ns: Some(max_ns),
            hdr: histogram.as_ref().and_then(encode),
        })
    };
    functions.into_iter().filter_map(hot).collect()
}

/// The durations of all shares; a bucket's middle stands for it, but for the shortest and the longest, which are known.
fn histogram(shares: &[&Share]) -> Option<Histogram<u64>> {
    let mut histogram = Histogram::new(DIGITS).ok()?;
    for share in shares {
        let (least, most) = (share.min_ns, share.max_ns.max(share.min_ns));
        for (bucket, calls) in &share.buckets {
            histogram.record_n(middle((*bucket).into()).clamp(least, most), *calls).ok()?;
        }
    }
    Some(histogram)
}

fn encode(histogram: &Histogram<u64>) -> Option<String> {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(histogram, &mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}

/// What calls tell of others that nobody looked at, such as a memfd's number of folios.
fn carried(calls: &[Call], tasks: &Tasks, cells: &[Cell]) -> Vec<Hot> {
    let of = |side| calls.iter().filter(move |call| call.side == side).cloned().collect();
    let (outgoing, incoming) =
        (timeline::forest(of(Side::Outgoing), tasks), timeline::forest(of(Side::Incoming), tasks));
    let preserved = Preserved::of(&outgoing);
    let mut all = Vec::new();
    let mut visit = |node: &Node, caller: Option<&Call>| {
        let call = &node.call;
        if let Some(folios) = preserved.restored_in(node) {
            all.push(told(
                "folio-restore",
                "memfd-freeze",
                folios,
                &call.subject,
                Some(call),
                call.side,
                cells,
            ));
        }
        let Some(probe) = CATALOGUE.by_name(&call.name) else { return };
        let (Some(function), Some(carried)) = (&probe.carries, call.carried) else { return };
        let made = match &probe.carried_from {
            Some(from) => calls.iter().rfind(|made| made.name == *from && made.enter < call.enter),
            None => Some(call),
        };
        let caller = caller.map(|caller| &caller.subject).filter(|subject| !subject.is_empty());
        let subject = preserved.files.get(&call.enter.ticks).or(caller).unwrap_or(&call.subject);
        all.push(told(function, &call.name, carried, subject, made, call.side, cells));
    };
    outgoing.iter().chain(&incoming).for_each(|root| each(root, None, &mut visit));
    all
}

/// Calls of `probe` that nobody looked at: `by` told how many there were in `made`.
fn told(
    probe: &str,
    by: &str,
    Carried { count, bytes }: Carried,
    subject: &str,
    made: Option<&Call>,
    side: Side,
    cells: &[Cell],
) -> Hot {
    Hot {
        probe: probe.to_owned(),
        kernel: side.into(),
        phase: phase(made, cells),
        subject: subject.to_owned(),
        carried_by: Some(by.to_owned()),
        count,
        bytes,
        order: bytes.and_then(|bytes| order(count, bytes)),
        total_ns: None,
        min_ns: None,
        p50_ns: None,
        p99_ns: None,
        max_ns: None,
        hdr: None,
    }
}

/// The order of so many folios that hold so many bytes, if they are all alike: the only one by which there are as many.
fn order(count: u64, bytes: u64) -> Option<u32> {
    /// No folio is larger than 1 GiB on x86 (`MAX_FOLIO_ORDER`, include/linux/mm.h, Linux 7.3).
    const MOST: u32 = 18;
    let mut fitting = (0..=MOST).filter(|order| bytes.div_ceil(4096 << order) == count);
    fitting.next().filter(|_| fitting.next().is_none())
}

/// The phase in which a call was entered; what is in none of them was before the window.
fn phase(call: Option<&Call>, cells: &[Cell]) -> String {
    let inside = |call: &Call| {
        let ticks = call.enter.ticks;
        cells.iter().find(|cell| cell.begin.ticks <= ticks && ticks < cell.end.ticks)
    };
    call.and_then(inside).map_or(BROWNOUT, |cell| &cell.id).to_owned()
}

fn each<'n>(node: &'n Node, caller: Option<&'n Call>, visit: &mut impl FnMut(&'n Node, Option<&'n Call>)) {
    visit(node, caller);
    node.inner.iter().for_each(|inner| each(inner, Some(&node.call), visit));
}

/// What the outgoing kernel said of each memfd, by the subject of the call that preserved it (session and token), which
/// is also that of the call that retrieves it.
#[derive(Debug, Default)]
struct Preserved {
    folios: HashMap<String, Carried>,
    /// That subject, by the moment in which the memfd was frozen.
    files: HashMap<u64, String>,
}

impl Preserved {
    /// LUO freezes a session's files in the order in which they were preserved (`luo_file_freeze`,
    /// kernel/liveupdate/luo_file.c, Linux 7.3: one list).
    fn of(outgoing: &[Node]) -> Self {
        let mut files: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut frozen: HashMap<&str, Vec<&Call>> = HashMap::new();
        for root in outgoing {
            each(root, None, &mut |node, caller| {
                let (call, Some(caller)) = (&node.call, caller) else { return };
                let session = session(&caller.subject);
                match (caller.name.as_str(), call.name.as_str()) {
                    ("file-preserve", "memfd-preserve") if caller.retval == Some(0) => {
                        files.entry(session).or_default().push(&caller.subject);
                    }
                    ("file-freeze", "memfd-freeze") => {
                        frozen.entry(session).or_default().push(call);
                    }
                    _ => {}
                }
            });
        }
        let mut preserved = Self::default();
        for (session, files) in files {
            // A file that was given up meanwhile would shift the others.
            let Some(frozen) = frozen.get(session).filter(|frozen| frozen.len() == files.len()) else {
                continue;
            };
            for (file, call) in files.into_iter().zip(frozen) {
                preserved.files.insert(call.enter.ticks, file.to_owned());
                preserved.folios.extend(call.carried.map(|folios| (file.to_owned(), folios)));
            }
        }
        preserved
    }

    /// Folios of the memfd that is retrieved in this call, if nothing inside it told: the incoming kernel's structures are
    /// known a little later than its first calls, and those are seen by the boot kprobes alone.
    fn restored_in(&self, node: &Node) -> Option<Carried> {
        let call = &node.call;
        let retrieved = call.side == Side::Incoming && call.name == "file-retrieve" && call.retval == Some(0);
        let told = node.inner.iter().any(|inner| inner.call.carried.is_some());
        if !retrieved || told {
            return None;
        }
        // Without its name yet, a session's file goes by its token, if no other session has that one.
        let is_it = |file: &str| {
            file.strip_suffix(&call.subject).is_some_and(|before| before.is_empty() || before.ends_with(", "))
        };
        let mut found = self.folios.iter().filter(|(file, _)| is_it(file)).map(|(_, folios)| *folios);
        found.next().filter(|_| found.next().is_none())
    }
}

/// The session that a subject begins with.
fn session(subject: &str) -> &str {
    subject.split_once(", ").map_or(subject, |(session, _)| session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stitch::{Moment, Source};
    use hdrhistogram::serialization::Deserializer;

    fn call(side: Side, name: &str, subject: &str, from: u64, to: u64, folios: Option<u64>) -> Call {
        Call {
            side,
            name: name.into(),
            kind: String::new(),
            subject: subject.into(),
            enter: Moment::exact(from),
            exit: Some(Moment::exact(to)),
            cpu: None,
            pid: Some(1),
            comm: None,
            retval: Some(0),
            source: Source::Ebpf,
            carried: folios.map(|count| Carried { count, bytes: Some(count << 21) }),
            critical: false,
        }
    }

    fn calls(told_by_incoming: Option<u64>) -> Vec<Call> {
        use Side::{Incoming, Outgoing};
        vec![
            call(Outgoing, "file-preserve", "session a, token 0x1", 10, 20, None),
            call(Outgoing, "memfd-preserve", "memfd-v2", 11, 19, None),
            call(Outgoing, "file-preserve", "session a, token 0x2", 30, 40, None),
            call(Outgoing, "memfd-preserve", "memfd-v2", 31, 39, None),
            call(Outgoing, "file-freeze", "session a, 2 files", 110, 150, None),
            call(Outgoing, "memfd-freeze", "", 111, 119, Some(7)),
            call(Outgoing, "memfd-freeze", "", 120, 129, Some(9)),
            call(Incoming, "file-retrieve", "session a, token 0x2", 210, 220, None),
            call(Incoming, "memfd-retrieve", "", 211, 219, told_by_incoming),
        ]
    }

    #[test]
    fn calls_of_a_memfd_are_known_by_its_number_of_folios() {
        let cell = Cell {
            id: "restore".into(),
            title: String::new(),
            place: Place::Incoming,
            begin: Moment::exact(200),
            end: Moment::exact(300),
            begins_with: String::new(),
            leaf: false,
        };
        for (told, by) in [(Some(9), "memfd-retrieve"), (None, "memfd-freeze")] {
            let hot = carried(&calls(told), &Tasks::default(), std::slice::from_ref(&cell));
            let of: Vec<_> = hot
                .iter()
                .map(|hot| (hot.probe.as_str(), hot.phase.as_str(), hot.subject.as_str(), hot.count))
                .collect();
            assert_eq!(
                of,
                [
                    ("folio-preserve", BROWNOUT, "session a, token 0x1", 7),
                    ("folio-preserve", BROWNOUT, "session a, token 0x2", 9),
                    ("folio-restore", "restore", "session a, token 0x2", 9),
                ]
            );
            assert!(hot.iter().all(|hot| hot.total_ns.is_none() && hot.order == Some(9)));
            assert_eq!(hot[2].carried_by.as_deref(), Some(by));
        }
        // The incoming kernel's call has its token, and no session yet.
        let mut nameless = calls(None);
        nameless[7].subject = "token 0x2".into();
        assert_eq!(carried(&nameless, &Tasks::default(), &[])[2].count, 9);
        nameless[7].subject = "token 0x".into();
        assert_eq!(carried(&nameless, &Tasks::default(), &[]).len(), 2);
        // Nothing was restored.
        let mut failed = calls(None);
        failed[7].retval = Some(-5);
        assert_eq!(carried(&failed, &Tasks::default(), &[]).len(), 2);
        // One of two is gone: nobody knows which.
        let mut fewer = calls(None);
        fewer.remove(6);
        assert!(carried(&fewer, &Tasks::default(), &[]).iter().all(|hot| hot.probe != "folio-restore"));
    }

    #[test]
    fn an_order_is_told_only_if_no_other_is_possible() {
        assert_eq!(order(262_144, 1 << 30), Some(0));
        assert_eq!(order(512, 1 << 30), Some(9));
        // The last one is not full.
        assert_eq!(order(3, 5 << 20), Some(9));
        // One may be of any size; not all of these are alike; a file without pages.
        assert_eq!([order(1, 4096), order(300, 1 << 30), order(0, 0), order(7, 0)], [None; 4]);
        assert_eq!(order(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn shares_of_all_cpus_are_one_histogram_within_one_percent() {
        let share = |cpu, durations: &[u64]| {
            let mut buckets = BTreeMap::new();
            durations
                .iter()
                .for_each(|ns| *buckets.entry(profiler_common::hot::bucket(*ns) as u16).or_insert(0) += 1);
            Share {
                ip: 16,
                epoch: 1,
                cpu,
                count: durations.len() as u64,
                total_ns: durations.iter().sum(),
                min_ns: durations.iter().copied().min().unwrap(),
                max_ns: durations.iter().copied().max().unwrap(),
                buckets: buckets.into_iter().collect(),
            }
        };
        let shares = [share(0, &[1_000, 1_001, 90]), share(1, &[5_000, 1_000_003])];
        let hot = counted(Side::Incoming, &shares, |_| Some("kho_restore_folio"));
        let [hot] = hot.as_slice() else { panic!("one function") };
        assert_eq!((hot.probe.as_str(), hot.phase.as_str(), hot.count), ("folio-restore", "restore", 5));
        assert_eq!((hot.total_ns, hot.min_ns, hot.max_ns), (Some(1_007_094), Some(90), Some(1_000_003)));
        assert!(hot.p50_ns.unwrap().abs_diff(1_001) * 100 <= 1_001, "{hot:?}");
        let bytes = STANDARD.decode(hot.hdr.as_ref().unwrap()).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(histogram.len(), 5);
        assert!(counted(Side::Incoming, &shares, |_| None).is_empty());
    }
}
