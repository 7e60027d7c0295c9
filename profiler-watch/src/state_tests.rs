use super::*;

const HZ: u64 = 1_000_000_000;

fn hello(kernel: Place, run: &str, tsc: u64) -> Message {
    Message::Hello(Hello {
        schema: crate::message::SCHEMA.to_owned(),
        tool: "0".to_owned(),
        kernel,
        run: run.to_owned(),
        host: "h".to_owned(),
        release: "7.3.4".to_owned(),
        cpus: 2,
        tsc_hz: Some(HZ),
        tsc,
        realtime_ns: 0,
    })
}

fn begin(kernel: Place, name: &str, tsc: u64) -> Message {
    Message::Begin {
        kernel,
        name: name.to_owned(),
        kind: "luo".to_owned(),
        subject: String::new(),
        tsc,
        cpu: Some(0),
        pid: Some(1),
        comm: None,
    }
}

fn end(kernel: Place, name: &str, tsc: u64) -> Message {
    Message::End { kernel, name: name.to_owned(), tsc, pid: Some(1), retval: Some(0) }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_clock_goes_on_in_silence_and_is_set_right_by_the_incoming_kernel() {
    let mut state = State::default();
    state.apply(hello(Place::Outgoing, "r", 1_000_000_000), ms(0));
    assert_eq!(state.clock(ms(10)), Clock::NotBegun);
    state.apply(begin(Place::Outgoing, "reboot-syscall", 1_100_000_000), ms(101));
    assert_eq!(state.clock(ms(1600)), Clock::Running { elapsed_ns: 1_500_000_000 });
    assert_eq!((state.silent(ms(1600)), state.silent(ms(1700))), (None, Some(ms(1599))));

    // The host's clock and ours have parted by 400 ms.
    state.apply(hello(Place::Incoming, "r", 4_500_000_000), ms(3100));
    assert_eq!(state.clock(ms(3100)), Clock::Running { elapsed_ns: 3_400_000_000 });
    assert_eq!(state.silent(ms(3100)), None);
    for (name, at) in [("session-retrieve", 4_600_000_000), ("session-finish", 4_700_000_000)] {
        state.apply(begin(Place::Incoming, name, at), ms(3200));
        state.apply(end(Place::Incoming, name, at + 1000), ms(3200));
    }
    assert_eq!(state.clock(ms(9999)), Clock::Finished { elapsed_ns: 3_600_001_000 });
}

#[test]
fn another_run_is_another_live_update_and_a_new_connection_begins_anew() {
    let mut state = State::default();
    state.apply(hello(Place::Outgoing, "a", 0), ms(0));
    for _ in 0..2 {
        state.apply(hello(Place::Outgoing, "a", 0), ms(0));
        state.apply(begin(Place::Outgoing, "session-create", 5), ms(1));
    }
    assert_eq!(state.outgoing.as_ref().unwrap().calls.len(), 1);
    state.apply(hello(Place::Incoming, "b", 0), ms(2));
    assert!(state.outgoing.is_none());
    assert_eq!(state.run(), Some("b"));
}

#[test]
fn what_cannot_be_kept_is_counted() {
    let mut state = State::default();
    state.apply(begin(Place::Outgoing, "session-create", 5), ms(1));
    assert!(state.lost() > 0);
    let before = state.lost();
    state.apply(hello(Place::Outgoing, "a", 0), ms(0));
    state.apply(Message::Loss { place: LossPlace::Trace, count: 5 }, ms(0));
    state.apply(Message::Loss { place: LossPlace::Trace, count: 7 }, ms(0));
    state.apply(Message::Unknown, ms(0));
    assert_eq!(state.lost(), before + 7 + 1);
    for at in 0..=MAX_CALLS as u64 {
        state.apply(begin(Place::Outgoing, "x", at), ms(0));
    }
    assert_eq!(state.lost(), before + 7 + 2);
}

#[test]
fn an_agent_that_was_cut_off_leaves_a_clock_that_begins_at_its_last_sign_of_life() {
    let mut state = State::default();
    state.apply(hello(Place::Outgoing, "r", 1_000_000_000), ms(0));
    state.apply(Message::Counters(Counters { tsc: 1_250_000_000, ..Counters::default() }), ms(250));
    assert_eq!(state.clock(ms(900)), Clock::NotBegun);
    assert_eq!(state.clock(ms(1850)), Clock::Running { elapsed_ns: 1_600_000_000 });
    // It was not cut off after all.
    state.apply(Message::Counters(Counters { tsc: 2_900_000_000, ..Counters::default() }), ms(1900));
    assert_eq!(state.clock(ms(1950)), Clock::NotBegun);
    state.apply(Message::Counters(Counters { tsc: 1_250_000_000, ..Counters::default() }), ms(1950));
    state.apply(hello(Place::Incoming, "r", 3_250_000_000), ms(2250));
    assert_eq!(state.clock(ms(2250)), Clock::Running { elapsed_ns: 2_000_000_000 });
}
