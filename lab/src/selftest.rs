//! The kernel's own live update selftests (tools/testing/selftests/liveupdate) as a workload.

use crate::kernel_build;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use toolbox::cache::Cache;
use toolbox::exec;
use toolbox::needs;
use toolbox::program::GCC;
use toolbox::progress::Progress;

const TESTS: &str = "tools/testing/selftests/liveupdate";
/// What the tests share: its place in 7.3, and that in 7.2.
const SHARED: [&str; 2] = ["lib/lu_utils.c", "luo_test_utils.c"];

/// Builds the selftest `name` of the kernel tree `source` into a workload folder.
///
/// # Errors
/// When the tree has no such test or it does not compile.
pub fn build(cache: &Cache, source: &Path, name: &str) -> Result<PathBuf> {
    let tests = source.join(TESTS);
    let program = tests.join(format!("{name}.c"));
    // The test is `STAGE 1` before and `STAGE 2` after the kexec; the other programs there work otherwise.
    let two_stages = name.starts_with("luo_") && !name.contains(['/', '.']);
    if !two_stages || !program.is_file() {
        bail!("{} has no two-stage selftest `{name}`; it has: {}", tests.display(), names(&tests).join(" "));
    }
    needs::require("a selftest workload", needs::SHELL)?;
    needs::require("building a selftest", needs::SELFTEST)?;
    needs::require("building a static program", needs::STATIC)?;
    let staging = cache.temporary()?;
    let headers = staging.path().join("headers");
    fs::create_dir(&headers).with_context(|| format!("cannot create {}", headers.display()))?;
    let log = staging.path().join("log");
    let mut progress = Progress::start(format!("building the selftest {name}"));
    exec::logged(kernel_build::make(source, &headers)?.arg("headers"), &log, &mut progress)?;

    let workload = staging.path().join("workload");
    fs::create_dir(&workload).with_context(|| format!("cannot create {}", workload.display()))?;
    let mut gcc = GCC.command()?;
    gcc.args(["-static", "-O2", "-Wno-unused-function", "-D_GNU_SOURCE="]);
    for include in [headers.join("usr/include"), tests.join("lib/include"), tests.join("..")] {
        gcc.arg("-I").arg(include);
    }
    let shared = SHARED.iter().map(|path| tests.join(path)).filter(|path| path.is_file());
    gcc.arg(&program).args(shared).arg("-o").arg(workload.join(name));
    exec::logged(&mut gcc, &log, &mut progress)?;
    progress.done();
    for (half, stage) in [("outgoing", 1), ("incoming", 2)] {
        let script = workload.join(half);
        fs::write(&script, format!("#!/bin/busybox sh\nexec /workload/{name} -s {stage}\n"))
            .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", script.display()))?;
    }
    let kept = cache.dir("workloads")?.join(name);
    let _lock = cache.lock("workloads")?;
    if kept.exists() {
        fs::remove_dir_all(&kept).with_context(|| format!("cannot remove {}", kept.display()))?;
    }
    fs::rename(&workload, &kept).with_context(|| format!("cannot create {}", kept.display()))?;
    Ok(kept)
}

fn names(tests: &Path) -> Vec<String> {
    let entries = fs::read_dir(tests).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".c").map(str::to_owned))
        .filter(|name| name.starts_with("luo_"))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_stage_tests_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let tests = dir.path().join(TESTS);
        fs::create_dir_all(&tests).unwrap();
        for name in ["luo_kexec_simple.c", "liveupdate.c", "Makefile"] {
            fs::write(tests.join(name), "").unwrap();
        }
        let cache = Cache::at(&dir.path().join("cache")).unwrap();
        for name in ["liveupdate", "luo_nothing", "../luo_kexec_simple"] {
            let error = build(&cache, dir.path(), name).unwrap_err().to_string();
            assert!(error.ends_with("it has: luo_kexec_simple"), "{error}");
        }
    }
}
