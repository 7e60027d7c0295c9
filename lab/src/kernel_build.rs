//! Building a kernel from a source tree, out of that tree.

use crate::kernel_config::KernelConfig;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;
use toolbox::exec;
use toolbox::needs;
use toolbox::program::MAKE;
use toolbox::progress::Progress;

/// Configuration of the lab's kernels, on top of `allnoconfig`.
pub const FRAGMENT: &str = include_str!("../kernel.config");
/// The driver that is built into kernels the lab unpacks itself.
pub const DRIVER: &str = include_str!("../kernel-driver/lab_luo.c");
const DRIVER_RULE: &str = "obj-$(CONFIG_LIVEUPDATE) += lab_luo.o\n";
/// Where the image is in an object folder.
pub const IMAGE: &str = "arch/x86/boot/bzImage";

/// Configures and builds the tree `source` in the folder `objects`, with `config` over the lab's own options; what
/// is already built there is used. The compiler's output goes to `log`. Gives the path of the image.
///
/// # Errors
/// When a package is missing, the tree is not clean, or the build fails.
pub fn build(
    title: &str,
    source: &Path,
    objects: &Path,
    config: &KernelConfig,
    log: &Path,
) -> Result<PathBuf> {
    check_clean(source)?;
    needs::require("building a kernel", needs::KERNEL)?;
    fs::create_dir_all(objects).with_context(|| format!("cannot create {}", objects.display()))?;
    let fragment = objects.join("lab.config");
    let wanted = config.over(FRAGMENT);
    fs::write(&fragment, &wanted).with_context(|| format!("cannot write {}", fragment.display()))?;

    let mut progress = Progress::start(format!("building {title} (some minutes)"));
    let mut allconfig = std::ffi::OsString::from("KCONFIG_ALLCONFIG=");
    allconfig.push(&fragment);
    exec::logged(make(source, objects)?.arg(allconfig).arg("allnoconfig"), log, &mut progress)?;
    let config_file = objects.join(".config");
    let got =
        fs::read_to_string(&config_file).with_context(|| format!("cannot read {}", config_file.display()))?;
    for option in lost(&wanted, &got) {
        progress.note(&format!("warning: {title} does not take {option}"));
    }
    let jobs = available_parallelism().map_or(1, usize::from);
    exec::logged(make(source, objects)?.arg(format!("-j{jobs}")).arg("bzImage"), log, &mut progress)?;
    progress.done();
    Ok(objects.join(IMAGE))
}

/// Whether a tree can be built elsewhere.
///
/// # Errors
/// When it was built in place.
pub fn check_clean(source: &Path) -> Result<()> {
    if source.join(".config").exists() || source.join("include/config/auto.conf").exists() {
        bail!(
            "{} was built in place, which rules out a build elsewhere: run `make mrproper` there, \
             or give its image with --kernel",
            source.display()
        );
    }
    Ok(())
}

/// A `make` of the kernel tree `source` with its results in `objects`.
///
/// # Errors
/// When `make` is missing and cannot be installed.
pub fn make(source: &Path, objects: &Path) -> Result<Command> {
    let mut output = std::ffi::OsString::from("O=");
    output.push(objects);
    let mut command = MAKE.command()?;
    // The machine's and the user's name are no part of the lab's kernel.
    command.env("KBUILD_BUILD_USER", "blackout").env("KBUILD_BUILD_HOST", "lab").env("LC_ALL", "C");
    exec::yielding(&mut command);
    command.arg("-C").arg(source).arg(output).arg("ARCH=x86_64");
    Ok(command)
}

/// Puts the lab's driver into `source`, a tree of the lab's own; changes nothing if it is there.
///
/// # Errors
/// When the tree cannot be written.
pub fn add_driver(source: &Path) -> Result<()> {
    let misc = source.join("drivers/misc");
    let (driver, makefile) = (misc.join("lab_luo.c"), misc.join("Makefile"));
    let read =
        |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let rules = read(&makefile)?;
    if !driver.exists() || read(&driver)? != DRIVER {
        fs::write(&driver, DRIVER).with_context(|| format!("cannot write {}", driver.display()))?;
    }
    if !rules.ends_with(DRIVER_RULE) {
        let rules = rules + "\n" + DRIVER_RULE;
        fs::write(&makefile, rules).with_context(|| format!("cannot write {}", makefile.display()))?;
    }
    Ok(())
}

/// Options of `fragment` that are not so in `config`.
fn lost<'a>(fragment: &'a str, config: &str) -> Vec<&'a str> {
    let has = |wanted: &str| config.lines().any(|line| line == wanted);
    let kept = |line: &&str| match line.strip_suffix("=n") {
        Some(name) => !has(&format!("{name}=y")) && !has(&format!("{name}=m")),
        None => has(line),
    };
    let options = fragment.lines().map(str::trim).filter(|line| line.starts_with("CONFIG_"));
    options.filter(|line| !kept(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_did_not_survive_are_found() {
        let config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_AB=y\n";
        let fragment = "# about\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_B=y\nCONFIG_C=n\nCONFIG_D=y\nCONFIG_E=16\n";
        assert_eq!(lost(fragment, config), ["CONFIG_B=y", "CONFIG_C=n", "CONFIG_D=y", "CONFIG_E=16"]);
    }

    #[test]
    fn adding_the_driver_twice_changes_nothing() {
        let tree = tempfile::tempdir().unwrap();
        let misc = tree.path().join("drivers/misc");
        fs::create_dir_all(&misc).unwrap();
        fs::write(misc.join("Makefile"), "obj-y += x.o\n").unwrap();
        add_driver(tree.path()).unwrap();
        add_driver(tree.path()).unwrap();
        let rules = fs::read_to_string(misc.join("Makefile")).unwrap();
        assert_eq!(rules.matches("lab_luo").count(), 1);
        assert_eq!(fs::read_to_string(misc.join("lab_luo.c")).unwrap(), DRIVER);
    }
}
