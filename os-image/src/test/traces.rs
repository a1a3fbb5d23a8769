//! What tests may leave on this host beside processes, which the guard sees to: memory files, sockets, network namespaces
//! and temporary folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use qemu_tests::results::Row;

use crate::guard;

/// What is there.
pub struct Traces(BTreeSet<PathBuf>);

impl Traces {
    /// Looks.
    pub fn now() -> Traces {
        let (temporary, guards) = (std::env::temp_dir(), guard::prefix(std::process::id()));
        let ours = [Path::new("/dev/shm"), &temporary].map(|folder| entries(folder, &guards));
        // Nobody else has shims of ours here, whose sockets have hashes for names.
        let shims = ["/run/containerd/s", "/run/corten/shim"].map(|folder| entries(Path::new(folder), ""));
        let named = entries(Path::new("/run/netns"), "corten");
        Traces(ours.into_iter().chain(shims).chain([named]).flatten().collect())
    }

    /// The failure of a run that left what was not there before.
    pub fn left(&self, now: &Traces) -> Option<Row> {
        let left: Vec<String> = now.0.difference(&self.0).map(|path| path.display().to_string()).collect();
        (!left.is_empty()).then(|| Row::failure("a run leaves nothing on the host", &left.join("\n")))
    }
}

/// What is in a folder, if there is one, and has a name that begins so.
fn entries(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_meant = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(begin);
    entries.filter(is_meant).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_left_is_named_and_what_was_there_before_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let look = || Traces(entries(folder.path(), "corten-").into_iter().collect());
        fs::write(folder.path().join("corten-before"), "").unwrap();
        let before = look();
        fs::write(folder.path().join("of-others"), "").unwrap();
        assert!(before.left(&look()).is_none());
        let left = folder.path().join("corten-left");
        fs::write(&left, "").unwrap();
        let row = before.left(&look()).expect("a file is left");
        assert!(row.failed() && row.detail == left.display().to_string(), "{row:?}");
    }

    #[test]
    fn memory_files_are_looked_at() {
        let prefix = guard::prefix(std::process::id());
        let file = tempfile::Builder::new().prefix(&prefix).tempfile_in("/dev/shm").unwrap();
        assert!(Traces::now().0.contains(file.path()));
    }
}
