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

/// How a command ends by itself, and what it says on standard error.
fn end_of(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    // Waiting would close its input.
    let open = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(open);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
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
    let (code, said) = end_of(&mut guarded(&file, "exit 3"));
    assert_eq!(code, Some(3), "the program's exit code");
    let pid = fs::read_to_string(&file).unwrap();
    assert!(!is_running(&pid), "a process is left");
    assert!(said.contains(&format!("left behind by the program: {} (sh -c trap", pid.trim())), "{said}");
    assert_eq!(left(folder.path()), ["memory", "pid"]);
    assert_is_gone_from_memory(&file);
}

#[test]
fn program_that_leaves_a_process_behind_does_not_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = end_of(&mut guarded(&folder.path().join("pid"), "exit 0"));
    assert!(code == Some(97) && said.contains("left behind"), "{code:?}: {said}");
}

#[test]
fn process_that_ends_after_its_program_is_not_left_behind() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_os-image"));
    command.args(["guard", "sh", "-c", "sleep 0.5 & exit 0"]).stdin(Stdio::piped());
    assert_eq!(end_of(&mut command), (Some(0), String::new()));
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
