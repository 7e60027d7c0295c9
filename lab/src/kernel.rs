//! From what the user asked for to a kernel image: given, built from a tree, or from the mirror's package.

use crate::kernel_build::{self, DRIVER, FRAGMENT};
use crate::kernel_config::KernelConfig;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toolbox::apt::{self, Apt, Package};
use toolbox::cache::Cache;
use toolbox::exec;
use toolbox::fingerprint::fingerprint;
use toolbox::needs::{self, Need};
use toolbox::program::TAR;
use toolbox::progress::Progress;
use toolbox::resolved;

/// Part of a kernel's key: raise it when the way kernels are built changes.
const RECIPE: u8 = 1;

/// What a kernel's build says of the modules that are built in, beside its image; and its name in `/lib/modules`.
const BUILTIN_RANGES: &str = "modules.builtin.ranges";

/// A kernel as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The newest source package of the mirror.
    Newest,
    /// A source package of the mirror by its series, such as `7.3`.
    Series(String),
    /// A bzImage.
    Image(PathBuf),
    /// A source tree.
    Tree(PathBuf),
}

/// Text that names no kernel.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither a kernel image, nor a source folder, nor a version such as 7.3")]
pub struct NoKernel(String);

impl FromStr for Request {
    type Err = NoKernel;

    fn from_str(text: &str) -> Result<Self, NoKernel> {
        let path = Path::new(text);
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if path.is_dir() {
            Ok(Self::Tree(path.into()))
        } else if path.is_file() {
            Ok(Self::Image(path.into()))
        } else if text == "newest" {
            Ok(Self::Newest)
        } else if text.split('.').count() == 2 && text.split('.').all(is_number) {
            Ok(Self::Series(text.into()))
        } else {
            Err(NoKernel(text.into()))
        }
    }
}

/// A kernel ready to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// Its release, such as `7.3.4`.
    pub release: String,
    /// Its source tree, when the lab knows it.
    pub source: Option<PathBuf>,
    /// The lab built its own driver into it.
    pub lab_driver: bool,
}

impl Kernel {
    /// What its build says of the modules that are built in, if it does, and where its system expects that.
    pub fn builtin_ranges(&self) -> Option<(PathBuf, String)> {
        let file = self.image.with_file_name(BUILTIN_RANGES);
        file.exists().then(|| (file, format!("lib/modules/{}/{BUILTIN_RANGES}", self.release)))
    }
}

/// Whether a file of the lab's driver can go from one kernel to the other: they are the same, with or without
/// the driver, or both have it for certain.
pub fn share_driver(outgoing: &Kernel, incoming: &Kernel) -> bool {
    outgoing.image == incoming.image || (outgoing.lab_driver && incoming.lab_driver)
}

/// Gets, and builds if need be, the kernel of `request`, with `config` over the lab's own options.
///
/// # Errors
/// When the image is none, or cannot be configured; a source cannot be had; the build fails.
pub fn resolve(cache: &Cache, request: &Request, config: &KernelConfig) -> Result<Kernel> {
    match request {
        Request::Image(image) if !config.is_empty() => {
            bail!("{} is built already: options need a source folder or a version", image.display())
        }
        Request::Image(image) => kernel(image.clone(), None, false),
        Request::Tree(tree) => from_tree(cache, tree, config),
        Request::Newest => from_package(cache, None, config),
        Request::Series(series) => from_package(cache, Some(series), config),
    }
}

/// What getting the kernel of `request` needs: nothing if the cache has it.
pub fn needs(cache: &Cache, request: &Request, config: &KernelConfig) -> Vec<Need> {
    let series = match request {
        Request::Image(_) => return Vec::new(),
        Request::Tree(_) => return needs::KERNEL.to_vec(),
        Request::Newest => None,
        Request::Series(series) => Some(series.as_str()),
    };
    let published = |package: Package| cache.path(format!("kernels/{}", key(&package, config))).is_dir();
    if resolved::last(cache, self::request(series)).is_some_and(published) {
        return Vec::new();
    }
    [needs::UNPACK, needs::KERNEL].concat()
}

fn kernel(image: PathBuf, source: Option<PathBuf>, lab_driver: bool) -> Result<Kernel> {
    let bytes = fs::read(&image).with_context(|| format!("cannot read the kernel {}", image.display()))?;
    let Some(release) = release(&bytes) else {
        bail!("{} is no x86 kernel image (bzImage)", image.display());
    };
    Ok(Kernel { image, release, source, lab_driver })
}

/// The release in a bzImage's header (Documentation/arch/x86/boot.rst, `kernel_version`).
pub fn release(image: &[u8]) -> Option<String> {
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let offset = u16::from_le_bytes(image.get(0x20e..0x210)?.try_into().ok()?);
    let text = image.get(usize::from(offset).checked_add(0x200)?..)?;
    let word: Vec<u8> = text.iter().copied().take(64).take_while(u8::is_ascii_graphic).collect();
    String::from_utf8(word).ok().filter(|word| !word.is_empty())
}

/// Whether `tree` can be built at all.
///
/// # Errors
/// When it is no kernel's, or was built in place.
pub fn check_tree(tree: &Path) -> Result<()> {
    if !tree.join("Kbuild").is_file() || !tree.join("arch/x86").is_dir() {
        bail!("{} is no kernel source tree", tree.display());
    }
    kernel_build::check_clean(tree)
}

/// The tree is the user's: built elsewhere and never written to. The objects stay, for the next build.
fn from_tree(cache: &Cache, tree: &Path, config: &KernelConfig) -> Result<Kernel> {
    let tree = tree.canonicalize().with_context(|| format!("kernel source {}", tree.display()))?;
    check_tree(&tree)?;
    let options = config.to_string();
    let name = format!("tree-{}", fingerprint(&[tree.as_os_str().as_encoded_bytes(), options.as_bytes()]));
    let _lock = cache.lock(&name)?;
    let objects = cache.dir(format!("build/{name}"))?;
    let log = objects.join("lab-build.log");
    let _ = fs::remove_file(&log);
    let title = format!("the kernel in {}", tree.display());
    let image = kernel_build::build(&title, &tree, &objects, config, &log)?;
    kernel(image, Some(tree), false)
}

fn from_package(cache: &Cache, series: Option<&str>, config: &KernelConfig) -> Result<Kernel> {
    let mut mirror = Mirror { cache, apt: None };
    let package = mirror.resolve(series)?;
    let key = key(&package, config);
    let published = cache.path(format!("kernels/{key}"));
    let source = source_path(cache, &package);
    if !published.is_dir() {
        let _lock = cache.lock("kernels")?;
        if !published.is_dir() {
            mirror.unpack(&package)?;
            kernel_build::add_driver(&source)?;
            publish(cache, &package, &key, &source, config)?;
        }
    }
    kernel(published.join("bzImage"), Some(source).filter(|source| source.is_dir()), true)
}

/// Builds, and moves the result into place in one step. The objects (2 GB) are then of no more use: another
/// build has another key. After a failure they stay, so that the next try goes on from there.
fn publish(cache: &Cache, package: &Package, key: &str, source: &Path, config: &KernelConfig) -> Result<()> {
    let objects = cache.dir(format!("build/{key}"))?;
    let log = objects.join("lab-build.log");
    let title = format!("{} {}", package.name, package.version);
    kernel_build::build(&title, source, &objects, config, &log)?;
    let staging = cache.temporary()?;
    for (from, to) in [
        (kernel_build::IMAGE, "bzImage"),
        (".config", "config"),
        ("System.map", "System.map"),
        ("lab-build.log", "build.log"),
        ("include/config/kernel.release", "release"),
    ] {
        let from = objects.join(from);
        let copied = fs::copy(&from, staging.path().join(to));
        copied.with_context(|| format!("cannot copy {}", from.display()))?;
    }
    // With CONFIG_BUILTIN_MODULE_RANGES.
    let ranges = objects.join(BUILTIN_RANGES);
    if ranges.exists() {
        fs::copy(&ranges, staging.path().join(BUILTIN_RANGES))
            .with_context(|| format!("cannot copy {}", ranges.display()))?;
    }
    cache.dir("kernels")?;
    let published = cache.path(format!("kernels/{key}"));
    let staged = staging.keep();
    fs::rename(&staged, &published).with_context(|| format!("cannot create {}", published.display()))?;
    fs::remove_dir_all(&objects).with_context(|| format!("cannot remove {}", objects.display()))
}

/// The mirror, asked only when the cache does not know.
struct Mirror<'a> {
    cache: &'a Cache,
    apt: Option<Apt>,
}

impl Mirror<'_> {
    fn apt(&mut self) -> Result<&Apt> {
        match &mut self.apt {
            Some(apt) => Ok(apt),
            none => Ok(none.insert(Apt::update(self.cache, apt::NEWEST)?)),
        }
    }

    /// The source package of `series`, or of the newest kernel.
    fn resolve(&mut self, series: Option<&str>) -> Result<Package> {
        let (request, cache) = (request(series), self.cache);
        let found =
            resolved::resolve(cache, request, |package| have(cache, package), || self.apt()?.find(series));
        found.with_context(|| {
            format!(
                "no source for the {request} kernel: give an image with --kernel or a source tree with --kernel-src"
            )
        })
    }

    /// Downloads and unpacks the source of `package` unless that was done. The package file is then removed:
    /// the tree has all of it.
    fn unpack(&mut self, package: &Package) -> Result<()> {
        let target = source_path(self.cache, package);
        if target.is_dir() {
            return Ok(());
        }
        needs::require("unpacking the kernel source", needs::UNPACK)?;
        let staging = self.cache.temporary()?;
        let debs = self.apt()?.download(std::slice::from_ref(package), staging.path())?;
        let mut progress = Progress::start(format!("unpacking {} {}", package.name, package.version));
        let log = staging.path().join("log");
        let unpacked = staging.path().join("package");
        apt::unpack(&debs, &unpacked)?;
        let tarball = unpacked.join(format!("usr/src/{}.tar.xz", package.name));
        let tree = staging.path().join("tree");
        fs::create_dir(&tree).with_context(|| format!("cannot create {}", tree.display()))?;
        let mut tar = TAR.command()?;
        tar.arg("-xJf").arg(&tarball).args(["--strip-components=1", "-C"]).arg(&tree);
        exec::logged(&mut tar, &log, &mut progress)?;
        self.cache.dir("src")?;
        fs::rename(&tree, &target).with_context(|| format!("cannot create {}", target.display()))?;
        progress.done();
        self.remove_superseded(package)
    }

    /// Removes the trees (1.8 GB each) of other versions of the same package.
    fn remove_superseded(&self, package: &Package) -> Result<()> {
        let current = source_path(self.cache, package);
        let prefix = format!("{}_", package.name);
        for entry in fs::read_dir(self.cache.path("src")).context("cannot list the cached sources")?.flatten()
        {
            let path = entry.path();
            if path != current && entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// What a series of kernels is remembered by.
fn request(series: Option<&str>) -> &str {
    series.unwrap_or("newest")
}

/// Whether a kernel of this package can be had without the mirror.
fn have(cache: &Cache, package: &Package) -> bool {
    cache.path(format!("kernels/{}", key(package, &KernelConfig::default()))).is_dir()
        || source_path(cache, package).is_dir()
}

fn source_path(cache: &Cache, package: &Package) -> PathBuf {
    cache.path(format!("src/{}", package.file_name()))
}

/// Names the kernel built from `package` with this program's configuration, driver and recipe, and with `config`.
fn key(package: &Package, config: &KernelConfig) -> String {
    let own = config.over(FRAGMENT);
    let parts = [package.version.as_bytes(), own.as_bytes(), DRIVER.as_bytes(), &[RECIPE]];
    format!("{}-{}", package.file_name(), fingerprint(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_a_version_or_a_path_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("bzImage");
        fs::write(&image, "").unwrap();
        let parse = |text: &str| text.parse::<Request>();
        assert_eq!(parse("7.3").unwrap(), Request::Series("7.3".into()));
        assert_eq!(parse("newest").unwrap(), Request::Newest);
        assert_eq!(parse(image.to_str().unwrap()).unwrap(), Request::Image(image));
        assert_eq!(parse(dir.path().to_str().unwrap()).unwrap(), Request::Tree(dir.path().into()));
        for wrong in ["7", "7.3.4", "7.", "v7.3", "", "/no/such/file"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn release_is_read_from_the_header() {
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        assert_eq!(release(&image), None);
        image[0x300..0x310].copy_from_slice(b"7.3.4 (blackout@");
        assert_eq!(release(&image).as_deref(), Some("7.3.4"));
    }

    #[test]
    fn the_driver_is_shared_by_one_image_or_two_of_the_labs() {
        let kernel = |image: &str, lab_driver| Kernel {
            image: image.into(),
            release: "7.3.4".into(),
            source: None,
            lab_driver,
        };
        assert!(share_driver(&kernel("a", false), &kernel("a", false)));
        assert!(share_driver(&kernel("a", true), &kernel("b", true)));
        assert!(!share_driver(&kernel("a", true), &kernel("b", false)));
        assert!(!share_driver(&kernel("a", false), &kernel("b", true)));
    }

    #[test]
    fn the_key_depends_on_the_version() {
        let package = |version: &str| Package { name: "linux-source-7.3".into(), version: version.into() };
        let key = |package: &Package| key(package, &KernelConfig::default());
        let one = key(&package("1:7.3.4-1~bpo13+1"));
        assert!(one.starts_with("linux-source-7.3_1-7.3.4-1-bpo13+1-"), "{one}");
        assert_ne!(one, key(&package("1-7.3.4-1~bpo13+1")));
    }

    #[test]
    fn what_is_known_and_cached_needs_no_mirror() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let package = Package { name: "linux-source-9.9".into(), version: "9.9.1-1".into() };
        let mut mirror = Mirror { cache: &cache, apt: None };
        resolved::resolve(&cache, "newest", |_| true, || Ok(package.clone())).unwrap();
        cache.dir(format!("kernels/{}", key(&package, &KernelConfig::default()))).unwrap();
        assert_eq!(mirror.resolve(None).unwrap(), package);
        assert!(mirror.apt.is_none());
        assert_eq!(needs(&cache, &Request::Newest, &KernelConfig::default()), []);
        assert!(!needs(&cache, &Request::Series("9.9".into()), &KernelConfig::default()).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_image_or_not(mut image in proptest::collection::vec(any::<u8>(), 0..0x500)) {
            if let Some(magic) = image.get_mut(0x202..0x206) {
                magic.copy_from_slice(b"HdrS");
            }
            if let Some(text) = release(&image) {
                prop_assert!(!text.chars().any(char::is_control));
            }
        }
    }
}
