//! Main memory and disk space for machines.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::statvfs::statvfs;

/// Memory that a lane's machine takes, and what templates and the host need besides.
const LANE_MIB: u64 = 1200;
const SPARE_MIB: u64 = 1500;
/// Disk space that the overlays, states and logs of a run take at most, and what a failure cannot do without.
const DISK_MIB: u64 = 2048;
const DISK_FULL_MIB: u64 = 64;

/// As many lanes as wanted and as main memory allows; one more machine is for those that wait.
pub fn affordable_lanes(requested: usize) -> usize {
    let Ok(available) = available_mib() else { return requested };
    let most = lanes_within(available);
    if most < requested {
        println!("{available} MiB of memory are free, enough for {most} lane(s) instead of {requested}");
    }
    requested.min(most)
}

/// How many lanes fit into so much memory. One is always tried.
fn lanes_within(available_mib: u64) -> usize {
    (available_mib.saturating_sub(SPARE_MIB) / LANE_MIB).saturating_sub(1).max(1) as usize
}

/// Main memory that this process could have, in MiB: what the host has left, or its control groups leave.
fn available_mib() -> Result<u64> {
    let table = std::fs::read_to_string("/proc/meminfo")?;
    let line = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: u64 =
        line.and_then(|line| line.split_whitespace().next()).context("no MemAvailable")?.parse()?;
    ensure!(kib > 0, "no memory is free");
    let groups = std::fs::read_to_string("/proc/self/cgroup")?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let left = left_in_groups_mib(Path::new("/sys/fs/cgroup"), group);
    Ok(left.map_or(kib / 1024, |left| left.min(kib / 1024)))
}

/// What a control group (version 2) and those it is in leave, in MiB; `None` where none has a limit. A container
/// often sees its own group as the root.
fn left_in_groups_mib(root: &Path, group: &str) -> Option<u64> {
    let folder = root.join(group);
    let folders = folder.ancestors().take_while(|folder| folder.starts_with(root));
    let number = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let left = |folder: &Path| {
        let limit = number(&folder.join("memory.max"))?;
        let statistics = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        // The kernel drops these pages before it refuses memory.
        let cache = statistics.lines().find_map(|line| line.strip_prefix("inactive_file "));
        let cache: u64 = cache.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or_default();
        let used = number(&folder.join("memory.current"))?.saturating_sub(cache);
        Some(limit.saturating_sub(used) / (1024 * 1024))
    };
    folders.filter_map(left).min()
}

/// Refuses a run for which the folder of temporary files has no room.
pub fn ensure_disk() -> Result<()> {
    let folder = std::env::temp_dir();
    let free = free_mib(&folder)?;
    if free < DISK_MIB {
        bail!("{} has {free} MiB left, and a run needs {DISK_MIB}; $TMPDIR names another", folder.display());
    }
    Ok(())
}

/// Says that the folder of temporary files is full, where that explains a failure: QEMU stops a machine whose disk
/// finds no room, so that all it is asked for comes too late.
pub fn full_disk() -> Option<String> {
    let folder = std::env::temp_dir();
    let free = free_mib(&folder).ok()?;
    (free < DISK_FULL_MIB)
        .then(|| format!("{} has {free} MiB left: machines stop until there is room", folder.display()))
}

fn free_mib(folder: &Path) -> Result<u64> {
    let state = statvfs(folder).with_context(|| format!("cannot see the room in {}", folder.display()))?;
    Ok(state.blocks_available() * state.fragment_size() / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn too_little_memory_for_two_lanes_leaves_one() {
        assert_eq!([0, 3000, 4800, 6000, 24_000].map(lanes_within), [1, 1, 1, 2, 17]);
    }

    #[test]
    fn tightest_control_group_decides() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let left = |group: &str| left_in_groups_mib(root.path(), group);
        assert_eq!(left("a/b"), None, "no group has a limit");
        write("memory.current", "5000000000\n");
        write("a/memory.max", "4294967296\n");
        write("a/memory.current", "3221225472\n");
        write("a/memory.stat", "anon 1\ninactive_file 536870912\n");
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "1\n");
        assert_eq!((left("a/b"), left("a"), left("")), (Some(1536), Some(1536), None));
        write("memory.max", "5000000000\n");
        assert_eq!(left("a/b"), Some(0));
    }

    #[test]
    fn free_space_is_that_of_the_folder() {
        assert!(free_mib(Path::new("/no such folder")).is_err());
        assert_eq!(free_mib(Path::new("/proc")).unwrap(), 0);
    }
}
