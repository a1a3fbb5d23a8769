//! Our own programs, built for release against the image's C library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::progress::Step;

/// Package and program of each of ours.
const PROGRAMS: &[(&str, &str)] = &[
    ("netd", "netd"),
    ("corten-console", "corten"),
    ("containerd-shim-corten", "containerd-shim-corten-v1"),
    ("corten-system", "corten-system"),
];

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Built programs by name.
pub struct Binaries {
    /// Name and file.
    pub files: BTreeMap<String, PathBuf>,
}

/// The packages of the product, for the bill of materials.
pub fn packages() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|(package, _)| *package)
}

/// Builds the programs; cargo decides what is still good.
pub fn build(sysroot: &Path) -> Result<Binaries> {
    let workspace = crate::paths::workspace();
    let target_dir = crate::paths::output().join("cargo");
    let step = Step::begin("Building the programs", 0);
    let mut command = process::cargo();
    command.args(["build", "--release", "--locked", "--target", TARGET]);
    for (package, _) in PROGRAMS {
        command.args(["--package", package]);
    }
    let mut flags = format!("-Clink-arg=--sysroot={}", sysroot.display());
    flags.push_str(&format!(" --remap-path-prefix={}=/corten", workspace.display()));
    if let Some(home) = cargo_home() {
        flags.push_str(&format!(" --remap-path-prefix={}=/cargo", home.display()));
    }
    command
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("RUSTFLAGS", flags)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::compile(&command).context("the programs did not build")?;
    let release = target_dir.join(TARGET).join("release");
    let mut files = BTreeMap::new();
    for (_, program) in PROGRAMS {
        let file = release.join(program);
        if !file.exists() {
            bail!("cargo built no {}", file.display());
        }
        files.insert((*program).to_owned(), file);
    }
    step.done(&files.keys().cloned().collect::<Vec<_>>().join(", "));
    Ok(Binaries { files })
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
}
