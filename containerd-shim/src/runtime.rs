//! Drives an OCI runtime: a program with the command line of runc (crun, runc, youki). The only module that
//! knows this command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::io::console::ConsoleSocket;
use crate::io::{ChildEnds, ProcessIo, Streams};
use crate::options::RuntimeOptions;
use crate::reaper::{Followed, Reaper};
use crate::spec::{read_bounded, write_atomically};

/// Longest an invocation may take; hooks of the container run within it.
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_LOG_BYTES: u64 = 64 * 1024;
const MAX_MESSAGE_CHARS: usize = 1000;

/// An OCI runtime and the container it is asked about.
#[derive(Clone, Debug)]
pub struct OciRuntime {
    options: RuntimeOptions,
    root: PathBuf,
    bundle: PathBuf,
    id: String,
    reaper: Arc<Reaper>,
}

/// A process the OCI runtime made.
#[derive(Debug)]
pub struct Launched {
    /// The process.
    pub process: Followed,
    /// The shim's side of its streams.
    pub io: ProcessIo,
}

impl OciRuntime {
    /// Prepares to ask about a container.
    pub fn new(
        options: &RuntimeOptions,
        namespace: &str,
        id: &str,
        bundle: &Path,
        reaper: Arc<Reaper>,
    ) -> Self {
        let root = match options.root.as_str() {
            "" => bundle.join("runtime"),
            root => Path::new(root).join(namespace),
        };
        OciRuntime { options: options.clone(), root, bundle: bundle.to_owned(), id: id.to_owned(), reaper }
    }

    /// Makes the container, its init process waiting to be started.
    ///
    /// # Errors
    /// What the OCI runtime says.
    pub async fn create(&self, streams: &Streams, systemd_cgroup: bool) -> Result<Launched> {
        let mut words = Vec::new();
        if systemd_cgroup {
            words.push("--systemd-cgroup".to_owned());
        }
        words.extend(["create", "--bundle"].map(str::to_owned));
        words.push(self.bundle.display().to_string());
        if self.options.no_pivot_root {
            words.push("--no-pivot".into());
        }
        if self.options.no_new_keyring {
            words.push("--no-new-keyring".into());
        }
        self.launch("create", "init", words, streams).await
    }

    /// Starts the container's init process.
    ///
    /// # Errors
    /// What the OCI runtime says.
    pub async fn start(&self) -> Result<()> {
        self.run("start", &[]).await.map(drop)
    }

    /// Runs another process in the container. `process` is the OCI process document.
    ///
    /// # Errors
    /// What the OCI runtime says.
    pub async fn exec(&self, exec_id: &str, process: &[u8], streams: &Streams) -> Result<Launched> {
        let file = self.bundle.join(format!("exec-{exec_id}.json"));
        write_atomically(&file, process)?;
        let words = ["exec", "--detach", "--process"].map(str::to_owned).into_iter();
        let words = words.chain([file.display().to_string()]).collect();
        let result = self.launch("exec", &format!("exec-{exec_id}"), words, streams).await;
        remove(&file);
        result
    }

    /// Removes the container, killing what runs in it. One that is gone is not an error.
    ///
    /// # Errors
    /// What the OCI runtime says.
    pub async fn delete(&self) -> Result<()> {
        if !self.root.join(&self.id).exists() {
            return Ok(());
        }
        self.run("delete", &["--force"]).await.map(drop)
    }

    /// Sends a signal to every process of the container.
    ///
    /// # Errors
    /// What the OCI runtime says.
    pub async fn kill_all(&self, signal: u32) -> Result<()> {
        let mut command = self.command();
        command.args(["kill", "--all"]).arg(&self.id).arg(signal.to_string());
        self.check("kill", command).await.map(drop)
    }

    /// Freezes the container.
    ///
    /// # Errors
    /// What the OCI runtime says.
    pub async fn pause(&self) -> Result<()> {
        self.run("pause", &[]).await.map(drop)
    }

    /// Thaws the container.
    ///
    /// # Errors
    /// What the OCI runtime says.
    pub async fn resume(&self) -> Result<()> {
        self.run("resume", &[]).await.map(drop)
    }

    /// Changes the container's limits. `resources` is the OCI resources document.
    ///
    /// # Errors
    /// What the OCI runtime says.
    pub async fn update(&self, resources: &[u8]) -> Result<()> {
        let file = self.bundle.join("update.json");
        write_atomically(&file, resources)?;
        let path = file.display().to_string();
        let result = self.run("update", &["--resources", &path]).await.map(drop);
        remove(&file);
        result
    }

    /// Ids of the container's processes, as the OCI runtime sees them.
    ///
    /// # Errors
    /// What the OCI runtime says, or its answer is no list of numbers.
    pub async fn processes(&self) -> Result<Vec<u32>> {
        let text = self.run("ps", &["--format", "json"]).await?;
        let pids: Option<Vec<u32>> = serde_json::from_slice(&text)
            .map_err(|error| Error::failed(format!("{} ps", self.options.binary), error))?;
        Ok(pids.unwrap_or_default())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.options.binary);
        command.current_dir(&self.bundle).arg("--root").arg(&self.root);
        // The OCI runtime would pass a notify socket on to the container.
        command.env_remove("NOTIFY_SOCKET");
        command
    }

    async fn run(&self, verb: &str, flags: &[&str]) -> Result<Vec<u8>> {
        let mut command = self.command();
        command.arg(verb).args(flags).arg(&self.id);
        self.check(verb, command).await
    }

    async fn check(&self, verb: &str, mut command: Command) -> Result<Vec<u8>> {
        let output = self.reaper.output(&mut command, TIMEOUT).await?;
        if output.exit.code == 0 {
            return Ok(output.stdout);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(self.failure(verb, output.exit.code, Some(last_message(&text))))
    }

    fn failure(&self, verb: &str, code: u32, message: Option<String>) -> Error {
        let reason = match message.filter(|text| !text.is_empty()) {
            Some(text) => text,
            None => format!("exit code {code}"),
        };
        Error::failed(format!("{} {verb}", self.options.binary), reason)
    }

    /// Runs a verb that makes a process: its streams are the new process's, so messages go to a log file.
    async fn launch(
        &self,
        verb: &str,
        name: &str,
        words: Vec<String>,
        streams: &Streams,
    ) -> Result<Launched> {
        let log = self.bundle.join(format!("{name}.log"));
        let pid_file = self.bundle.join(format!("{name}.pid"));
        let result = self.launch_with(verb, words, streams, &log, &pid_file).await;
        remove(&log);
        remove(&pid_file);
        result
    }

    async fn launch_with(
        &self,
        verb: &str,
        words: Vec<String>,
        streams: &Streams,
        log: &Path,
        pid_file: &Path,
    ) -> Result<Launched> {
        let mut command = self.command();
        command.arg("--log").arg(log).args(["--log-format", "json"]);
        command.args(words).arg("--pid-file").arg(pid_file);
        // From here until the new process is followed it must not be swept up as an orphan.
        let _hold = self.reaper.hold();
        let (io, console) = if streams.terminal {
            let socket = ConsoleSocket::new()?;
            command.arg("--console-socket").arg(socket.path());
            set_streams(&mut command, ChildEnds::null());
            (None, Some(socket))
        } else {
            let (io, ends) = ProcessIo::pipes(streams, self.options.io_owner)?;
            set_streams(&mut command, ends);
            (Some(io), None)
        };
        command.arg(&self.id);
        let exit = self.reaper.run(&mut command, TIMEOUT).await;
        // The command holds the process's ends of the pipes.
        drop(command);
        let exit = exit?;
        if exit.code != 0 {
            return Err(self.failure(verb, exit.code, logged(log)));
        }
        let process = self.reaper.follow(read_pid(pid_file)?)?;
        let io = match (io, console) {
            (Some(io), _) => io,
            (None, Some(socket)) => {
                let master = socket.receive(Duration::from_secs(5)).await;
                match master.and_then(|master| ProcessIo::terminal(streams, master)) {
                    Ok(io) => io,
                    Err(error) => {
                        self.discard(process).await;
                        return Err(error);
                    }
                }
            }
            (None, None) => ProcessIo::default(),
        };
        Ok(Launched { process, io })
    }

    /// Ends a process that cannot be used.
    async fn discard(&self, process: Followed) {
        if process.signal(9).is_ok() {
            self.reaper.wait(&process).await;
        }
    }
}

fn set_streams(command: &mut Command, ends: ChildEnds) {
    command.stdin(ends.stdin).stdout(ends.stdout).stderr(ends.stderr);
}

fn remove(file: &Path) {
    if let Err(error) = std::fs::remove_file(file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("remove {}: {error}", file.display());
    }
}

fn read_pid(file: &Path) -> Result<u32> {
    let text = read_bounded(file, 64)?;
    let text = String::from_utf8_lossy(&text);
    text.trim().parse().map_err(|_| Error::failed(format!("read {}", file.display()), "no process id in it"))
}

/// The last error in an OCI runtime's log.
fn logged(file: &Path) -> Option<String> {
    let text = read_bounded(file, MAX_LOG_BYTES).ok()?;
    Some(last_message(&String::from_utf8_lossy(&text)))
}

/// The last line that says something, in JSON (`{"level":"error","msg":…}`), logfmt or plain text.
fn last_message(text: &str) -> String {
    let message = |line: &str| -> Option<String> {
        let line = line.trim();
        if let Ok(entry) = serde_json::from_str::<serde_json::Value>(line) {
            let level = entry.get("level").and_then(|level| level.as_str()).unwrap_or("error");
            let important = matches!(level, "error" | "fatal" | "panic");
            return entry.get("msg").and_then(|msg| msg.as_str()).filter(|_| important).map(str::to_owned);
        }
        (!line.is_empty()).then(|| line.to_owned())
    };
    let found = text.lines().rev().find_map(message).unwrap_or_default();
    found.chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_what_the_user_is_told() {
        let json =
            "{\"level\":\"error\",\"msg\":\"exec: no such file\"}\n{\"level\":\"warning\",\"msg\":\"x\"}\n";
        assert_eq!(last_message(json), "exec: no such file");
        assert_eq!(last_message("first\nsecond\n\n"), "second");
        assert_eq!(last_message(""), "");
        assert_eq!(last_message(&"x".repeat(5000)).len(), MAX_MESSAGE_CHARS);
    }

    #[tokio::test]
    async fn a_runtime_that_is_not_installed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let options = RuntimeOptions { binary: "no-such-runtime".into(), ..Default::default() };
        let reaper = Arc::new(Reaper::default());
        std::mem::forget(reaper.hold());
        let runtime = OciRuntime::new(&options, "default", "a", folder.path(), reaper);
        let error = runtime.create(&Streams::default(), false).await.unwrap_err();
        assert!(error.to_string().contains("no-such-runtime"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
