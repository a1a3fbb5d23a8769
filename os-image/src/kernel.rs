//! The kernel: Debian's source, our fragments over `tinyconfig`, built once for each set of inputs. A variant
//! of it is for tests alone and is part of no image. The source is as Debian has it but for [`DEBUGFS_MEMBER`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::apt::Fetched;
use crate::cache::{self, Key};
use crate::deb;
use crate::process;
use crate::progress::Step;

/// The package that brings the source.
pub const SOURCE_PACKAGE: &str = "linux-source-6.12";

/// What is added to the version of the test kernel: it takes no modules of the shipped one for its own.
const TEST_VERSION: &str = "-test";

/// A member of `struct backing_dev_info` that is there only with debugfs. Half of the kernel's files include the
/// structure and few of them know the member: where it is always there, the test kernel, which has debugfs, takes their
/// objects from the shipped one. It costs each disk 8 bytes.
const DEBUGFS_MEMBER: [&str; 3] = [
    "include/linux/backing-dev-defs.h",
    "#ifdef CONFIG_DEBUG_FS\n\tstruct dentry *debug_dir;\n#endif\n",
    "\tstruct dentry *debug_dir;\n",
];

/// A built kernel in the cache.
pub struct Kernel {
    /// Folder with `vmlinuz`, `config` and `release`; of the shipped kernel also `modules.tar.zst`.
    pub dir: PathBuf,
    /// What `uname -r` will say.
    pub release: String,
    /// The key of its inputs.
    pub key: String,
}

/// Builds the shipped kernel, or takes it from the cache.
pub fn build(fetched: &Fetched) -> Result<Kernel> {
    let fragments = fragments(&fragment_folder())?;
    let dir = |key: &str| Ok(crate::paths::cache()?.join("kernel").join(key));
    let variant = Variant { title: "Building the kernel", lines: 3100, version: "", modules: true };
    variant.build(fetched, "kernel 2", &fragments, dir)
}

/// Builds the kernel that only tests boot, or takes it from the cache: the shipped one with what
/// `kernel/test` adds, without modules. Where the shipped one was just built, most of its objects are used.
pub fn build_for_tests(fetched: &Fetched) -> Result<Kernel> {
    let mut fragments = fragments(&fragment_folder())?;
    fragments.extend(self::fragments(&fragment_folder().join("test"))?);
    let dir = |key: &str| Ok(crate::paths::cache()?.join("test-kernel").join(key));
    let variant =
        Variant { title: "Building the test kernel", lines: 330, version: TEST_VERSION, modules: false };
    variant.build(fetched, "test kernel 2", &fragments, dir)
}

fn fragment_folder() -> PathBuf {
    crate::paths::os_image().join("kernel")
}

/// The fragments of a folder by file name.
fn fragments(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "config") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

/// One of the kernels that are built from the same source, in the same folder.
struct Variant {
    /// What its progress bar says.
    title: &'static str,
    /// Lines its build prints. Only the bar depends on it.
    lines: u64,
    /// What is added to its version.
    version: &'static str,
    modules: bool,
}

impl Variant {
    fn build(
        &self,
        fetched: &Fetched,
        purpose: &str,
        fragments: &BTreeMap<String, String>,
        dir: impl FnOnce(&str) -> Result<PathBuf>,
    ) -> Result<Kernel> {
        let mut key = Key::new(purpose);
        key.text(&fetched.lock[SOURCE_PACKAGE].sha256);
        for (name, text) in fragments {
            key.text(name);
            key.text(text);
        }
        let key = key.finish();
        let dir = dir(&key)?;
        if !dir.join("release").exists() {
            self.compile(fetched, fragments, &dir)?;
        }
        let release = fs::read_to_string(dir.join("release"))?.trim().to_owned();
        Ok(Kernel { dir, release, key })
    }

    fn compile(&self, fetched: &Fetched, fragments: &BTreeMap<String, String>, result: &Path) -> Result<()> {
        let source = unpack_source(fetched)?;
        let build = crate::paths::output().join("kernel/build");
        fs::create_dir_all(&build)?;
        self.configure(&source, &build, fragments)?;
        self.make_all(&source, &build)?;
        let release = process::output(self.make(&source, &build).args(["-s", "kernelrelease"]))?;
        self.collect(&source, &build, release.trim(), result)
    }

    /// `make` with what would differ between machines held fixed.
    fn make(&self, source: &Path, build: &Path) -> Command {
        // The test kernel is built while machines under test run, which must not be late.
        let mut command = Command::new("nice");
        command.args(["-n", if self.modules { "0" } else { "5" }, "make"]);
        command.arg("-C").arg(source).arg(format!("O={}", build.display()));
        command.arg(format!("LOCALVERSION={}", self.version));
        command
            .env("KBUILD_BUILD_TIMESTAMP", "@0")
            .env("KBUILD_BUILD_VERSION", "1")
            .env("KBUILD_BUILD_USER", "corten")
            .env("KBUILD_BUILD_HOST", "corten");
        command.env("LC_ALL", "C");
        command
    }

    fn configure(&self, source: &Path, build: &Path, fragments: &BTreeMap<String, String>) -> Result<()> {
        process::run(self.make(source, build).args(["-s", "tinyconfig"]))?;
        let path = build.join(".config");
        let mut text = fs::read_to_string(&path)?;
        for fragment in fragments.values() {
            text.push_str(fragment);
        }
        fs::write(&path, text)?;
        process::run(self.make(source, build).args(["-s", "olddefconfig"]))?;
        let took = fs::read_to_string(&path)?;
        let missing = without_effect(fragments, &took);
        if missing.is_empty() {
            return Ok(());
        }
        bail!("these fragment lines did not take effect (an unmet dependency?):\n  {}", missing.join("\n  "))
    }

    fn make_all(&self, source: &Path, build: &Path) -> Result<()> {
        let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let mut step = Step::begin(self.title, self.lines);
        let mut count = 0;
        let mut command = self.make(source, build);
        command.arg(format!("-j{jobs}")).arg("bzImage").args(self.modules.then_some("modules"));
        process::lines(&command, |line| {
            count += 1;
            step.at(self.lines.min(count), line.trim().rsplit('/').next().unwrap_or_default());
        })?;
        step.done(if self.modules { "bzImage and modules" } else { "bzImage" });
        Ok(())
    }

    fn collect(&self, source: &Path, build: &Path, release: &str, result: &Path) -> Result<()> {
        let partial = result.with_extension("partial");
        cache::clear_folder(&partial)?;
        fs::create_dir_all(&partial)?;
        if self.modules {
            self.collect_modules(source, build, release, &partial)?;
        }
        fs::copy(build.join("arch/x86/boot/bzImage"), partial.join("vmlinuz"))?;
        fs::copy(build.join(".config"), partial.join("config"))?;
        cache::write_atomic(&partial.join("release"), release.as_bytes())?;
        match fs::rename(&partial, result) {
            // Another build of the same inputs was faster: what it kept is as good.
            Err(_) if result.join("release").exists() => cache::clear_folder(&partial),
            kept => kept.with_context(|| format!("keeping the kernel in {}", result.display())),
        }
    }

    fn collect_modules(&self, source: &Path, build: &Path, release: &str, result: &Path) -> Result<()> {
        let stage = result.join("stage");
        fs::create_dir_all(&stage)?;
        process::run(self.make(source, build).args([
            "-s",
            "modules_install",
            "INSTALL_MOD_STRIP=1",
            "DEPMOD=true",
            &format!("INSTALL_MOD_PATH={}", stage.display()),
        ]))?;
        for link in ["build", "source"] {
            let path = stage.join("lib/modules").join(release).join(link);
            cache::clear_file(&path)?;
        }
        let file = fs::File::create(result.join("modules.tar.zst"))?;
        let mut tar = tar::Builder::new(zstd::Encoder::new(file, 10)?.auto_finish());
        tar.follow_symlinks(false);
        tar.append_dir_all("lib", stage.join("lib"))?;
        tar.into_inner()?;
        fs::remove_dir_all(&stage)?;
        Ok(())
    }
}

fn unpack_source(fetched: &Fetched) -> Result<PathBuf> {
    let sha256 = &fetched.lock[SOURCE_PACKAGE].sha256;
    let parent = crate::paths::output().join("kernel");
    let done = parent.join(format!("source-2-{}", &sha256[..16]));
    if done.exists() {
        return Ok(done);
    }
    let step = Step::begin("Unpacking the kernel source", 0);
    let partial = parent.join("source-partial");
    cache::clear_folder(&partial)?;
    fs::create_dir_all(&partial)?;
    let archive = format!("usr/src/{SOURCE_PACKAGE}.tar.xz");
    deb::unpack(&fetched.file(SOURCE_PACKAGE)?, &partial, &|path| {
        archive.starts_with(path) || path == archive
    })?;
    process::run(Command::new("tar").arg("-xf").arg(partial.join(&archive)).arg("-C").arg(&partial))?;
    keep_member(&partial.join(SOURCE_PACKAGE))?;
    fs::rename(partial.join(SOURCE_PACKAGE), &done)?;
    fs::remove_dir_all(&partial)?;
    step.done(SOURCE_PACKAGE);
    Ok(done)
}

fn keep_member(source: &Path) -> Result<()> {
    let [file, with_debugfs, always] = DEBUGFS_MEMBER;
    let path = source.join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    ensure!(text.contains(with_debugfs), "{} has no member debug_dir of debugfs alone", path.display());
    fs::write(&path, text.replacen(with_debugfs, always, 1))?;
    Ok(())
}

/// Fragment lines that do not stand in the final configuration, with the file that has them.
fn without_effect(fragments: &BTreeMap<String, String>, config: &str) -> Vec<String> {
    let lines: std::collections::BTreeSet<&str> = config.lines().collect();
    let mut missing = Vec::new();
    for (name, text) in fragments {
        for line in text.lines().map(str::trim) {
            let sets = line.starts_with("CONFIG_");
            let unset = line.strip_prefix("# ").and_then(|l| l.strip_suffix(" is not set"));
            // A symbol that is off is absent when its dependencies are off as well.
            let absent = unset.is_some_and(|symbol| !config.contains(&format!("{symbol}=")));
            if (sets && !lines.contains(line)) || (unset.is_some() && !absent) {
                missing.push(format!("{name}: {line}"));
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_took_no_effect_is_named_with_its_file() {
        let fragments = BTreeMap::from([(
            "a.config".to_owned(),
            "# comment\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\n# CONFIG_D is not set\n".to_owned(),
        )]);
        let missing = without_effect(&fragments, "CONFIG_A=y\nCONFIG_B=y\nCONFIG_D=y\n");
        assert_eq!(missing, ["a.config: CONFIG_B=m", "a.config: # CONFIG_D is not set"]);
    }

    #[test]
    fn no_symbol_is_set_twice() {
        let mut seen = BTreeMap::new();
        let all = fragments(&fragment_folder()).unwrap();
        let of_tests = fragments(&fragment_folder().join("test")).unwrap();
        assert!(of_tests.keys().all(|name| !all.contains_key(name)), "a fragment of the same name");
        for (name, text) in all.into_iter().chain(of_tests) {
            for line in text.lines().filter(|line| line.starts_with("CONFIG_")) {
                let symbol = line.split('=').next().unwrap().to_owned();
                let other = seen.insert(symbol.clone(), name.clone());
                assert!(other.is_none(), "{symbol} stands in {name} and in {other:?}");
            }
        }
    }
}
