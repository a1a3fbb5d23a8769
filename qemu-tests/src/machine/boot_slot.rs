//! What GRUB would pass to the kernel of slot A of an image: for booting another kernel on the same root.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Reads a file of an ext2 file system that lies somewhere in an image; part of e2fsprogs.
const DEBUGFS: &str = "/usr/sbin/debugfs";
/// The slot that a fresh image has filled.
const SLOT: &str = "a";

/// The kernel's command line, as the image's own boot menu has it.
pub(super) fn command_line(image: &Path) -> Result<String> {
    let menu = file(image, "CORTEN-GRUB", "/grub/grub.cfg")?;
    let slot = file(image, &format!("boot-{SLOT}"), "/slot.cfg")?;
    expand(&menu, &slot)
        .with_context(|| format!("the boot menu of {} is not as expected:\n{menu}\n{slot}", image.display()))
}

/// A file of a partition's ext2 file system.
fn file(image: &Path, label: &str, path: &str) -> Result<String> {
    let disk = gpt::GptConfig::new().open(image).with_context(|| format!("reading {}", image.display()))?;
    let partition = disk.partitions().values().find(|partition| partition.name == label);
    let partition = partition.with_context(|| format!("{} has no partition {label}", image.display()))?;
    let offset = partition.bytes_start(*disk.logical_block_size())?;
    let mut command = Command::new(DEBUGFS);
    command.args(["-R", &format!("cat {path}")]).arg(format!("{}?offset={offset}", image.display()));
    let output = command.output().with_context(|| format!("cannot run {DEBUGFS}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // It succeeds whatever happens.
    ensure!(!text.is_empty(), "{path} of {label}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(text)
}

/// The arguments of the menu's `linux` command, variables replaced by what the slot sets them to. An argument
/// with blanks keeps its quotes: GRUB hands them on as well.
fn expand(menu: &str, slot: &str) -> Option<String> {
    let joined = menu.replace("\\\n", " ");
    let line = joined.lines().find_map(|line| line.trim().strip_prefix("linux ($slot)/vmlinuz "))?;
    let set = slot.lines().filter_map(|line| line.strip_prefix("set ")?.split_once('='));
    let mut variables: BTreeMap<&str, &str> = set.collect();
    variables.insert("1", SLOT);
    let mut parts = line.split('$');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        text += variables.get(&part[..end])?;
        text += &part[end..];
    }
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_gets_the_command_line_the_boot_menu_would_pass() {
        let menu = "function boot_corten {\n    source ($slot)/slot.cfg\n    linux ($slot)/vmlinuz \\\n        \
                    \"dm-mod.create=vroot,,,ro,0 $corten_sectors verity 1 PARTLABEL=root-$1\" \\\n        \
                    root=/dev/dm-0 corten.slot=$1\n}\n";
        let line = expand(menu, "set corten_sectors=80\nset corten_salt=ab\n");
        assert_eq!(
            line.as_deref(),
            Some("\"dm-mod.create=vroot,,,ro,0 80 verity 1 PARTLABEL=root-a\" root=/dev/dm-0 corten.slot=a")
        );
        assert_eq!(expand(menu, ""), None, "a variable without a value");
        assert_eq!(expand("", ""), None, "a menu without a kernel");
    }
}
