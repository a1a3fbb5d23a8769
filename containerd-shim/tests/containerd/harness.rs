//! A containerd in a scratch folder, and what tests ask of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub const RUNTIME: &str = "io.containerd.corten.v1";
const PACKAGES: &str =
    "apt-get install --no-install-recommends containerd crun runc busybox-static dbus-daemon";

/// Whether cgroup version 2 is the only hierarchy.
pub fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Finds a program or says how to get it.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("{name} is not installed: {PACKAGES}"))
}

/// The OCI runtime that works here: crun refuses systems where cgroup version 2 is not alone.
pub fn runtime() -> PathBuf {
    program(if unified() { "crun" } else { "runc" })
}

/// Waits for something that no descriptor tells, with a deadline.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited 20 s for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub struct Containerd {
    pub folder: TempDir,
    environment: Vec<(String, String)>,
    daemon: Child,
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
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts containerd with variables that its shims inherit.
    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let folder = tempfile::tempdir().expect("scratch folder");
        root_file_system(&folder.path().join("rootfs"));
        let at = folder.path().display();
        let config = format!(
            "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{at}/c.sock\"\n[debug]\nlevel = \"debug\"\n"
        );
        fs::write(folder.path().join("config.toml"), config).expect("configuration");
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let daemon = start_daemon(folder.path(), &environment);
        let containerd = Containerd { folder, environment, daemon };
        containerd.wait_ready();
        containerd
    }

    fn wait_ready(&self) {
        wait_for("containerd to answer", || (self.ctr(&["version"]).code == 0).then_some(()));
    }

    /// Kills containerd without warning.
    pub fn stop_daemon(&mut self) {
        self.daemon.kill().expect("kill containerd");
        self.daemon.wait().expect("wait for containerd");
    }

    /// Kills containerd without warning and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.stop_daemon();
        self.daemon = start_daemon(self.folder.path(), &self.environment);
        self.wait_ready();
    }

    pub fn socket(&self) -> String {
        self.folder.path().join("c.sock").display().to_string()
    }

    pub fn rootfs(&self) -> String {
        self.folder.path().join("rootfs").display().to_string()
    }

    pub fn bundle(&self, id: &str) -> PathBuf {
        self.folder.path().join("state/io.containerd.runtime.v2.task/default").join(id)
    }

    pub fn ctr_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("ctr"));
        command.arg("--address").arg(self.socket()).args(words);
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

    /// A specification file for a container that shares the host's PID namespace, which ctr has no flag for.
    pub fn config_without_pid_namespace(&self, words: &[&str]) -> String {
        let folder = self.folder.path().join("specification");
        fs::create_dir_all(&folder).expect("folder");
        let made =
            Command::new(runtime()).arg("spec").current_dir(&folder).output().expect("run the OCI runtime");
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

    /// Process ids of this containerd's shims.
    pub fn shims(&self) -> Vec<u32> {
        let socket = self.socket();
        processes(|words| {
            words.first().is_some_and(|name| name.ends_with("containerd-shim-corten-v1"))
                && words.contains(&socket)
        })
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("containerd.log")).unwrap_or_default()
    }

    /// Checks that nothing of any task is left.
    pub fn assert_clean(&self) {
        wait_for("the shims to end", || self.shims().is_empty().then_some(()));
        let folder = self.folder.path().display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(&folder), "mounts are left:\n{mounts}");
        let bundles = self.folder.path().join("state/io.containerd.runtime.v2.task/default");
        wait_for("the bundles to go", || {
            let left = fs::read_dir(&bundles).map_or(0, |entries| entries.count());
            (left == 0).then_some(())
        });
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("containerd's log:\n{}", self.log());
        }
        for pid in self.shims() {
            kill(pid, 9);
        }
        // Shims that lost their shim are cleaned up by containerd; give it the chance.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.ctr(&["task", "ls", "-q"]).stdout.trim().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
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
pub fn processes(mut wanted: impl FnMut(&[String]) -> bool) -> Vec<u32> {
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
            wanted(&words).then_some(pid)
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

fn start_daemon(folder: &Path, environment: &[(String, String)]) -> Child {
    let shim = Path::new(env!("CARGO_BIN_EXE_containerd-shim-corten-v1"));
    let mut path = shim.parent().expect("folder of the shim").as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let log = fs::File::options().create(true).append(true).open(folder.join("containerd.log")).expect("log");
    let binary =
        std::env::var_os("CORTEN_TEST_CONTAINERD").map_or_else(|| program("containerd"), PathBuf::from);
    Command::new(binary)
        .arg("--config")
        .arg(folder.join("config.toml"))
        .env("PATH", path)
        .env("CORTEN_OCI_RUNTIME", runtime())
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("log"))
        .stderr(log)
        .spawn()
        .expect("start containerd")
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
