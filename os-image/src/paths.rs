//! Where things are: the workspace, the build folder, the user's cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The folder of this crate's data: package list, kernel fragments, root overlay.
pub fn os_image() -> PathBuf {
    workspace().join("os-image")
}

/// Where artifacts go: `target/os`.
pub fn output() -> PathBuf {
    workspace().join("target/os")
}

/// The disk image.
pub fn image() -> PathBuf {
    output().join("corten-x86_64.img")
}

/// The kernel that only tests boot.
pub fn test_kernel() -> PathBuf {
    output().join("test/vmlinuz")
}

/// Inputs and results worth keeping between checkouts, keyed by content: `$CORTEN_CACHE`, else
/// `$XDG_CACHE_HOME/corten`, else `~/.cache/corten`.
pub fn cache() -> Result<PathBuf> {
    let dir = if let Some(dir) = std::env::var_os("CORTEN_CACHE") {
        PathBuf::from(dir)
    } else if let Some(dir) = std::env::var_os("XDG_CACHE_HOME") {
        PathBuf::from(dir).join("corten")
    } else {
        let home = std::env::var_os("HOME").context("neither CORTEN_CACHE nor HOME is set")?;
        PathBuf::from(home).join(".cache/corten")
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("making the cache folder {}", dir.display()))?;
    Ok(dir)
}
