//! One run of a virtual machine: what its console says, whether it ended, and whether it hangs.

use crate::machine_time::{MachineTime, STEP};
use crate::qemu::{Machine, Vm};
use crate::watch::{Console, Event};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Read;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::Duration;

/// A machine that was started; killed when dropped.
#[derive(Debug)]
pub struct Session<'a> {
    machine: &'a Machine,
    vm: Vm,
    serial: File,
    time: MachineTime,
    /// What the console said so far.
    pub console: Console,
    /// All time that the machine had.
    pub now: Duration,
    /// Its time when it last printed something.
    heard: Duration,
}

/// What happened since the last look.
#[derive(Debug)]
pub struct News {
    /// What the console said.
    pub events: Vec<Event>,
    /// How QEMU ended, if it did. What the machine printed before is in `events`.
    pub ended: Option<ExitStatus>,
}

impl<'a> Session<'a> {
    /// Starts the machine.
    ///
    /// # Errors
    /// When QEMU cannot be started, or the file behind the console cannot be made.
    pub fn start(machine: &'a Machine) -> Result<Self> {
        let file = || format!("cannot write {}", machine.serial.display());
        File::create(&machine.serial).with_context(file)?;
        let serial = File::open(&machine.serial).with_context(file)?;
        let vm = machine.start()?;
        let time = MachineTime::of(vm.id());
        let (now, heard) = (Duration::ZERO, Duration::ZERO);
        Ok(Self { machine, vm, serial, time, console: Console::default(), now, heard })
    }

    /// Waits for one [`STEP`] and returns what happened.
    ///
    /// # Errors
    /// When the console or the state of the process cannot be read.
    pub fn step(&mut self) -> Result<News> {
        sleep(STEP);
        // In this order: what a machine printed before it ended is not missed.
        let ended = self.vm.ended()?;
        let mut bytes = Vec::new();
        self.serial
            .read_to_end(&mut bytes)
            .with_context(|| format!("cannot read {}", self.machine.serial.display()))?;
        self.now = self.time.look()?;
        if !bytes.is_empty() {
            self.heard = self.now;
        }
        Ok(News { events: self.console.feed(&bytes), ended })
    }

    /// Machine time since the machine last printed something.
    pub fn silent(&self) -> Duration {
        self.now.saturating_sub(self.heard)
    }

    /// What QEMU itself printed.
    pub fn messages(&self) -> String {
        fs::read_to_string(&self.machine.messages).unwrap_or_default().trim().to_owned()
    }
}
