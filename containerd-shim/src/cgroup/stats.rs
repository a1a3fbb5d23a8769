//! Reads a cgroup's counters into containerd's metrics message. File formats: Linux
//! `Documentation/admin-guide/cgroup-v2.rst`. A file that is missing (no such controller) leaves its part
//! of the message out.

use std::fs;
use std::path::Path;

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PidsStat,
};
use containerd_shim_protos::protobuf::MessageField;

/// `KEY VALUE` lines; lines of another form are left out.
pub fn flat_keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// A file with one number, or `max` for none, which containerd knows as the largest number.
fn single(folder: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(folder.join(name)).ok()?;
    match text.trim() {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Collects the counters of a cgroup.
pub fn read(folder: &Path) -> Metrics {
    Metrics {
        pids: MessageField::from_option(pids(folder)),
        cpu: MessageField::from_option(cpu(folder)),
        memory: MessageField::from_option(memory(folder)),
        memory_events: MessageField::from_option(memory_events(folder)),
        io: MessageField::from_option(io(folder)),
        ..Default::default()
    }
}

fn pids(folder: &Path) -> Option<PidsStat> {
    Some(PidsStat {
        current: single(folder, "pids.current")?,
        limit: single(folder, "pids.max").unwrap_or(u64::MAX),
        ..Default::default()
    })
}

fn cpu(folder: &Path) -> Option<CPUStat> {
    let text = fs::read_to_string(folder.join("cpu.stat")).ok()?;
    let mut stat = CPUStat::default();
    for (key, value) in flat_keyed(&text) {
        let field = match key {
            "usage_usec" => &mut stat.usage_usec,
            "user_usec" => &mut stat.user_usec,
            "system_usec" => &mut stat.system_usec,
            "nr_periods" => &mut stat.nr_periods,
            "nr_throttled" => &mut stat.nr_throttled,
            "throttled_usec" => &mut stat.throttled_usec,
            "nr_bursts" => &mut stat.nr_bursts,
            "burst_usec" => &mut stat.burst_usec,
            _ => continue,
        };
        *field = value;
    }
    Some(stat)
}

fn memory(folder: &Path) -> Option<MemoryStat> {
    let mut stat = MemoryStat { usage: single(folder, "memory.current")?, ..Default::default() };
    stat.usage_limit = single(folder, "memory.max").unwrap_or(u64::MAX);
    stat.max_usage = single(folder, "memory.peak").unwrap_or(0);
    stat.swap_usage = single(folder, "memory.swap.current").unwrap_or(0);
    stat.swap_limit = single(folder, "memory.swap.max").unwrap_or(0);
    stat.swap_max_usage = single(folder, "memory.swap.peak").unwrap_or(0);
    let text = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    for (key, value) in flat_keyed(&text) {
        if let Some(field) = memory_field(&mut stat, key) {
            *field = value;
        }
    }
    Some(stat)
}

fn memory_field<'a>(stat: &'a mut MemoryStat, key: &str) -> Option<&'a mut u64> {
    Some(match key {
        "anon" => &mut stat.anon,
        "file" => &mut stat.file,
        "kernel_stack" => &mut stat.kernel_stack,
        "slab" => &mut stat.slab,
        "sock" => &mut stat.sock,
        "shmem" => &mut stat.shmem,
        "file_mapped" => &mut stat.file_mapped,
        "file_dirty" => &mut stat.file_dirty,
        "file_writeback" => &mut stat.file_writeback,
        "anon_thp" => &mut stat.anon_thp,
        "inactive_anon" => &mut stat.inactive_anon,
        "active_anon" => &mut stat.active_anon,
        "inactive_file" => &mut stat.inactive_file,
        "active_file" => &mut stat.active_file,
        "unevictable" => &mut stat.unevictable,
        "slab_reclaimable" => &mut stat.slab_reclaimable,
        "slab_unreclaimable" => &mut stat.slab_unreclaimable,
        "pgfault" => &mut stat.pgfault,
        "pgmajfault" => &mut stat.pgmajfault,
        "workingset_nodereclaim" => &mut stat.workingset_nodereclaim,
        "pgrefill" => &mut stat.pgrefill,
        "pgscan" => &mut stat.pgscan,
        "pgsteal" => &mut stat.pgsteal,
        "pgactivate" => &mut stat.pgactivate,
        "pgdeactivate" => &mut stat.pgdeactivate,
        "pglazyfree" => &mut stat.pglazyfree,
        "pglazyfreed" => &mut stat.pglazyfreed,
        "thp_fault_alloc" => &mut stat.thp_fault_alloc,
        "thp_collapse_alloc" => &mut stat.thp_collapse_alloc,
        _ => return None,
    })
}

fn memory_events(folder: &Path) -> Option<MemoryEvents> {
    let text = fs::read_to_string(folder.join("memory.events")).ok()?;
    let mut events = MemoryEvents::default();
    for (key, value) in flat_keyed(&text) {
        let field = match key {
            "low" => &mut events.low,
            "high" => &mut events.high,
            "max" => &mut events.max,
            "oom" => &mut events.oom,
            "oom_kill" => &mut events.oom_kill,
            "oom_group_kill" => &mut events.oom_group_kill,
            _ => continue,
        };
        *field = value;
    }
    Some(events)
}

/// `MAJOR:MINOR rbytes=… wbytes=… rios=… wios=… …`, one line a device.
fn io(folder: &Path) -> Option<IOStat> {
    let text = fs::read_to_string(folder.join("io.stat")).ok()?;
    Some(IOStat { usage: text.lines().filter_map(io_line).collect(), ..Default::default() })
}

fn io_line(line: &str) -> Option<IOEntry> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let mut entry = IOEntry { major: major.parse().ok()?, minor: minor.parse().ok()?, ..Default::default() };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let field = match key {
            "rbytes" => &mut entry.rbytes,
            "wbytes" => &mut entry.wbytes,
            "rios" => &mut entry.rios,
            "wios" => &mut entry.wios,
            _ => continue,
        };
        *field = value.parse().unwrap_or(0);
    }
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Metrics {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cgroup").join(name))
    }

    #[test]
    fn counters_of_a_limited_workload() {
        let metrics = fixture("limited");
        assert_eq!((metrics.pids.current, metrics.pids.limit), (3, 64));
        assert_eq!((metrics.cpu.usage_usec, metrics.cpu.throttled_usec), (5_120_345, 900));
        assert_eq!((metrics.memory.usage, metrics.memory.usage_limit), (12_582_912, 134_217_728));
        assert_eq!((metrics.memory.anon, metrics.memory.pgmajfault), (8_388_608, 7));
        assert_eq!((metrics.memory_events.oom, metrics.memory_events.oom_kill), (2, 1));
        assert_eq!(metrics.io.usage.len(), 2);
        assert_eq!((metrics.io.usage[0].major, metrics.io.usage[0].minor), (254, 0));
        assert_eq!((metrics.io.usage[0].rbytes, metrics.io.usage[0].wios), (40_960, 2));
    }

    #[test]
    fn no_limit_is_the_largest_number() {
        let metrics = fixture("unlimited");
        assert_eq!((metrics.pids.limit, metrics.memory.usage_limit), (u64::MAX, u64::MAX));
    }

    #[test]
    fn missing_controllers_and_garbage_leave_parts_out() {
        let metrics = fixture("damaged");
        assert!(metrics.pids.is_none() && metrics.memory.is_none());
        assert_eq!(metrics.cpu.usage_usec, 7);
        assert!(metrics.io.usage.is_empty());
    }
}
