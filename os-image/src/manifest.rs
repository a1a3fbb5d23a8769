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

/// The manifest of a finished image.
pub fn document(
    image: &Path,
    base: &Base,
    kernel: &Kernel,
    binaries: &Binaries,
    root: &SealedRoot,
    fetched: &Fetched,
    key: &str,
) -> Result<Value> {
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
        "locked": fetched.unlocked.is_empty(),
        "unlocked": fetched.unlocked,
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
