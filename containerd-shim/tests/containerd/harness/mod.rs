//! A containerd, and what tests ask of it.

pub mod cgroups;
mod daemon;
pub mod events;
mod processes;
pub mod stack;
pub mod terminal;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use daemon::Daemon;
pub use processes::{children, kill, processes, runs, wait_for};
pub use stack::{on_image, program, unified};

pub const RUNTIME: &str = "io.containerd.corten.v1";

pub struct Containerd {
    /// A folder of the test's own.
    pub folder: TempDir,
    /// containerd's namespace of the test's tasks.
    pub namespace: String,
    daemon: Daemon,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// The output of a command that must have succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "failed: {} {}", self.stdout, self.stderr);
        self.stdout
    }
}

impl Containerd {
    /// A containerd of the test's own on the host; on the image a namespace of its own in the image's containerd.
    pub fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !on_image() {
            return Self::start_with(&[]);
        }
        // Runs follow each other in one containerd.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::in_namespace(&format!("test-{}-{number}", std::process::id()))
    }

    /// The image's containerd with one of its namespaces.
    pub fn in_namespace(namespace: &str) -> Self {
        assert!(on_image(), "this test is about the image's containerd");
        let folder = tempfile::tempdir().expect("scratch folder");
        root_file_system(&folder.path().join("rootfs"));
        Containerd { folder, namespace: namespace.to_owned(), daemon: Daemon::service() }
    }

    /// Starts containerd with variables that its shims inherit.
    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        assert!(!on_image(), "this test needs a containerd of its own: it is for the host");
        let folder = tempfile::tempdir().expect("scratch folder");
        root_file_system(&folder.path().join("rootfs"));
        let daemon = Daemon::own(folder.path(), environment);
        let containerd = Containerd { folder, namespace: "default".to_owned(), daemon };
        containerd.wait_ready();
        containerd
    }

    fn wait_ready(&self) {
        wait_for("containerd to answer", || (self.ctr(&["version"]).code == 0).then_some(()));
    }

    /// Kills containerd without warning.
    pub fn kill_daemon(&mut self) {
        self.daemon.kill();
    }

    /// Starts containerd after it was killed.
    pub fn start_daemon(&mut self) {
        self.daemon.start();
        self.wait_ready();
    }

    pub fn rootfs(&self) -> String {
        self.folder.path().join("rootfs").display().to_string()
    }

    fn bundles(&self) -> PathBuf {
        self.daemon.bundles(&self.namespace)
    }

    pub fn bundle(&self, id: &str) -> PathBuf {
        self.bundles().join(id)
    }

    pub fn ctr_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("ctr"));
        command.arg("--address").arg(self.daemon.socket()).args(["--namespace", &self.namespace]).args(words);
        command
    }

    pub fn ctr(&self, words: &[&str]) -> Ran {
        self.ctr_command(words).stdin(Stdio::null()).output().expect("run ctr").into()
    }

    /// `ctr run` of a busybox command.
    pub fn run(&self, flags: &[&str], id: &str, words: &[&str]) -> Ran {
        self.run_command(flags, id, words).stdin(Stdio::null()).output().expect("run ctr").into()
    }

    pub fn run_command(&self, flags: &[&str], id: &str, words: &[&str]) -> Command {
        let mut command = self.ctr_command(&["run", "--runtime", RUNTIME]);
        command.args(flags).args(["--env", "PATH=/bin", "--rootfs", &self.rootfs(), id]).args(words);
        command
    }

    /// Runs a container in the background.
    pub fn run_detached(&self, flags: &[&str], id: &str, words: &[&str]) {
        let flags: Vec<&str> = ["-d"].iter().chain(flags).copied().collect();
        self.run(&flags, id, words).ok();
    }

    /// Ends a container and removes it.
    pub fn remove(&self, id: &str) {
        self.ctr(&["task", "rm", "-f", id]);
        self.ctr(&["container", "rm", id]).ok();
    }

    /// A specification file for a container that shares the host's PID namespace, which ctr has no flag for.
    pub fn config_without_pid_namespace(&self, words: &[&str]) -> String {
        let folder = self.folder.path().join("specification");
        fs::create_dir_all(&folder).expect("folder");
        let mut runtime = Command::new(stack::runtime());
        let made = runtime.arg("spec").current_dir(&folder).output().expect("run the OCI runtime");
        Ran::from(made).ok();
        let file = folder.join("config.json");
        let mut spec: serde_json::Value =
            serde_json::from_slice(&fs::read(&file).expect("specification")).expect("JSON");
        spec["root"] = serde_json::json!({ "path": self.rootfs(), "readonly": false });
        spec["process"]["args"] = serde_json::json!(words);
        spec["process"]["env"] = serde_json::json!(["PATH=/bin"]);
        spec["process"]["terminal"] = false.into();
        let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "pid" && namespace["type"] != "cgroup");
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["type"] != "cgroup");
        fs::write(&file, spec.to_string()).expect("write the specification");
        file.display().to_string()
    }

    pub fn exec(&self, id: &str, exec_id: &str, words: &[&str]) -> Ran {
        let words: Vec<&str> =
            ["task", "exec", "--exec-id", exec_id, id].iter().chain(words).copied().collect();
        self.ctr(&words)
    }

    /// Process id and status of a task as `ctr task ls` shows them.
    pub fn task(&self, id: &str) -> Option<(u32, String)> {
        let list = self.ctr(&["task", "ls"]).ok();
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(id))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        Some((words[1].parse().expect("process id"), words[2].to_owned()))
    }

    pub fn wait_status(&self, id: &str, status: &str) {
        wait_for(&format!("task {id} to be {status}"), || {
            self.task(id).filter(|(_, actual)| actual == status).map(drop)
        });
    }

    /// Process ids of the shims of this test.
    pub fn shims(&self) -> Vec<u32> {
        let socket = self.daemon.socket().display().to_string();
        processes(|words| {
            words.first().is_some_and(|name| name.ends_with("containerd-shim-corten-v1"))
                && words.contains(&socket)
                && words.contains(&self.namespace)
        })
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Mounts below the test's folder and its bundles.
    fn mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let folders = [self.folder.path().to_owned(), self.bundles()].map(|path| path.display().to_string());
        let ours = |line: &&str| folders.iter().any(|folder| line.contains(&format!("{folder}/")));
        mounts.lines().filter(ours).map(str::to_owned).collect()
    }

    fn bundles_left(&self) -> usize {
        fs::read_dir(self.bundles()).map_or(0, |entries| entries.count())
    }

    /// Checks that nothing of any task is left.
    pub fn assert_clean(&self) {
        wait_for("the shims to end", || self.shims().is_empty().then_some(()));
        assert_eq!(self.mounts(), [""; 0], "mounts are left");
        wait_for("the bundles to go", || (self.bundles_left() == 0).then_some(()));
        if on_image() {
            wait_for("the scopes to go", || cgroups::scopes(&self.namespace).is_empty().then_some(()));
        }
    }

    /// Waits until containerd has noticed that a task lost its shim.
    pub fn wait_gone(&self, id: &str) {
        wait_for("containerd to notice", || self.task(id).is_none().then_some(()));
    }

    /// Checks that a bundle has a mount, without which it shows nothing that none is left.
    pub fn assert_mounted(&self, id: &str) {
        let bundle = self.bundle(id).display().to_string();
        let mounts = self.mounts();
        assert!(mounts.iter().any(|line| line.contains(&bundle)), "nothing is mounted: {mounts:?}");
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("containerd's log:\n{}", self.log());
            self.daemon.restore();
        }
        for pid in self.shims() {
            kill(pid, 9);
        }
        // Containers that lost their shim are cleaned up by containerd; give it the chance.
        let deadline = Instant::now() + stack::CLEAN_UP.get();
        while self.bundles_left() > 0 && Instant::now() < deadline {
            std::thread::sleep(stack::POLL_INTERVAL.get());
        }
        self.daemon.end();
    }
}

/// A root file system with nothing but busybox.
fn root_file_system(folder: &Path) {
    let busybox = program("busybox");
    for name in ["bin", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(folder.join(name)).expect("root file system");
    }
    fs::copy(&busybox, folder.join("bin/busybox")).expect("copy busybox");
    let list = Command::new(&busybox).arg("--list").output().expect("run busybox");
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", folder.join("bin").join(applet)).expect("link an applet");
    }
}
