//! Daemons that die.

use std::fs;

use crate::harness::{Containerd, kill, runs, wait_for};

#[test]
fn a_killed_shim_is_cleaned_up_after() {
    let containerd = Containerd::start();
    containerd.run_detached(&[], "lost", &["sleep", "1000"]);
    let (pid, _) = containerd.task("lost").unwrap();
    let address = fs::read_to_string(containerd.bundle("lost").join("address")).unwrap();
    let socket = address.strip_prefix("unix://").unwrap().to_owned();
    assert!(fs::exists(&socket).unwrap());
    kill(containerd.shims()[0], 9);
    containerd.wait_gone("lost");
    wait_for("the container to end", || (!runs(pid)).then_some(()));
    wait_for("the socket to go", || (!fs::exists(&socket).unwrap()).then_some(()));
    wait_for("the bundle to go", || (!containerd.bundle("lost").exists()).then_some(()));
    // The same container can run again.
    containerd.ctr(&["container", "rm", "lost"]).ok();
    containerd.run(&["--rm"], "lost", &["true"]).ok();
    containerd.assert_clean();
}

#[test]
fn containers_outlive_a_containerd_that_is_killed() {
    let mut containerd = Containerd::start();
    containerd.run_detached(&[], "kept", &["sleep", "1000"]);
    containerd.run_detached(
        &[],
        "ends",
        &["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 3"],
    );
    let kept = containerd.task("kept").unwrap();
    let shims = containerd.shims();
    containerd.kill_daemon();
    containerd.start_daemon();
    assert_eq!(containerd.task("kept").unwrap(), kept);
    assert_eq!(containerd.shims(), shims);
    assert_eq!(containerd.exec("kept", "after", &["echo", "alive"]).ok(), "alive\n");
    fs::write(containerd.folder.path().join("rootfs/tmp/go"), "").unwrap();
    containerd.wait_status("ends", "STOPPED");
    let deleted = containerd.ctr(&["task", "rm", "ends"]);
    assert!(deleted.stderr.contains("exit code 3"), "the exit code is kept: {deleted:?}");
    containerd.ctr(&["task", "rm", "-f", "kept"]);
    containerd.ctr(&["container", "rm", "kept", "ends"]).ok();
    containerd.assert_clean();
}

#[test]
fn an_exit_while_containerd_is_away_is_known_afterwards() {
    let mut containerd = Containerd::start();
    let script = "while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 4";
    containerd.run_detached(&[], "meanwhile", &["sh", "-c", script]);
    let (pid, _) = containerd.task("meanwhile").unwrap();
    containerd.kill_daemon();
    fs::write(containerd.folder.path().join("rootfs/tmp/go"), "").unwrap();
    wait_for("the container to end", || (!runs(pid)).then_some(()));
    containerd.start_daemon();
    // Of a shim without processes containerd 1.7 would say that it is leaked, and end it.
    let processes = containerd.ctr(&["task", "ps", "meanwhile"]).ok();
    assert!(processes.contains(&pid.to_string()), "{processes}");
    let deleted = containerd.ctr(&["task", "rm", "meanwhile"]);
    assert!(deleted.stderr.contains("exit code 4"), "{deleted:?}");
    containerd.ctr(&["container", "rm", "meanwhile"]).ok();
    containerd.assert_clean();
}
