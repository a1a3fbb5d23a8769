//! The folder of a run is gone when the run is, however it ends, and so are its machines.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qemu_tests::run_folder::RunFolder;

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn folder_of_a_run_goes_with_it() {
    let folder = RunFolder::new().unwrap();
    let path = folder.path().to_owned();
    let inside = tempfile::tempdir().unwrap();
    assert!(inside.path().starts_with(&path), "temporary files go elsewhere");
    drop(folder);
    assert!(!path.exists());
}

/// Whether a folder has a file of this name somewhere.
fn has(folder: &Path, name: &str) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name() == name || has(&entry.path(), name))
    })
}

/// Processes whose command line has a text.
fn processes(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    // They may end at any time.
    let lines = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(text)).map(|line| line.replace('\0', " ")).collect()
}

#[test]
fn run_that_is_killed_leaves_no_file_and_no_machine() {
    // Not the folder that the other test had made the place of temporary files.
    let folder = tempfile::Builder::new().prefix("killed-").tempdir_in(std::env::temp_dir()).unwrap();
    // It waits for the agent of a machine that finds nothing to boot.
    let (image, agent) = (folder.path().join("image"), folder.path().join("agent"));
    std::fs::write(&image, vec![0; 1024 * 1024]).unwrap();
    std::fs::write(&agent, b"").unwrap();
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_qemu-tests"))
        .args(["a learned address is sent to its port alone", "--log-dir"])
        .arg(folder.path().join("logs"))
        .envs([("CORTEN_IMAGE", &image), ("CORTEN_TEST_AGENT", &agent), ("TMPDIR", &scratch)])
        .env("CORTEN_ACCEL", "tcg")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let path = scratch.to_str().unwrap();
    eventually("the run starts a machine", || has(&scratch, "p1.q"));
    assert!(processes(path).iter().any(|line| line.starts_with("qemu-system")), "{:?}", processes(path));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("processes are left", || processes(path).is_empty());
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "files are left");
}
