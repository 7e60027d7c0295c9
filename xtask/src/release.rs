//! What is released: the package, an archive, a list of components, and their checksums.

use crate::package::{self, VERSION};
use crate::tools;
use crate::workspace::{self, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use toolbox::binaries::TARGET;
use toolbox::program::{CP, SHA256SUM, TAR};
use toolbox::{binaries, cache::Cache, exec};

/// Version of cargo-cyclonedx.
const CARGO_CYCLONEDX: &str = "0.5.9";

/// The release: an archive of the program with everything around it, the package, a list of all components (SBOM),
/// and the checksums of these. Prints the folder.
///
/// # Errors
/// When a part cannot be built.
pub fn write() -> Result<()> {
    let deb = package::build(None)?;
    let program = binaries::build()?.blackout;
    let built = program.parent().context("the program lies nowhere")?;
    let release = workspace::target("release-archive")?;
    let _ = fs::remove_dir_all(&release);
    let name = format!("blackout-{VERSION}-{TARGET}");
    let tree = release.join(&name);
    fs::create_dir_all(&tree)?;
    let root = workspace::root()?;
    let mut copy = CP.command()?;
    copy.arg("-r").arg(&program).arg(built.join("man")).arg(built.join("completions"));
    let documents =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs"];
    copy.args(documents.iter().chain(&["LICENSE-MIT", "LICENSE-APACHE"]).map(|file| root.join(file)));
    copy.arg(root.join("profiler-ebpf/LICENSE-GPL-2.0")).arg(&tree);
    exec::output(&mut copy)?;
    let sbom = sbom()?;
    fs::copy(&sbom, tree.join("sbom.cdx.json"))?;
    fs::copy(&sbom, release.join(format!("{name}.cdx.json")))?;
    fs::copy(&deb, release.join(deb.file_name().context("the package has no name")?))?;
    let mut tar = TAR.command()?;
    // The same files give the same archive.
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--zstd", "-C"]);
    tar.arg(&release).arg("-cf").arg(release.join(format!("{name}.tar.zst"))).arg(&name);
    exec::output(&mut tar)?;
    fs::remove_dir_all(&tree)?;
    checksums(&release)?;
    println!("{}", release.display());
    Ok(())
}

/// What the program is made of, in CycloneDX's format.
fn sbom() -> Result<PathBuf> {
    let cyclonedx = tools::installed(&Cache::open()?, "cargo-cyclonedx", CARGO_CYCLONEDX)?;
    let name = "blackout-sbom";
    let mut command = workspace::command(cyclonedx)?;
    command.args(["cyclonedx", "--manifest-path", "profiler/Cargo.toml", "--format", "json"]);
    command.args(["--target", TARGET, "--override-filename", name]);
    exec::output(&mut command)?;
    // It writes beside each manifest of the workspace.
    let root = workspace::root()?;
    let packages = workspace::target("package")?;
    fs::create_dir_all(&packages)?;
    let kept = packages.join("blackout.cdx.json");
    for member in [
        "profiler",
        "profiler-common",
        "profiler-ebpf",
        "profiler-mark",
        "profiler-report",
        "profiler-compare",
        "profiler-watch",
        "profiler-fleet",
        "lab",
        "xtask",
    ] {
        let written = root.join(member).join(format!("{name}.json"));
        if member == "profiler" {
            fs::copy(&written, &kept).with_context(|| format!("no {}", written.display()))?;
        }
        let _ = fs::remove_file(written);
    }
    Ok(kept)
}

/// `SHA256SUMS`, as sha256sum(1) reads it.
fn checksums(dir: &Path) -> Result<()> {
    let mut names: Vec<_> = fs::read_dir(dir)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let sums = exec::output(SHA256SUM.command()?.args(names).current_dir(dir))?;
    fs::write(dir.join("SHA256SUMS"), sums).context("cannot write SHA256SUMS")?;
    run(SHA256SUM.command()?.args(["--check", "--quiet", "SHA256SUMS"]).current_dir(dir))
}
