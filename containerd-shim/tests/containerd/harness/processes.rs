//! Processes as /proc shows them.

use std::fs;
use std::time::Instant;

use super::stack::{HAPPENS, POLL_INTERVAL};

/// Waits for something that no descriptor tells, with a deadline.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let limit = HAPPENS.get();
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s for: {what}", limit.as_secs());
        std::thread::sleep(POLL_INTERVAL.get());
    }
}

/// The pid as the system calls take it, and the signal by number.
pub fn kill(pid: u32, signal: i32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("process id");
    let signal = rustix::process::Signal::from_named_raw(signal).expect("signal");
    // Gone already is as good.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Processes whose command line satisfies a condition.
pub fn processes(mut matches: impl FnMut(&[String]) -> bool) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<String> = line
                .split(|byte| *byte == 0)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .filter(|word| !word.is_empty())
                .collect();
            matches(&words).then_some(pid)
        })
        .collect()
}

/// Process ids of the children of a process, zombies among them.
pub fn children(parent: u32) -> Vec<u32> {
    let parent_of = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let mut children = processes(|_| true);
    children.retain(|pid| parent_of(pid) == Some(parent));
    children.sort_unstable();
    children
}

/// Whether a process runs; a zombie does not.
pub fn runs(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}
