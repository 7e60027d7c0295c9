//! A Debian host with systemd. Everything is checked by `cargo lab host` itself.

use toolbox::debian_root::Root;
use toolbox::program;

fn host(arguments: &[&str]) {
    if !Root::permitted() {
        eprintln!("not tried: `cargo lab host` makes its Debian root as root");
        return;
    }
    let mut command = program::command(env!("CARGO_BIN_EXE_blackout-lab"));
    assert!(command.arg("host").args(arguments).status().unwrap().success());
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_debian_host_is_measured_as_documented() {
    host(&[]);
}

#[test]
#[ignore = "boots a virtual machine"]
fn full_a_chain_of_live_updates_leaves_nothing_behind() {
    host(&["--updates", "100"]);
}

#[test]
#[ignore = "boots a virtual machine"]
fn full_no_recording_tells_more_than_happened_when_the_cable_is_pulled() {
    host(&["--updates", "1", "--cuts", "50"]);
}
