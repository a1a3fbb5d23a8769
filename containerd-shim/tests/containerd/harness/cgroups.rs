//! Control groups of version 2.

use std::fs;
use std::path::{Path, PathBuf};

/// The slice that the shim puts its tasks into.
const SLICE: &str = "/sys/fs/cgroup/services.slice";

/// Folder of the control group a process is in.
pub fn of_process(pid: u32) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("control groups of a process");
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).expect("a group of version 2");
    Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
}

/// Folder of a task's scope.
pub fn scope(namespace: &str, id: &str) -> PathBuf {
    Path::new(SLICE).join(format!("{}{id}.scope", prefix(namespace)))
}

/// Names of the scopes of a namespace's tasks.
pub fn scopes(namespace: &str) -> Vec<String> {
    // Without tasks there is no slice.
    let entries = fs::read_dir(SLICE).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&prefix(namespace))).collect()
}

/// A number of a group; `max` is the largest.
pub fn number(folder: &Path, file: &str) -> u64 {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match text.trim() {
        "max" => u64::MAX,
        text => text.parse().unwrap_or_else(|_| panic!("{} reads {text:?}", path.display())),
    }
}

/// A number of a file of a group that has a key on each line.
pub fn keyed(folder: &Path, file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(folder.join(file)).expect("a file of a control group");
    let mut values = text.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| *name == key);
    values.next().and_then(|(_, value)| value.parse().ok()).unwrap_or_else(|| panic!("no {key} in {text}"))
}

/// What a namespace's scopes begin with; systemd escapes a `-` within.
fn prefix(namespace: &str) -> String {
    format!("corten-{}-", namespace.replace('-', "\\x2d"))
}
