//! One life of the machine: from power on to power off, or to the cable being pulled.

use crate::qemu::{Accel, Iommu, Machine};
use crate::result::Stage;
use crate::watch::{Console, Event};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

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
    /// From power on to the beginning of the live update, or all of it.
    pub before: Duration,
    /// From there to the end.
    pub update: Duration,
    /// Guests were restored.
    pub restored: bool,
}

/// When the cable is pulled.
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
    /// What runs it.
    pub accel: Accel,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// What it prints.
    pub serial: PathBuf,
    /// A silence longer than this is a hang.
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
        File::create(&self.serial).with_context(|| format!("cannot write {}", self.serial.display()))?;
        let machine = Machine {
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
        let mut serial = File::open(&self.serial)?;
        let mut console = Console::default();
        let mut vm = machine.start()?;
        let (started, mut heard, mut said) = (Instant::now(), Instant::now(), None);
        let (mut began, mut restored): (Option<Instant>, bool) = (None, false);
        loop {
            let ended = vm.ended()?;
            let mut bytes = Vec::new();
            serial.read_to_end(&mut bytes)?;
            if !bytes.is_empty() {
                heard = Instant::now();
            }
            for event in console.feed(&bytes) {
                match event {
                    Event::Done(code) => said = Some(code),
                    Event::Panic(line) | Event::Oops(line) => bail!("the host crashed: {line}"),
                    Event::Error(message) => eprintln!("lab: host: {message}"),
                    Event::Stage(Stage::Kexec) => began = began.or_else(|| Some(Instant::now())),
                    Event::Stage(stage) => restored |= stage == Stage::Restored,
                }
            }
            let life = |end| {
                let before = began.map_or(started.elapsed(), |began| began - started);
                Life { end, before, update: started.elapsed().saturating_sub(before), restored }
            };
            if ended.is_some() {
                return said.map(|code| life(End::Off(code))).with_context(|| {
                    format!(
                        "the host powered off before its administrator was done: {}",
                        self.serial.display()
                    )
                });
            }
            let pulled = match pull {
                Some(Pull::Before(after)) => started.elapsed() >= after,
                Some(Pull::Within(after)) => began.is_some_and(|began| began.elapsed() >= after),
                None => false,
            };
            if pulled {
                return Ok(life(End::Pulled));
            }
            if heard.elapsed() > self.timeout {
                bail!("the host hung: silent for {} s ({})", self.timeout.as_secs(), self.serial.display());
            }
            sleep(POLL);
        }
    }
}
