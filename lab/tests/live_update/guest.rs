//! A virtual machine goes across, and says itself how long it was gone.

use crate::run::{Run, lab_with_guests};
use serde_json::Value;

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_goes_across() {
    let run = lab_with_guests(&[]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    let guests = guests(&run);
    assert_eq!(guests.len(), 1);
    check_intact(&run, &guests[0]);
    let host = &run.report["window"]["duration_ns"];
    // The guest stops before reboot(2) is called and runs before its session is finished.
    assert!(gap_ns(&run, &guests[0]) > host.as_u64().unwrap() / 2, "{run}");
}

fn guests(run: &Run) -> Vec<Value> {
    run.result()["guests"].as_array().unwrap().clone()
}

/// The guest's memory is as it was and all its vCPUs went on.
fn check_intact(run: &Run, guest: &Value) {
    assert_eq!((&guest["memory_intact"], &guest["message"]), (&true.into(), &"".into()), "{run}");
    let vcpus = guest["vcpus"].as_array().unwrap();
    assert_eq!(vcpus.len(), 2, "{guest:#}");
    for vcpu in vcpus {
        assert_eq!(vcpu["registers_lost"], 0, "{guest:#}");
        let loops = |when: &str| vcpu[when].as_u64().unwrap();
        assert!(loops("loops_before") > 0 && loops("loops_after") > loops("loops_before"), "{guest:#}");
    }
}

/// How long all vCPUs of a guest stood still, by its own TSC.
fn gap_ns(run: &Run, guest: &Value) -> u64 {
    let guest: lab::result::GuestResult = serde_json::from_value(guest.clone()).unwrap();
    let hz = run.report["clock"]["hz"].as_u64().unwrap();
    let ticks = guest.blackout().expect("its vCPUs stood still together").ticks();
    u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(hz)).unwrap()
}
