//! The live stream, followed from outside the machine.

use crate::run::lab;
use profiler_watch::{
    client::{self, Heard, Target},
    endpoint::Endpoint,
    message::{Message, Place},
    state::{Clock, State},
};
use std::ops::ControlFlow;
use std::thread;
use std::time::Instant;

/// What a reader outside heard, and what it then knew.
struct Reader {
    messages: Vec<Message>,
    state: State,
}

/// Follows until the report, or until the machine is gone.
fn follow(endpoint: &Endpoint) -> Reader {
    let began = Instant::now();
    let mut reader = Reader { messages: Vec::new(), state: State::default() };
    let (mut connected, mut reported) = (false, false);
    let target = Target { endpoint: endpoint.clone(), trust: None };
    client::follow(&target, |heard| {
        match heard {
            Heard::Connected => connected = true,
            Heard::Apart(_) if connected => return ControlFlow::Break(()),
            Heard::Apart(_) => {}
            Heard::Malformed(count) => reader.state.malformed = count,
            Heard::Message(message) => {
                reader.state.apply((*message).clone(), began.elapsed());
                reported |= matches!(*message, Message::Report { .. });
                let over = reported && matches!(*message, Message::Bye { .. });
                reader.messages.push(*message);
                if over {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    });
    reader
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_reader_outside_follows_both_kernels_to_the_report() {
    check_followed(&[]);
}

/// Of 200 clients more that never read, half of them rude, neither the agent nor the other reader notices anything.
#[test]
#[ignore = "boots a virtual machine"]
fn full_a_crowd_that_never_reads_changes_nothing() {
    check_followed(&["--crowd", "200"]);
}

fn check_followed(arguments: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("live.sock");
    let endpoint = Endpoint::Unix(socket.clone());
    let reader = thread::spawn(move || follow(&endpoint));
    let run = lab(&[&["--serve", socket.to_str().unwrap(), "--json"], arguments].concat());
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    let reader = reader.join().unwrap();

    let hellos = reader.messages.iter().filter_map(|message| match message {
        Message::Hello(hello) => Some((hello.kernel, hello.run.as_str())),
        _ => None,
    });
    let id = run.report["run"]["id"].as_str().unwrap();
    assert_eq!(hellos.collect::<Vec<_>>(), [(Place::Outgoing, id), (Place::Incoming, id)], "{run}");

    // The report that came through the stream is the one the recording makes.
    let told = reader.messages.iter().find_map(|message| match message {
        Message::Report { report, spans_left_out: 0 } => Some(serde_json::to_value(report).unwrap()),
        _ => None,
    });
    assert_eq!(told.as_ref(), Some(&run.report), "{run}");
    let Clock::Reported { duration_ns, .. } = reader.state.clock(Default::default()) else {
        panic!("no clock at the end: {run}")
    };
    assert_eq!(Some(duration_ns), run.report["window"]["duration_ns"].as_u64());
    let outgoing = reader.state.outgoing.as_ref().unwrap();
    let incoming = reader.state.incoming.as_ref().unwrap();
    // Eight memfds and the register of the lab's driver: the guest calls kexec once its reader has these counters.
    let (sessions, files) = (outgoing.counters.sessions, outgoing.counters.files);
    assert_eq!((sessions, files), (2, 9), "{run}");
    // How much of the restore it sees depends on who is first; the boot's borders are in the log.
    assert_eq!(incoming.bye.as_deref(), Some("the live update is over and reported"), "{run}");
    for border in ["clock epoch", "log smp: Bringing up secondary CPUs", "log as init process"] {
        let told = |message: &Message| matches!(message, Message::Milestone { name, .. } if name == border);
        assert!(reader.messages.iter().any(told), "no {border}: {run}");
    }
    // The line that was under way when the kernel stopped may be torn.
    assert!(reader.state.lost() <= 1, "{} lost: {run}", reader.state.lost());
    assert_eq!(run.report["loss"]["streamed"], 0, "{run}");
}
