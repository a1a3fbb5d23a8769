//! The partitions that the switch writes to, and the records on them.
//!
//! Nothing tells that a partition fills up, so it is looked at where something else is: at each look, after each change,
//! when somebody asks for alarms; and by time only while one is full.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use netd_api::alarm::AlarmKind;
use nix::sys::statvfs::statvfs;

use crate::alarms::Condition;
use crate::engine::Engine;

/// A partition is full when less than one in so many bytes is free, and is no more once more than one in so many is.
const FULL: [u64; 2] = [50, 25];
const MIB: u64 = 1 << 20;

/// Bytes of the partition that is mounted there: all, and those that are free for netd. `None` where none is, or not
/// yet: netd starts early, and the sealed root has no room at all.
fn room(path: &Path) -> Option<(u64, u64)> {
    let device = |path: &Path| Some(fs::metadata(path).ok()?.dev());
    if device(path)? == device(Path::new("/"))? {
        return None;
    }
    let found = statvfs(path).ok()?;
    let unit = found.fragment_size();
    Some((found.blocks() * unit, found.blocks_free() * unit)).filter(|(size, _)| *size > 0)
}

fn is_full(was_full: bool, (size, free): (u64, u64)) -> bool {
    let [begins, ends] = FULL;
    free < size / if was_full { ends } else { begins }
}

impl Engine {
    /// Brings alarms in line with how full the partitions are.
    pub(super) fn check_storage(&mut self) {
        let config = self.paths.startup.parent().unwrap_or(Path::new("/"));
        let partitions = [
            ("config", config, "changes of the configuration may be refused"),
            ("data", self.paths.data.as_path(), "images and logs have no room"),
        ];
        let mut full = Vec::new();
        for (object, path, outcome) in partitions {
            let Some(room) = room(path) else { continue };
            if is_full(self.alarms.holds(AlarmKind::StorageFull, object), room) {
                let (size, free) = room;
                let text = format!("{} MiB of {} MiB left: {outcome}", free / MIB, size / MIB);
                full.push(match object {
                    "config" => Condition::critical(AlarmKind::StorageFull, object, text).try_this("history"),
                    _ => Condition::warning(AlarmKind::StorageFull, object, text).try_this("log"),
                });
            }
        }
        self.alarms.report(&[AlarmKind::StorageFull], full);
    }

    /// Whether a partition is told to be full.
    pub(super) fn is_storage_full(&self) -> bool {
        self.alarms.holds_any(AlarmKind::StorageFull)
    }

    /// Brings alarms in line with which generations' records can be read: those of the others may have been taken back,
    /// so nothing goes back to them by itself.
    pub(super) fn check_records(&mut self) {
        let unreadable = self.store.unreadable_records().into_iter().map(|number| {
            let text = "its record cannot be read: nothing goes back to it by itself";
            let condition =
                Condition::warning(AlarmKind::RecordUnreadable, format!("generation {number}"), text);
            condition.try_this(format!("config {number}"))
        });
        let unreadable: Vec<Condition> = unreadable.collect();
        self.alarms.report(&[AlarmKind::RecordUnreadable], unreadable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_is_full_until_twice_as_much_is_free() {
        let full = |was_full, free| is_full(was_full, (1000, free));
        assert_eq!(
            [full(false, 20), full(false, 19), full(true, 39), full(true, 40)],
            [false, true, true, false]
        );
        assert!(room(Path::new("/")).is_none(), "the root is no partition of netd's");
        assert!(room(Path::new("/no/such/folder")).is_none());
    }
}
