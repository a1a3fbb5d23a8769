//! `corten-system setup` on a switch whose configuration partition is missing.
#![allow(clippy::unwrap_used)] // the helpers of tests may fail loudly, too

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn setup(root: &Path, typed: &str) -> Output {
    let mut setup = Command::new(env!("CARGO_BIN_EXE_corten-system"))
        .arg("--root")
        .arg(root)
        .arg("setup")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    setup.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    setup.wait_with_output().unwrap()
}

#[test]
fn a_partition_that_is_not_mounted_is_told_and_nobody_is_asked_for_a_user() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("var/lib/corten/netd")).unwrap();
    let output = setup(root.path(), "\n");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(said.contains("The configuration partition could not be mounted."), "{said}");
    assert!(!said.contains("User name"), "{said}");
}

#[test]
fn the_end_of_input_is_a_failure_so_that_the_text_comes_again() {
    let root = tempfile::tempdir().unwrap();
    assert!(!setup(root.path(), "").status.success());
}
