//! A PCI device passed through to a guest, across the live update.

use crate::check::{check_families, check_prediction};
use crate::run::{Run, lab_with_guests, tree};
use serde_json::Value;

/// Where QEMU's edu device stands (`lab::qemu::DEVICE_ADDRESS`).
const ADDRESS: &str = "0000:01:00.0";

/// What is done for the device before its first interrupt, in order.
const TAKEN: [&str; 15] = [
    "vfio-probe",
    "vfio-open",
    "vfio-bind",
    "iommufd-bind",
    "iommu-claim",
    "vfio-enable",
    "pci-enable",
    "pci-reset",
    "pci-bus-reset",
    "iommufd-map",
    "vfio-attach",
    "iommu-attach",
    "iommu-map",
    "vfio-mmap",
    "irq-msi",
];
/// Those of them that boot kprobes see in the incoming kernel: the restore may come to the others before eBPF does.
const TAKEN_SURELY: [&str; 6] =
    ["vfio-open", "vfio-bind", "vfio-enable", "pci-reset", "vfio-attach", "iommu-map"];
/// What the incoming kernel does for it by itself.
const SEEN_AT_BOOT: [&str; 2] = ["iommu-group", "iommu-domain"];
/// What is done as it is given up.
const GIVEN_UP: [&str; 3] = ["vfio-close", "vfio-disable", "iommufd-detach"];

#[test]
#[ignore = "boots a virtual machine"]
fn a_device_answers_after_the_live_update() {
    let run = lab_with_guests(&["--device", "edu", "--check"]);
    check_device(&run, &TAKEN_SURELY);
    // Guest and device: here every family that this kernel has is seen.
    let check = check_prediction(&run);
    check_families(&check, &run);
}

/// With every probe in place before the restore.
#[test]
#[ignore = "boots a virtual machine"]
fn all_that_is_done_for_a_device_goes_by_its_address() {
    let run = lab_with_guests(&["--device", "edu", "--deterministic"]);
    check_device(&run, &TAKEN);
    run.check_precise();
}

#[test]
#[ignore = "boots a virtual machine"]
fn full_a_device_answers_behind_an_amd_iommu() {
    check_device(&lab_with_guests(&["--device", "edu", "--iommu", "amd"]), &TAKEN_SURELY);
}

fn check_device(run: &Run, taken: &[&'static str]) {
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    let result = run.result();
    let guest = &result["guests"][0];
    assert_eq!(guest["memory_intact"], true, "{guest}");
    let device = &guest["device"];
    assert_eq!((&device["address"], &device["dma_ok"]), (&ADDRESS.into(), &true.into()), "{device}");
    // A copy takes two interrupts, and the guest had made one before it was paused, and one after.
    let interrupts = |name: &str| device[name].as_u64().unwrap();
    assert!(interrupts("irqs_before") >= 2, "{device}");
    assert!(interrupts("irqs_after") >= interrupts("irqs_before") + 2, "{device}");
    // Linux 7.3 preserves neither file.
    let refused = "vfio preserve refused: ENOENT; iommufd preserve refused: ENOENT";
    assert_eq!(device["preserve"], refused);

    // The outgoing kernel's: taken before the guest ran, given up before the reboot, in the brownout or in the
    // first phases.
    let report = &run.report;
    let phases = report["phases"].as_array().unwrap();
    let outgoing = phases.iter().filter(|phase| phase["kernel"] == "outgoing").flat_map(tree);
    let brownout = report["brownout"].as_array().unwrap().iter();
    let before = brownout.flat_map(|span| std::iter::once(span).chain(tree(span))).chain(outgoing);
    check_order(before.collect(), TAKEN.iter().chain(&GIVEN_UP), run);

    // The incoming kernel's: taken in the window.
    let incoming = phases.iter().filter(|phase| phase["kernel"] == "incoming");
    check_order(incoming.flat_map(tree).collect(), SEEN_AT_BOOT.iter().chain(taken), run);
}

/// These calls were seen, in this order, and are said to be the device's.
fn check_order<'a>(spans: Vec<&Value>, names: impl Iterator<Item = &'a &'static str>, run: &Run) {
    let mut rest = spans.iter();
    for name in names {
        let subject = match *name {
            "pci-bus-reset" => "bridge 0000:00:05.0",
            "iommufd-map" => "33554432 bytes",
            // An address space of the VMM's own (`IOMMU_DOMAIN_UNMANAGED`).
            "iommu-attach" => "0000:01:00.0, domain type 1",
            _ => ADDRESS,
        };
        let found = rest.any(|span| span["name"] == *name && span["subject"] == subject);
        assert!(found, "no {name} of {subject} in its place: {run}");
    }
}

#[test]
#[ignore = "boots a virtual machine"]
fn without_an_iommu_nothing_is_passed_through() {
    let run = lab_with_guests(&["--device", "edu", "--iommu", "none"]);
    assert_eq!(run.exit_code, 1, "{run}");
    let result = run.result();
    let message = result["message"].as_str().unwrap();
    assert!(message.contains(ADDRESS) && message.contains("no IOMMU stands before it"), "{message}");
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_device_in_another_process_is_busy() {
    let run = lab_with_guests(&["--device", "edu", "--fault", "device-busy"]);
    assert_eq!(run.exit_code, 1, "{run}");
    let result = run.result();
    let message = result["message"].as_str().unwrap();
    assert!(message.contains(&format!("PCI device {ADDRESS}: the device is busy")), "{message}");
}
