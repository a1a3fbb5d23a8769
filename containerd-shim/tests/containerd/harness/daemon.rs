//! The containerd of a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::stack::{self, program, runtime};
use super::{Ran, kill, runs, wait_for};

/// The unit that runs containerd on the image.
const UNIT: &str = "containerd.service";

/// The containerd of a test.
pub enum Daemon {
    /// One of its own, with its root, its state and its socket in a scratch folder.
    Own {
        /// The folder.
        folder: PathBuf,
        /// Variables that its shims inherit.
        environment: Vec<(String, String)>,
        /// The process.
        process: Child,
    },
    /// The image's: what is shipped is its unit and configuration, too, and to start one for each test would take
    /// minutes there.
    Service,
}

impl Daemon {
    /// Starts one in a folder.
    pub fn own(folder: &Path, environment: &[(&str, &str)]) -> Daemon {
        let at = folder.display();
        let config = format!(
            "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{at}/c.sock\"\n[debug]\nlevel = \"debug\"\n"
        );
        fs::write(folder.join("config.toml"), config).expect("configuration");
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let process = start(folder, &environment);
        Daemon::Own { folder: folder.to_owned(), environment, process }
    }

    /// The image's.
    pub fn service() -> Daemon {
        systemctl(&["start", UNIT]);
        Daemon::Service
    }

    /// Where it answers.
    pub fn socket(&self) -> PathBuf {
        match self {
            Daemon::Own { folder, .. } => folder.join("c.sock"),
            Daemon::Service => PathBuf::from("/run/containerd/containerd.sock"),
        }
    }

    /// Where it keeps the bundles of a namespace.
    pub fn bundles(&self, namespace: &str) -> PathBuf {
        let state = match self {
            Daemon::Own { folder, .. } => folder.join("state"),
            Daemon::Service => PathBuf::from("/run/containerd"),
        };
        state.join("io.containerd.runtime.v2.task").join(namespace)
    }

    /// Kills it without warning, and keeps it from being started again.
    pub fn kill(&mut self) {
        match self {
            Daemon::Own { process, .. } => {
                process.kill().expect("kill containerd");
                process.wait().expect("wait for containerd");
            }
            Daemon::Service => {
                let pid = systemctl(&["show", "--property", "MainPID", "--value", UNIT]);
                let pid = pid.trim().parse().expect("process id of containerd");
                assert_ne!(pid, 0, "{UNIT} does not run");
                kill(pid, 9);
                wait_for("containerd to end", || (!runs(pid)).then_some(()));
                systemctl(&["stop", UNIT]);
            }
        }
    }

    /// Starts it after it was killed.
    pub fn start(&mut self) {
        match self {
            Daemon::Own { folder, environment, process } => *process = start(folder, environment),
            Daemon::Service => {
                // A unit that ended often is not started any more.
                systemctl(&["reset-failed", UNIT]);
                systemctl(&["start", UNIT]);
            }
        }
    }

    /// Makes sure that the image's runs: a test that failed may have left it killed.
    pub fn restore(&self) {
        if let Daemon::Service = self {
            // What fails here is said by the next test.
            let _ = Command::new("systemctl").args(["start", UNIT]).status();
        }
    }

    /// Ends the test's own.
    pub fn end(&mut self) {
        if let Daemon::Own { process, .. } = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// What it and its shims logged.
    pub fn log(&self) -> String {
        match self {
            Daemon::Own { folder, .. } => {
                fs::read_to_string(folder.join("containerd.log")).unwrap_or_default()
            }
            Daemon::Service => {
                let mut journal = Command::new("journalctl");
                journal.args(["--boot", "--no-pager", "--output", "cat", "--lines", "60", "--unit", UNIT]);
                let output = journal.output().map(Ran::from);
                output.map_or_else(|error| error.to_string(), |ran| ran.stdout + &ran.stderr)
            }
        }
    }
}

fn systemctl(words: &[&str]) -> String {
    let ran: Ran = Command::new("systemctl").args(words).output().expect("run systemctl").into();
    assert_eq!(ran.code, 0, "systemctl {words:?}: {}", ran.stderr);
    ran.stdout
}

fn start(folder: &Path, environment: &[(String, String)]) -> Child {
    let shim = stack::shim();
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
