//! Calls -> trees: within one task, calls nest.

use std::collections::HashMap;

use super::{Call, PROCESS, Tasks};
use crate::catalogue::CATALOGUE;

/// A call and the calls inside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The call.
    pub call: Call,
    /// Calls of the same task inside it, by entry.
    pub inner: Vec<Node>,
}

/// Builds the trees, in order of entry. A program stands inside the one whose task made its task. A call
/// whose return was not seen holds nothing, unless it is a program that still runs.
pub fn forest(mut calls: Vec<Call>, tasks: &Tasks) -> Vec<Node> {
    // By entry, the longer first: a caller entered at the same tick as its callee comes before it.
    calls.sort_by_key(|call| (call.enter.ticks, std::cmp::Reverse(call.end_ticks())));
    let mut roots: Vec<Node> = Vec::new();
    // For each task the path of child indices to its innermost open call, the root's index first.
    let mut paths: HashMap<_, Vec<usize>> = HashMap::new();
    for mut call in calls {
        let mut path = paths.remove(&(call.side, call.pid)).unwrap_or_default();
        close(&mut roots, &mut path, |open| open.end_ticks() < call.end_ticks());
        if path.is_empty()
            && call.kind == PROCESS
            && let Some((maker, _)) = call.pid.and_then(|pid| tasks.born(call.side, pid))
        {
            path = paths.get(&(call.side, Some(maker))).cloned().unwrap_or_default();
            close(&mut roots, &mut path, |open| open.kind != PROCESS || open.end_ticks() < call.end_ticks());
        }
        let task = (call.side, call.pid);
        let siblings = match descend(&mut roots, &path) {
            Some(open) => {
                if call.subject.is_empty() && is_of_caller(&call) {
                    call.subject.clone_from(&open.call.subject);
                }
                &mut open.inner
            }
            None => &mut roots,
        };
        path.push(siblings.len());
        siblings.push(Node { call, inner: Vec::new() });
        paths.insert(task, path);
    }
    roots
}

/// Shortens a path while what is open at its end is past.
fn close(roots: &mut [Node], path: &mut Vec<usize>, past: impl Fn(&Call) -> bool) {
    while !path.is_empty() && descend(roots, path).is_none_or(|open| past(&open.call)) {
        path.pop();
    }
}

/// Whether the catalogue says that whatever calls this function also says whose time it is.
fn is_of_caller(call: &Call) -> bool {
    CATALOGUE.by_name(&call.name).is_some_and(|probe| probe.of_caller)
}

fn descend<'a>(roots: &'a mut [Node], path: &[usize]) -> Option<&'a mut Node> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(roots.get_mut(*first)?, |node, index| node.inner.get_mut(*index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evidence::event::Event,
        recording::Side,
        stitch::{Moment, Source},
        timeline::testing::event,
    };
    use proptest::prelude::*;

    fn call(name: &str, pid: u32, enter: u64, exit: Option<u64>) -> Call {
        Call {
            side: Side::Outgoing,
            name: name.to_owned(),
            kind: "luo".to_owned(),
            subject: String::new(),
            enter: Moment::exact(enter),
            exit: exit.map(Moment::exact),
            cpu: Some(0),
            pid: Some(pid),
            comm: None,
            retval: None,
            source: Source::Ebpf,
            carried: None,
            critical: false,
        }
    }

    fn shape(nodes: &[Node]) -> String {
        nodes.iter().map(|n| format!("{}({})", n.call.name, shape(&n.inner))).collect()
    }

    #[test]
    fn a_call_without_a_subject_takes_its_callers_where_the_catalogue_says_so() {
        let mut caller = call("iommufd-attach", 1, 0, Some(9));
        caller.subject = "0000:01:00.0".to_owned();
        let inner = [call("iommu-map", 1, 1, Some(2)), call("luo-open", 1, 3, Some(4))];
        let trees = forest([vec![caller], inner.to_vec()].concat(), &Tasks::default());
        let subjects: Vec<&str> = trees[0].inner.iter().map(|node| node.call.subject.as_str()).collect();
        assert_eq!(subjects, ["0000:01:00.0", ""]);
    }

    #[test]
    fn calls_nest_by_task() {
        let calls = vec![
            call("a", 1, 0, Some(100)),
            call("x", 2, 5, Some(60)),
            call("b", 1, 10, Some(20)),
            call("c", 1, 12, Some(15)),
            call("d", 1, 30, None),
            call("e", 1, 40, Some(50)),
            call("f", 1, 110, Some(120)),
        ];
        assert_eq!(shape(&forest(calls, &Tasks::default())), "a(b(c())d()e())x()f()");
    }

    #[test]
    fn a_program_stands_inside_the_one_that_made_it() {
        let seen = [
            event(0, 1, Event::Exec { file: "/init".into() }),
            event(10, 1, Event::Fork { child: 5 }),
            event(11, 5, Event::Exec { file: "/bin/mount".into() }),
            event(20, 5, Event::End { comm: "mount".into(), last: Some(true) }),
        ];
        let tasks = Tasks::new(&seen);
        assert_eq!(shape(&forest(tasks.processes(), &tasks)), "init(mount())");
    }

    proptest! {
        #[test]
        fn every_call_is_kept_and_lies_inside_its_parent(
            spans in proptest::collection::vec((0_u32..3, 0_u64..50, proptest::option::of(0_u64..20)), 0..60)
        ) {
            let calls: Vec<_> =
                spans.iter().map(|(pid, at, len)| call("n", *pid, *at, len.map(|len| at + len))).collect();
            fn check(nodes: &[Node], bounds: Option<(u64, u64)>) -> usize {
                nodes.iter().map(|node| {
                    let enter = node.call.enter.ticks;
                    let exit = node.call.exit.map_or(enter, |e| e.ticks);
                    if let Some((from, to)) = bounds {
                        assert!(from <= enter && exit <= to);
                    }
                    1 + check(&node.inner, Some((enter, exit)))
                }).sum()
            }
            prop_assert_eq!(check(&forest(calls.clone(), &Tasks::default()), None), calls.len());
        }
    }
}
