//! The manifest: versions, sizes and hashes of what was built.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::apt::Fetched;
use crate::base::Base;
use crate::binaries::Binaries;
use crate::cache;
use crate::erofs::SealedRoot;
use crate::kernel::Kernel;
use crate::layout;

/// What an image was made of.
pub struct Parts<'a> {
    /// The disk image.
    pub image: &'a Path,
    /// The base system.
    pub base: &'a Base,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Our programs.
    pub binaries: &'a Binaries,
    /// The sealed root file system.
    pub root: &'a SealedRoot,
    /// The packages.
    pub fetched: &'a Fetched,
    /// Names of packages that are not what the lock file pins.
    pub unlocked: &'a [String],
    /// The key of all inputs.
    pub key: &'a str,
}

/// The manifest of a finished image.
pub fn document(parts: &Parts<'_>) -> Result<Value> {
    let Parts { image, base, kernel, binaries, root, fetched, unlocked, key } = *parts;
    let mut programs = serde_json::Map::new();
    for (name, file) in &binaries.files {
        programs.insert(name.clone(), artifact(file)?);
    }
    let packages: serde_json::Map<String, Value> =
        base.components.iter().map(|c| (c.name.clone(), json!(c.version))).collect();
    let partitions: Vec<Value> = layout::offsets()
        .map(|(p, offset)| json!({ "label": p.label, "offset_bytes": offset, "size_bytes": p.bytes }))
        .collect();
    Ok(json!({
        "name": "corten",
        "version": env!("CARGO_PKG_VERSION"),
        "architecture": "x86_64",
        "key": key,
        "locked": unlocked.is_empty(),
        "unlocked": unlocked,
        "image": artifact(image)?,
        "allocated_bytes": allocated(image)?,
        "kernel": {
            "release": kernel.release,
            "source": fetched.lock[crate::kernel::SOURCE_PACKAGE].version,
            "vmlinuz": artifact(&kernel.dir.join("vmlinuz"))?,
        },
        "root": {
            "erofs_bytes": root.erofs_bytes,
            "sealed_bytes": root.bytes()?,
            "root_hash": root.root_hash,
            "sha256": cache::sha256_of(&root.file)?,
        },
        "programs": programs,
        "packages": packages,
        "partitions": partitions,
    }))
}

fn artifact(path: &Path) -> Result<Value> {
    let bytes = std::fs::metadata(path)?.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(json!({ "file": name, "bytes": bytes, "sha256": cache::sha256_of(path)? }))
}

/// Bytes the sparse image really takes.
fn allocated(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata(path)?.blocks() * 512)
}
