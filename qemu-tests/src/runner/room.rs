//! Main memory and disk space for machines.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;

/// Memory that a lane's machine takes, and what templates and the host need besides.
const LANE_MIB: u64 = 1200;
const SPARE_MIB: u64 = 1500;
/// Disk space that the overlays, states and logs of a run take at most, and what a failure cannot do without.
const DISK_MIB: u64 = 2048;
const DISK_FULL_MIB: u64 = 64;

/// What a run has room for.
pub struct Room {
    /// Lanes; one more machine is for chains that wait, where there are several.
    pub lanes: usize,
    /// Why these are fewer than were asked for.
    pub notes: Vec<String>,
}

impl Room {
    /// As many lanes as main memory and the folder of temporary files allow.
    pub fn for_lanes(requested: usize) -> Room {
        let folder = std::env::temp_dir();
        Room::within(requested, available_mib().ok(), free_mib(&folder).ok(), &folder)
    }

    fn within(requested: usize, memory_mib: Option<u64>, disk_mib: Option<u64>, folder: &Path) -> Room {
        let mut room = Room { lanes: requested, notes: Vec::new() };
        if let Some(free) = memory_mib {
            let most = lanes_within(free);
            if most < room.lanes {
                let note = format!("{free} MiB of memory are free: {most} lane(s) instead of {requested}");
                room.notes.push(note);
                room.lanes = most;
            }
        }
        if let Some(free) = disk_mib.filter(|free| *free < DISK_MIB) {
            room.notes.push(format!(
                "{} has {free} MiB left, and a run may take {DISK_MIB}: one lane; templates that find no room are \
                 done without, machines stop; $TMPDIR names another folder",
                folder.display()
            ));
            room.lanes = 1;
        }
        room
    }
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
    Ok(left_by(&groups, Path::new("/sys/fs/cgroup")).map_or(kib / 1024, |left| left.min(kib / 1024)))
}

/// What the control groups of a process leave, as /proc/self/cgroup names them, in MiB; `None` where none has a limit.
fn left_by(groups: &str, mounted: &Path) -> Option<u64> {
    let left = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        match controllers {
            "" => left_in_groups_mib(mounted, group, &VERSION_2),
            _ if controllers.split(',').any(|name| name == "memory") => {
                left_in_groups_mib(&mounted.join("memory"), group, &VERSION_1)
            }
            _ => None,
        }
    });
    left.min()
}

/// How the files of a version of control groups are called.
struct Version {
    limit: &'static str,
    used: &'static str,
    /// What stands before the cache in `memory.stat`.
    cache: &'static str,
}

const VERSION_1: Version =
    Version { limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", cache: "total_inactive_file " };
const VERSION_2: Version = Version { limit: "memory.max", used: "memory.current", cache: "inactive_file " };

/// What a control group and those it is in leave, in MiB; `None` where none has a limit. A container often sees its
/// own group as the root.
fn left_in_groups_mib(root: &Path, group: &str, version: &Version) -> Option<u64> {
    let folder = root.join(group.trim_start_matches('/'));
    let folders = folder.ancestors().take_while(|folder| folder.starts_with(root));
    let number = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let left = |folder: &Path| {
        // Version 1 has the largest number of pages there is for no limit.
        let limit = number(&folder.join(version.limit)).filter(|limit| *limit < u64::MAX / 4)?;
        let statistics = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        // The kernel drops these pages before it refuses memory.
        let cache = statistics.lines().find_map(|line| line.strip_prefix(version.cache));
        let cache: u64 = cache.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or_default();
        let used = number(&folder.join(version.used))?.saturating_sub(cache);
        Some(limit.saturating_sub(used) / (1024 * 1024))
    };
    folders.filter_map(left).min()
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
    fn run_with_little_memory_has_one_lane_and_says_why() {
        let room = |memory, disk| Room::within(2, Some(memory), Some(disk), Path::new("/tmp"));
        assert_eq!((room(6000, 4000).lanes, room(6000, 4000).notes.len()), (2, 0));
        let little = room(4800, 4000);
        assert_eq!((little.lanes, little.notes.len()), (1, 1));
        assert!(little.notes[0].contains("4800 MiB of memory"), "{:?}", little.notes);
    }

    #[test]
    fn run_with_a_full_disk_has_one_lane_and_says_why() {
        let full = Room::within(2, Some(6000), Some(7), Path::new("/tmp"));
        assert_eq!((full.lanes, full.notes.len()), (1, 1));
        assert!(full.notes[0].contains("/tmp has 7 MiB left"), "{:?}", full.notes);
        let both = Room::within(4, Some(6000), Some(0), Path::new("/tmp"));
        assert_eq!((both.lanes, both.notes.len()), (1, 2));
        let unknown = Room::within(4, None, None, Path::new("/tmp"));
        assert_eq!((unknown.lanes, unknown.notes.len()), (4, 0));
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn control_groups_of_both_versions_are_read() {
        let root = tempfile::tempdir().unwrap();
        let left = || left_by("4:cpu,memory:/box/inner\n3:cpuset:/\n0::/box\n", root.path());
        assert_eq!(left(), None);
        write(root.path(), "memory/memory.limit_in_bytes", "9223372036854771712\n");
        write(root.path(), "memory/memory.usage_in_bytes", "1\n");
        assert_eq!(left(), None, "that is no limit");
        write(root.path(), "memory/box/memory.limit_in_bytes", "4294967296\n");
        write(root.path(), "memory/box/memory.usage_in_bytes", "3221225472\n");
        write(root.path(), "memory/box/memory.stat", "inactive_file 1\ntotal_inactive_file 536870912\n");
        assert_eq!(left(), Some(1536));
        write(root.path(), "box/memory.max", "1073741824\n");
        write(root.path(), "box/memory.current", "0\n");
        assert_eq!(left(), Some(1024));
    }

    #[test]
    fn tightest_control_group_decides() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| write(root.path(), path, text);
        let left = |group: &str| left_in_groups_mib(root.path(), group, &VERSION_2);
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
