//! The root file system: a compressed read-only erofs with its dm-verity hash tree behind it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::process;
use crate::progress::Step;

/// Size of a data and of a hash block, in bytes.
const BLOCK_BYTES: u64 = 4096;

/// A sealed root: what goes into a root partition, and what the boot partition must know of it.
pub struct SealedRoot {
    /// erofs, then the verity superblock and tree.
    pub file: PathBuf,
    /// erofs blocks.
    pub data_blocks: u64,
    /// Root of the hash tree, hexadecimal.
    pub root_hash: String,
    /// Salt, hexadecimal.
    pub salt: String,
    /// Bytes of the erofs alone.
    pub erofs_bytes: u64,
}

/// Packs and seals the root tree.
pub fn seal(root: &Path) -> Result<SealedRoot> {
    let file = crate::paths::output().join("root.erofs");
    let step = Step::begin("Packing the root", 0);
    cache::clear_file(&file)?;
    process::run(
        Command::new("mkfs.erofs")
            .args(["-zlz4hc,9", "-C65536", "-T0", "-U", "00000000-0000-0000-0000-000000000000", "--all-root"])
            .arg(&file)
            .arg(root),
    )?;
    let erofs_bytes = fs::metadata(&file)?.len().next_multiple_of(BLOCK_BYTES);
    fs::OpenOptions::new().write(true).open(&file)?.set_len(erofs_bytes)?;
    let said = process::output(
        Command::new("/usr/sbin/veritysetup")
            .arg("format")
            .args(["--salt", &"c0".repeat(32), "--uuid", "00000000-0000-0000-0000-000000000000"])
            .arg(format!("--hash-offset={erofs_bytes}"))
            .arg(&file)
            .arg(&file),
    )?;
    let sealed = SealedRoot {
        data_blocks: erofs_bytes / BLOCK_BYTES,
        root_hash: field(&said, "Root hash:")?,
        salt: field(&said, "Salt:")?,
        erofs_bytes,
        file,
    };
    step.done(&format!("{} MB", erofs_bytes / 1_000_000));
    Ok(sealed)
}

fn field(said: &str, name: &str) -> Result<String> {
    let value = said.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    match value.with_context(|| format!("veritysetup said no {name}"))? {
        text if !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(text.to_owned()),
        other => bail!("veritysetup said `{name} {other}`"),
    }
}

impl SealedRoot {
    /// Bytes of the file: erofs and tree.
    pub fn bytes(&self) -> Result<u64> {
        Ok(fs::metadata(&self.file)?.len())
    }

    /// The text of a boot slot's `slot.cfg`: facts for the boot loader, no commands beyond `set`.
    pub fn slot_cfg(&self) -> String {
        format!(
            "set corten_root_hash={}\nset corten_root_salt={}\nset corten_root_blocks={}\n\
             set corten_root_sectors={}\nset corten_hash_start={}\n",
            self.root_hash,
            self.salt,
            self.data_blocks,
            self.data_blocks * (BLOCK_BYTES / 512),
            // One block of superblock stands before the tree.
            self.data_blocks + 1,
        )
    }
}
