//! Runs a test inside network and user namespaces of its own, so that it can change links and routes
//! without being root and without touching the machine.

#![allow(dead_code)] // each test file uses the part it needs

use std::fs::File;
use std::io::Write;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use netd::engine::Paths;

/// Set in the process that already is inside.
const INSIDE: &str = "NETD_TEST_INSIDE";

/// Runs `body` inside fresh namespaces: the test binary starts itself again there, for this test alone.
///
/// # Panics
/// When `body` fails, or when the machine does not allow namespaces.
pub fn isolated(test: &str, body: impl FnOnce()) {
    isolated_by(test, Path::new("/proc/self/ns/user").exists(), body);
}

/// The same as root of the machine: some settings are shown to no other (`capable(CAP_NET_ADMIN)`).
///
/// # Panics
/// When `body` fails, or for users other than root.
pub fn isolated_as_root(test: &str, body: impl FnOnce()) {
    isolated_by(test, false, body);
}

fn isolated_by(test: &str, user_namespace: bool, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    // As it was called: what runs may be the loader, where the libraries are not the system's.
    let this = std::env::args_os().next().expect("the test's own program");
    let user = if user_namespace { &["--user", "--map-root-user"][..] } else { &[] };
    let output = Command::new("unshare")
        .args(user)
        .args(["--net", "--"])
        .arg(this)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .arg0("unshare")
        .output()
        .expect("unshare(1) of util-linux");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "inside the namespaces: {}\n{text}", output.status);
    assert!(text.contains("1 passed"), "the test did not run inside the namespaces:\n{text}");
}

/// Gives a program of iproute2 its commands, a line each.
pub fn batch(program: &str, commands: impl Iterator<Item = String>) {
    let mut child =
        Command::new(program).args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("iproute2");
    let text: String = commands.map(|command| command + "\n").collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{program}: {status}");
}

/// A folder of its own for the files netd writes, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// `name` tells tests of one process apart.
    pub fn new(name: &str) -> Folder {
        Folder::at(&std::env::temp_dir(), name)
    }

    /// The same where a file is on its disk at once, if whoever runs the tests has such a folder, which goes with
    /// him: a test that is killed removes nothing.
    pub fn in_memory(name: &str) -> Folder {
        let memory = std::env::var_os("CORTEN_TEST_MEMORY").map_or_else(std::env::temp_dir, PathBuf::from);
        Folder::at(&memory, name)
    }

    fn at(folder: &Path, name: &str) -> Folder {
        let path = folder.join(format!("netd-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Puts an nft into it that takes every rule.
    pub fn write_nft(&self) {
        let nft = self.0.join("nft");
        std::fs::write(&nft, "#!/bin/sh\nexec cat >/dev/null\n").unwrap();
        std::fs::set_permissions(&nft, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// All of netd's files inside it.
    pub fn paths(&self) -> Paths {
        Paths {
            startup: self.0.join("startup.toml"),
            running: self.0.join("run/running.toml"),
            attachments: self.0.join("run/attachments"),
            platforms: self.0.join("platforms"),
            rules: self.0.join("control-plane.nft"),
            comparison: self.0.join("run/comparison.json"),
            link_modes: self.0.join("run/link-modes.json"),
            alarms: self.0.join("alarms.json"),
            data: self.0.clone(),
            ports: self.0.join("ports.json"),
            // Of no machine: what hardware the one that runs the tests has must not matter.
            sysfs: self.0.join("sys"),
            nft: "/usr/sbin/nft".into(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A namespace of its own with a netlink socket opened inside it.
pub fn workload_namespace() -> (OwnedFd, OwnedFd) {
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let namespace = File::open("/proc/thread-self/ns/net").expect("its descriptor");
        let socket =
            netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).expect("a socket inside");
        // SAFETY: `into_raw_fd` gives up ownership.
        (OwnedFd::from(namespace), unsafe { OwnedFd::from_raw_fd(socket.into_raw_fd()) })
    })
    .join()
    .expect("the thread")
}
