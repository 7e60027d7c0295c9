//! Guests and marks, for a person at a terminal.

use std::fmt::{self, Write};

use crate::{
    duration,
    report::{Report, VmStatus},
};

/// Name of the guest with this id.
pub fn name<'a>(report: &'a Report, id: Option<&str>) -> Option<&'a str> {
    let id = id?;
    report.vms.iter().find(|vm| vm.id == id).map(|vm| vm.name.as_str())
}

/// One line a guest, one a vCPU, then the marks; nothing if there are none.
pub fn write(out: &mut String, report: &Report) -> fmt::Result {
    if !report.vms.is_empty() {
        writeln!(out, "\n{:<20}  {:>12}  {:>9}  status", "guest", "blackout", "+-")?;
    }
    for vm in &report.vms {
        let status = match vm.status {
            VmStatus::Measured => "measured",
            VmStatus::Bounded => "AT MOST THIS",
            VmStatus::NotResumed => "NOT RESUMED",
            VmStatus::ResumeUnknown => "RESUME UNKNOWN",
            VmStatus::StopUnknown => "STOP UNKNOWN",
        };
        let (length, error) = (known(vm.blackout_ns), known(vm.error_ns));
        writeln!(out, "{:<20}  {length:>12}  {error:>9}  {status}", vm.name)?;
        for vcpu in &vm.vcpus {
            let (length, error) = (known(vcpu.pause_ns), known(vcpu.error_ns));
            writeln!(out, "  {:<18}  {length:>12}  {error:>9}", format!("vcpu {}", vcpu.id))?;
        }
        if let Some(why) = &vm.why {
            writeln!(out, "  {why}")?;
        }
    }
    if !report.marks.is_empty() {
        writeln!(out, "\n{:>14}  mark", "at")?;
    }
    for mark in &report.marks {
        let at = duration(mark.at_ns.unsigned_abs());
        let sign = if mark.at_ns < 0 { "-" } else { "+" };
        let vm = mark.vm.as_deref();
        let of = name(report, vm).or(vm).map(|name| format!("  {name}"));
        writeln!(out, "{:>14}  {}{}", format!("{sign}{at}"), mark.name, of.unwrap_or_default())?;
    }
    Ok(())
}

fn known(ns: Option<u64>) -> String {
    ns.map_or("unknown".to_owned(), duration)
}
