//! What only the shipped stack shows: control groups of version 2, scopes of systemd, mounted images, netd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::events::Events;
use crate::harness::stack::{container_image, unified};
use crate::harness::{Containerd, RUNTIME, Ran, cgroups, kill, runs, wait_for};

#[test]
#[ignore = "in the guest"]
fn tasks_run_by_crun_in_a_scope_of_systemd() {
    let containerd = Containerd::start();
    assert!(unified());
    containerd.run_detached(&[], "scoped", &["sleep", "1000"]);
    let (pid, _) = containerd.task("scoped").unwrap();
    let scope = cgroups::scope(&containerd.namespace, "scoped");
    assert_eq!(cgroups::of_process(pid), scope.join("task"));
    assert_eq!(cgroups::of_process(containerd.shims()[0]), scope.join("shim"));
    assert_eq!(unit_state(&scope), "active");
    let record = fs::read(containerd.bundle("scoped").join("corten-shim.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["runtime"]["binary"], "crun", "{record}");
    containerd.remove("scoped");
    containerd.assert_clean();
}

#[test]
#[ignore = "in the guest"]
fn memory_shortage_is_reported_and_ends_with_137() {
    const SHORTAGE: [&str; 5] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    let containerd = Containerd::start();
    let events = Events::listen(&containerd);
    // It waits without taking memory: whoever asks for some while another is being killed may be killed, too.
    let script = format!("mkfifo /tmp/go; read go </tmp/go; exec {}", SHORTAGE.join(" "));
    containerd.run_detached(&["--memory-limit", "33554432"], "short", &["sh", "-c", &script]);
    // One process inside: it is killed alone.
    assert_eq!(containerd.exec("short", "inner", &SHORTAGE).code, 137);
    let first = events.until("oom");
    assert!(first.iter().any(|event| event.topic == "exec-started"), "{first:?}");
    assert_eq!(containerd.task("short").unwrap().1, "RUNNING");
    // The container's own.
    let go = containerd.folder.path().join("rootfs/tmp/go");
    wait_for("the container to wait", || go.exists().then_some(()));
    fs::write(go, "go\n").unwrap();
    containerd.wait_status("short", "STOPPED");
    let deleted = containerd.ctr(&["task", "rm", "short"]);
    assert!(deleted.stderr.contains("exit code 137"), "{deleted:?}");
    let rest = events.until("delete");
    assert!(rest.iter().any(|event| event.topic == "oom"), "{rest:?}");
    containerd.ctr(&["container", "rm", "short"]).ok();
    containerd.assert_clean();
}

#[test]
#[ignore = "in the guest"]
fn killed_shim_leaves_no_scope_mount_or_socket() {
    // Images belong to a namespace, and this one is in the one that ctr has by default.
    let containerd = Containerd::in_namespace("default");
    let image = container_image();
    let words = ["run", "-d", "--runtime", RUNTIME, &image, "mounted", "/bin/sleep", "1000"];
    containerd.ctr(&words).ok();
    let (pid, _) = containerd.task("mounted").unwrap();
    containerd.assert_mounted("mounted");
    let scope = cgroups::scope("default", "mounted");
    assert!(scope.exists(), "no scope {}", scope.display());
    let socket = socket(&containerd, "mounted");
    assert!(socket.exists(), "no socket {}", socket.display());
    kill(containerd.shims()[0], 9);
    wait_for("the container to end", || (!runs(pid)).then_some(()));
    containerd.wait_gone("mounted");
    wait_for("the socket to go", || (!socket.exists()).then_some(()));
    containerd.assert_clean();
    assert_ne!(unit_state(&scope), "active");
    containerd.ctr(&["container", "rm", "mounted"]).ok();
}

/// VLAN 10 of the lab's document.
const PORT: [&str; 4] = [
    "--annotation",
    "org.corten.interface.eth0.vlan=10",
    "--annotation",
    "org.corten.interface.eth0.address=10.0.10.81/24",
];

#[test]
#[ignore = "in the guest"]
fn killed_shim_gives_its_ports_back_to_netd() {
    let containerd = Containerd::start();
    containerd.run_detached(&PORT, "web", &["sleep", "1000"]);
    let key = format!("{}/web/eth0", containerd.namespace);
    assert!(attachments().contains(&key), "no port of {key} among {:?}", attachments());
    kill(containerd.shims()[0], 9);
    wait_for("the port to be given back", || (!attachments().contains(&key)).then_some(()));
    containerd.wait_gone("web");
    containerd.ctr(&["container", "rm", "web"]).ok();
    containerd.assert_clean();
}

#[test]
#[ignore = "in the guest"]
fn vlan_that_netd_lacks_fails_the_task_in_its_words() {
    let containerd = Containerd::start();
    let flags = ["--rm", "--annotation", "org.corten.interface.eth0.vlan=77"];
    let ran = containerd.run(&flags, "web", &["true"]);
    assert_ne!(ran.code, 0);
    assert!(
        ran.stderr.contains("attach interface eth0") && ran.stderr.contains("VLAN 77 does not exist"),
        "{}",
        ran.stderr
    );
    assert_eq!(attachments(), [""; 0]);
    containerd.assert_clean();
}

/// Keys of the ports that netd has for workloads.
fn attachments() -> Vec<String> {
    let ran: Ran = Command::new("corten").args(["show", "ports", "--json"]).output().unwrap().into();
    let ports: Vec<serde_json::Value> = serde_json::from_str(&ran.ok()).unwrap();
    let ports = ports.iter().filter(|port| port["kind"] == "attachment");
    ports.filter_map(|port| port["attachment"].as_str().map(str::to_owned)).collect()
}

/// What systemd says of the unit that has a control group.
fn unit_state(scope: &Path) -> String {
    let name = scope.file_name().unwrap();
    let ran: Ran = Command::new("systemctl").arg("is-active").arg(name).output().unwrap().into();
    ran.stdout.trim().to_owned()
}

/// The socket of a task's shim.
fn socket(containerd: &Containerd, id: &str) -> PathBuf {
    let address = fs::read_to_string(containerd.bundle(id).join("address")).unwrap();
    PathBuf::from(address.strip_prefix("unix://").unwrap())
}
