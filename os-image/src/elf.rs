//! Every program and library of a root finds the shared libraries it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::read::elf::{Dyn, ElfFile64, FileHeader};
use object::{Endianness, elf};
use walkdir::WalkDir;

/// Folders the root's loader searches, and where systemd's programs look beside them (their RUNPATH).
const SEARCH: &[&str] =
    &["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib", "usr/lib64"];

/// Fails with each missing library and the files that need it.
pub fn check_libraries(root: &Path) -> Result<()> {
    let mut there = BTreeSet::new();
    for dir in SEARCH {
        let Ok(entries) = fs::read_dir(root.join(dir)) else { continue };
        there.extend(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }
    let mut missing = BTreeSet::new();
    for entry in WalkDir::new(root.join("usr")).sort_by_file_name() {
        let entry = entry?;
        if !entry.file_type().is_file() || entry.path().extension().is_some_and(|e| e == "ko") {
            continue;
        }
        let data = fs::read(entry.path()).with_context(|| format!("reading {}", entry.path().display()))?;
        for library in needed(&data) {
            if !there.contains(&library) {
                let user = entry.path().strip_prefix(root).unwrap_or(entry.path());
                missing.insert(format!("{library}, needed by /{}", user.display()));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("libraries are missing:\n  {}", missing.into_iter().collect::<Vec<_>>().join("\n  "))
}

/// The names of a file's `DT_NEEDED` entries; none for what is no dynamic ELF file.
fn needed(data: &[u8]) -> Vec<String> {
    if !data.starts_with(&elf::ELFMAG) {
        return Vec::new();
    }
    let Ok(file) = ElfFile64::<Endianness>::parse(data) else { return Vec::new() };
    let endian = file.endian();
    let Ok(sections) = file.elf_header().sections(endian, data) else { return Vec::new() };
    let Ok(Some((entries, strings))) = sections.dynamic(endian, data) else { return Vec::new() };
    let Ok(strings) = sections.strings(endian, data, strings) else { return Vec::new() };
    entries
        .iter()
        .filter(|entry| entry.d_tag(endian) == elf::DT_NEEDED)
        .filter_map(|entry| entry.string(endian, strings).ok())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_needs_the_c_library() {
        let data = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(needed(&data).iter().any(|name| name == "libc.so.6"));
    }

    #[test]
    fn text_needs_nothing() {
        assert!(needed(b"#!/bin/sh\n").is_empty());
    }
}
