//! One life of the machine: from power on to power off, or to the cable being pulled.

use crate::emulator::Emulator;
use crate::qemu::{Accel, Iommu, Machine};
use crate::result::Stage;
use crate::session::Session;
use crate::watch::Event;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with what the administrator said.
    Off(i32),
    /// The cable was pulled.
    Pulled,
}

/// A life that ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Life {
    /// How.
    pub end: End,
    /// From power on to the beginning of the live update, or all of it: machine time.
    pub before: Duration,
    /// From there to the end.
    pub update: Duration,
    /// Guests were restored.
    pub restored: bool,
}

/// When the cable is pulled, in machine time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// So long after power on.
    Before(Duration),
    /// So long after the live update began.
    Within(Duration),
}

/// A machine with a disk, off.
pub struct Metal<'a> {
    /// GRUB.
    pub grub: &'a Path,
    /// The disk.
    pub disk: &'a Path,
    /// What the administrator is to do.
    pub orders: &'a str,
    /// The emulator.
    pub emulator: &'a Emulator,
    /// What runs it.
    pub accel: Accel,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// What it prints.
    pub serial: PathBuf,
    /// A machine that prints nothing for longer than this hangs: machine time.
    pub timeout: Duration,
}

impl Metal<'_> {
    /// Lives until it powers off, or until the cable is pulled.
    ///
    /// # Errors
    /// When it hangs or crashes, or QEMU cannot be run.
    pub fn live(&self, pull: Option<Pull>) -> Result<Life> {
        let orders = self.disk.with_extension("orders");
        // A disk has whole sectors.
        let mut bytes = format!("{}\n", self.orders).into_bytes();
        bytes.resize(4096, 0);
        fs::write(&orders, bytes).with_context(|| format!("cannot write {}", orders.display()))?;
        let machine = Machine {
            emulator: self.emulator.clone(),
            accel: self.accel,
            cpus: 2,
            memory_bytes: self.memory_bytes,
            numa_nodes: 1,
            iommu: Iommu::None,
            device: false,
            kernel: self.grub.into(),
            initrd: None,
            cmdline: String::new(),
            serial: self.serial.clone(),
            messages: self.serial.with_extension("qemu.log"),
            share: None,
            mailbox: None,
            live: None,
            deterministic: false,
            counting: None,
            disks: vec![self.disk.into(), orders],
        };
        let mut session = Session::start(&machine)?;
        let (mut said, mut began, mut restored) = (None, None, false);
        loop {
            let news = session.step()?;
            for event in news.events {
                match event {
                    Event::Done(code) => said = Some(code),
                    Event::Panic(line) | Event::Oops(line) => bail!("the host crashed: {line}"),
                    Event::Error(message) => eprintln!("lab: host: {message}"),
                    Event::Stage(Stage::Kexec) => began = began.or(Some(session.now)),
                    Event::Stage(stage) => restored |= stage == Stage::Restored,
                }
            }
            let life = |end| {
                let before = began.unwrap_or(session.now);
                Life { end, before, update: session.now.saturating_sub(before), restored }
            };
            if let Some(status) = news.ended {
                return said.map(|code| life(End::Off(code))).with_context(|| {
                    let (serial, messages) = (self.serial.display(), session.messages());
                    format!("the host powered off ({status}) before its administrator was done: {serial}; {messages}")
                });
            }
            let pulled = match pull {
                Some(Pull::Before(after)) => session.now >= after,
                Some(Pull::Within(after)) => began.is_some_and(|began| session.now >= began + after),
                None => false,
            };
            if pulled {
                return Ok(life(End::Pulled));
            }
            if session.silent() > self.timeout {
                let (seconds, serial) = (self.timeout.as_secs(), self.serial.display());
                bail!("the host hung: silent for {seconds} s of machine time ({serial})");
            }
        }
    }
}
