//! The files a host is given. The package installs the same (`[package.metadata.deb]` in Cargo.toml).

/// A file and its place.
#[derive(Debug, Clone, Copy)]
pub struct HostFile {
    /// Where a package puts it, below the root.
    pub path: &'static str,
    /// What is in it.
    pub content: &'static str,
    /// Its mode.
    pub mode: u32,
    /// Who reads it.
    pub reader: Reader,
}

/// Who reads a file: it is of use only where that is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// systemd.
    Systemd,
    /// initramfs-tools.
    InitramfsTools,
    /// dracut.
    Dracut,
}

macro_rules! file {
    ($reader:ident, $mode:literal, $path:literal, $source:literal) => {
        HostFile {
            path: $path,
            content: include_str!(concat!("../../host/", $source)),
            mode: $mode,
            reader: Reader::$reader,
        }
    };
}

/// All of them.
pub const FILES: &[HostFile] = &[
    file!(Systemd, 0o644, "usr/lib/systemd/system/blackout-load.service", "blackout-load.service"),
    file!(Systemd, 0o644, "usr/lib/systemd/system/blackout-arm.service", "blackout-arm.service"),
    file!(Systemd, 0o644, "usr/lib/systemd/system/blackout-collect.service", "blackout-collect.service"),
    file!(Systemd, 0o755, "usr/lib/systemd/system-shutdown/blackout", "system-shutdown"),
    file!(Systemd, 0o644, "etc/default/blackout", "blackout.default"),
    file!(InitramfsTools, 0o755, "usr/share/initramfs-tools/hooks/blackout", "initramfs-hook"),
    file!(
        InitramfsTools,
        0o755,
        "usr/share/initramfs-tools/scripts/local-premount/blackout",
        "initramfs-script"
    ),
    file!(Dracut, 0o755, "usr/lib/dracut/modules.d/95blackout/module-setup.sh", "dracut-module"),
    file!(Dracut, 0o755, "usr/lib/dracut/modules.d/95blackout/restore.sh", "initramfs-script"),
];

/// The program, where the files above look for it.
pub const PROGRAM: &str = "usr/bin/blackout";

/// Folder of units.
const UNITS: &str = "usr/lib/systemd/system/";

impl HostFile {
    /// If this is a unit that is to be enabled: its name, and the target that wants it.
    pub fn enabled_by(&self) -> Option<(&'static str, &'static str)> {
        let name = self.path.strip_prefix(UNITS)?;
        let target = self.content.lines().find_map(|line| line.strip_prefix("WantedBy="))?;
        Some((name, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privilege;

    #[test]
    fn units_may_do_what_their_command_needs_and_no_more() {
        for file in FILES.iter().filter(|file| file.enabled_by().is_some()) {
            let start =
                file.content.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/blackout "));
            let command = start.unwrap().split(' ').next().unwrap();
            let need = privilege::of(command).unwrap();
            let set = file.content.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
            let mut bounding: Vec<String> = set.unwrap().split(' ').map(str::to_owned).collect();
            let mut needed = privilege::names(need.needed | need.useful);
            bounding.sort();
            needed.sort();
            assert_eq!(bounding, needed, "{}", file.path);
        }
    }

    #[test]
    fn the_package_installs_the_same_files() {
        let manifest: toml::Table = toml::from_str(include_str!("../../Cargo.toml")).unwrap();
        let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
        for file in FILES {
            let found = assets.iter().any(|asset| {
                let source =
                    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(asset[0].as_str().unwrap());
                asset[1].as_str() == Some(file.path)
                    && asset[2].as_str().is_some_and(|mode| mode == format!("{:o}", file.mode))
                    && std::fs::read_to_string(source).is_ok_and(|text| text == file.content)
            });
            assert!(found, "{}", file.path);
        }
    }
}
