//! The guard: nothing is left of a program that it ran.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Leaves a process in a session of its own, which writes its id to a file, makes temporary files and ignores what it
/// can. Then the program goes on with `$2`.
const LEAVES_SOMETHING: &str = r#"
echo "$CORTEN_TEST_MEMORY" >"${1%/*}/memory"
setsid sh -c 'trap "" HUP TERM INT; touch $TMPDIR/left $CORTEN_TEST_MEMORY/left; echo $$ >"$1.new"; mv "$1.new" "$1"; while :; do sleep 5; done' sh "$1" &
until [ -e "$1" ]; do sleep 0.02; done
eval "$2"
"#;

fn guarded(file: &Path, then: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_os-image"));
    command.args(["guard", "sh", "-c", LEAVES_SOMETHING, "sh"]).arg(file).arg(then);
    command.stdin(Stdio::piped()).env("TMPDIR", file.parent().unwrap());
    command
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Names of what is left in the folder of temporary files.
fn left(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The program wrote the path of its folder in main memory beside its id.
fn assert_is_gone_from_memory(file: &Path) {
    let memory = fs::read_to_string(file.with_file_name("memory")).unwrap();
    assert!(memory.starts_with("/dev/shm/"), "{memory}");
    assert!(!Path::new(memory.trim()).exists(), "{memory} is left");
}

#[test]
fn guard_leaves_nothing_when_the_program_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let mut child = guarded(&file, "exit 3").spawn().unwrap();
    let open = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(3), "the program's exit code");
    drop(open);
    assert!(!is_running(&fs::read_to_string(&file).unwrap()), "a process is left");
    assert_eq!(left(folder.path()), ["memory", "pid"]);
    assert_is_gone_from_memory(&file);
}

#[test]
fn guard_leaves_nothing_when_its_starter_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let mut child = guarded(&file, "sleep 1000").spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !file.exists() {
        assert!(Instant::now() < deadline, "the program does not start");
        thread::sleep(Duration::from_millis(10));
    }
    let pid = fs::read_to_string(&file).unwrap();
    assert!(is_running(&pid));
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(!is_running(&pid), "a process is left");
    assert_eq!(left(folder.path()), ["memory", "pid"]);
    assert_is_gone_from_memory(&file);
}
