//! What has to be written on a host, and where. Pure: the host is [`Host`], and nothing is done here.

use std::collections::BTreeSet;

use super::files::{FILES, PROGRAM, Reader};

/// Words that both kernels need on their command lines: live updates, and the flight recorder.
pub const WORDS: [&str; 4] =
    ["kho=on", "liveupdate=on", "reserve_mem=12M:4096:trace", "trace_instance=boot_map@trace"];

/// GRUB's own folder for additions (Debian's grub-mkconfig reads it).
pub const GRUB_DIR: &str = "etc/default/grub.d";
/// Our addition to GRUB's configuration.
const GRUB_FILE: &str = "etc/default/grub.d/blackout.cfg";
/// What kernel-install(8) gives systemd-boot's entries.
pub const KERNEL_CMDLINE: &str = "etc/kernel/cmdline";
/// Where an administrator's units are enabled.
const ENABLED: &str = "etc/systemd/system";

/// What is known of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// `/proc/cmdline` of the kernel that runs.
    pub cmdline: String,
    /// Its release.
    pub release: String,
    /// There is GRUB: [`GRUB_DIR`], or `/etc/default/grub`.
    pub grub: bool,
    /// [`KERNEL_CMDLINE`], if there is kernel-install(8) and no GRUB.
    pub kernel_install: Option<String>,
    /// There is systemd.
    pub systemd: bool,
    /// There is initramfs-tools.
    pub initramfs_tools: bool,
    /// There is dracut.
    pub dracut: bool,
    /// Which of [`FILES`], and of what is planned here, are there already: paths below the root.
    pub present: BTreeSet<String>,
}

/// One thing to do. Paths are relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write a file; what was there before comes back with `--undo`.
    Write {
        /// The file.
        path: String,
        /// What it is to hold.
        content: String,
        /// Its mode.
        mode: u32,
    },
    /// Copy the program that is running.
    Install {
        /// Where to.
        path: String,
    },
    /// Make a symbolic link.
    Link {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// Have another program take note; also after an undo.
    Run {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// What this host lacks, in the order in which it is to be done; nothing if it is set up.
pub fn plan(host: &Host) -> Vec<Step> {
    let mut steps = Vec::new();
    let missing = missing_words(&host.cmdline);
    if host.grub && !host.present.contains(GRUB_FILE) && !missing.is_empty() {
        steps.push(write(GRUB_FILE, grub(&missing)));
        steps.push(run(&["update-grub"]));
    }
    if let Some(line) = &host.kernel_install {
        let missing = missing_words(line);
        if !missing.is_empty() {
            let words = line.split_whitespace().chain(missing).collect::<Vec<_>>().join(" ");
            steps.push(write(KERNEL_CMDLINE, words + "\n"));
            let image = format!("/boot/vmlinuz-{}", host.release);
            steps.push(run(&["kernel-install", "add", &host.release, &image]));
        }
    }
    if !host.present.contains(PROGRAM) {
        steps.push(Step::Install { path: PROGRAM.to_owned() });
    }
    let wanted = FILES.iter().filter(|file| host.has(file.reader));
    for file in wanted.clone().filter(|file| !host.present.contains(file.path)) {
        let (path, content) = (file.path.to_owned(), file.content.to_owned());
        steps.push(Step::Write { path, content, mode: file.mode });
    }
    let enabled = wanted.filter_map(|file| Some((file.path, file.enabled_by()?)));
    let links = enabled.filter_map(|(unit, (name, target))| {
        let path = format!("{ENABLED}/{target}.wants/{name}");
        (!host.present.contains(&path)).then(|| Step::Link { path, target: format!("/{unit}") })
    });
    let before = steps.len();
    steps.extend(links);
    if steps.len() > before {
        steps.push(run(&["systemctl", "daemon-reload"]));
    }
    steps
}

impl Host {
    fn has(&self, reader: Reader) -> bool {
        match reader {
            Reader::Systemd => self.systemd,
            Reader::InitramfsTools => self.initramfs_tools,
            Reader::Dracut => self.dracut,
        }
    }
}

/// Every path whose presence [`plan`] asks for.
pub fn paths() -> impl Iterator<Item = String> {
    let links = FILES.iter().filter_map(|file| file.enabled_by());
    let links = links.map(|(name, target)| format!("{ENABLED}/{target}.wants/{name}"));
    [GRUB_FILE, PROGRAM].into_iter().chain(FILES.iter().map(|file| file.path)).map(str::to_owned).chain(links)
}

/// A word counts as there whatever its value is: `reserve_mem=24M:4096:trace` is somebody's own choice.
fn missing_words(cmdline: &str) -> Vec<&'static str> {
    let same = |word: &str, has: &str| {
        let tail = |text: &str| text.rsplit([':', '@']).next().unwrap_or_default().to_owned();
        let key = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
        key(word) == key(has) && (!word.contains([':', '@']) || tail(word) == tail(has))
    };
    WORDS.into_iter().filter(|word| !cmdline.split_whitespace().any(|has| same(word, has))).collect()
}

fn grub(missing: &[&str]) -> String {
    format!(
        "# Written by `blackout setup --apply`; `blackout setup --undo` removes it.\n\
         GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {}\"\n",
        missing.join(" ")
    )
}

fn write(path: &str, content: String) -> Step {
    Step::Write { path: path.to_owned(), content, mode: 0o644 }
}

fn run(argv: &[&str]) -> Step {
    Step::Run { argv: argv.iter().map(|word| (*word).to_owned()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packaged() -> Host {
        let present = FILES.iter().map(|file| file.path.to_owned()).chain([PROGRAM.to_owned()]);
        Host {
            grub: true,
            systemd: true,
            release: "7.3".into(),
            present: present.collect(),
            ..Host::default()
        }
    }

    fn written(steps: &[Step]) -> Vec<&str> {
        let path = |step: &'_ Step| match step {
            Step::Write { path, .. } | Step::Install { path } | Step::Link { path, .. } => Some(path.clone()),
            Step::Run { .. } => None,
        };
        steps.iter().filter_map(path).map(|path| &*path.leak()).collect()
    }

    #[test]
    fn with_the_package_only_grub_and_links_are_written() {
        let host = Host { cmdline: "BOOT_IMAGE=/vmlinuz quiet kho=on".into(), ..packaged() };
        insta::assert_debug_snapshot!(plan(&host));
    }

    #[test]
    fn a_host_that_is_set_up_lacks_nothing() {
        let mut host = Host { cmdline: WORDS.join(" "), ..packaged() };
        host.present.extend(paths());
        assert_eq!(plan(&host), []);
        // GRUB's file is written, and the host not rebooted yet.
        host.cmdline = String::new();
        assert_eq!(plan(&host), []);
    }

    #[test]
    fn without_the_package_the_files_are_written_too() {
        let host = Host { dracut: true, present: BTreeSet::new(), ..packaged() };
        let steps = plan(&host);
        let written = written(&steps);
        assert!(written.contains(&PROGRAM));
        for file in FILES {
            assert_eq!(written.contains(&file.path), file.reader != Reader::InitramfsTools, "{}", file.path);
        }
    }

    #[test]
    fn systemd_boots_line_keeps_its_own_words() {
        let line = "root=/dev/sda1  ro reserve_mem=24M:4096:trace reserve_mem=2M:4096:other";
        let host = Host { kernel_install: Some(line.into()), grub: false, ..packaged() };
        let steps = plan(&host);
        let Step::Write { path, content, .. } = &steps[0] else { panic!("{steps:?}") };
        assert_eq!(path, KERNEL_CMDLINE);
        assert_eq!(
            content,
            "root=/dev/sda1 ro reserve_mem=24M:4096:trace reserve_mem=2M:4096:other kho=on liveupdate=on \
             trace_instance=boot_map@trace\n"
        );
        assert_eq!(steps[1], run(&["kernel-install", "add", "7.3", "/boot/vmlinuz-7.3"]));
        let again = Host { kernel_install: Some(content.clone()), grub: false, ..packaged() };
        assert!(!plan(&again).iter().any(|step| matches!(step, Step::Write { .. })));
    }
}
