//! What tests may leave on this host beside processes, which the guard sees to: memory files, sockets, network namespaces
//! and temporary folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use qemu_tests::results::Row;

/// How the names of what tests make begin.
const OURS: [&str; 2] = ["corten", "netd"];

/// What is there.
pub struct Traces(BTreeSet<PathBuf>);

impl Traces {
    /// Looks.
    pub fn now() -> Traces {
        let temporary = std::env::temp_dir();
        let ours = [Path::new("/dev/shm"), Path::new("/run/netns"), &temporary];
        // Sockets of shims have hashes for names.
        let all = [Path::new("/run/containerd/s"), Path::new("/run/corten/shim")];
        let ours = ours.into_iter().flat_map(|folder| entries(folder, &OURS));
        Traces(ours.chain(all.into_iter().flat_map(|folder| entries(folder, &[""]))).collect())
    }

    /// The failure of a run that left what was not there before.
    pub fn left(&self, now: &Traces) -> Option<Row> {
        let left: Vec<String> = now.0.difference(&self.0).map(|path| path.display().to_string()).collect();
        (!left.is_empty()).then(|| Row::failure("a run leaves nothing on the host", &left.join("\n")))
    }
}

/// What is in a folder, if there is one, and has a name that begins so.
fn entries(folder: &Path, begins: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let is_meant = |name: String| begins.iter().any(|begin| name.starts_with(begin));
    entries.filter(|path| name(path).is_some_and(is_meant)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_left_is_named_and_what_was_there_before_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let look = || Traces(entries(folder.path(), &OURS).into_iter().collect());
        fs::write(folder.path().join("corten-before"), "").unwrap();
        let before = look();
        fs::write(folder.path().join("of-others"), "").unwrap();
        assert!(before.left(&look()).is_none());
        let left = folder.path().join("netd-left");
        fs::write(&left, "").unwrap();
        let row = before.left(&look()).expect("a file is left");
        assert!(row.failed() && row.detail == left.display().to_string(), "{row:?}");
    }

    #[test]
    fn memory_files_are_looked_at() {
        let file = tempfile::Builder::new().prefix("corten-left-").tempfile_in("/dev/shm").unwrap();
        assert!(Traces::now().0.contains(file.path()));
    }
}
