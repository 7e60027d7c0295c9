//! Calls -> trees: within one task, calls nest.

use std::collections::HashMap;

use super::Call;
use crate::catalogue::CATALOGUE;

/// A call and the calls inside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The call.
    pub call: Call,
    /// Calls of the same task inside it, by entry.
    pub inner: Vec<Node>,
}

/// Builds the trees, in order of entry. A call whose return was not seen holds nothing.
pub fn forest(mut calls: Vec<Call>) -> Vec<Node> {
    // By entry, the longer first: a caller entered at the same tick as its callee comes before it.
    let end = |call: &Call| call.exit.map_or(call.enter.ticks, |exit| exit.ticks);
    calls.sort_by_key(|call| (call.enter.ticks, std::cmp::Reverse(end(call))));
    let mut roots: Vec<Node> = Vec::new();
    // For each task the path of child indices to its innermost open call, the root's index first.
    let mut paths: HashMap<_, Vec<usize>> = HashMap::new();
    for mut call in calls {
        let path = paths.entry((call.side, call.pid)).or_default();
        while !path.is_empty() && descend(&mut roots, path).is_none_or(|open| end(&open.call) < end(&call)) {
            path.pop();
        }
        let siblings = match descend(&mut roots, path) {
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
    }
    roots
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
        recording::Side,
        stitch::{Moment, Source},
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
        let trees = forest([vec![caller], inner.to_vec()].concat());
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
        assert_eq!(shape(&forest(calls)), "a(b(c())d()e())x()f()");
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
            prop_assert_eq!(check(&forest(calls.clone()), None), calls.len());
        }
    }
}
