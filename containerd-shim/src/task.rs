//! The one task of this shim: its processes, their states and events, the same for every kind of workload.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use containerd_shim_protos::api::{
    CreateTaskRequest, DeleteResponse, ExecProcessRequest, PidsResponse, ProcessInfo, StateResponse,
};
use containerd_shim_protos::events::task::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskIO, TaskOOM, TaskPaused,
    TaskResumed, TaskStart,
};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::ProcessDetails;
use tracing::{debug, info, warn};

use crate::args::check_identifier;
use crate::error::{Error, Result};
use crate::events::{Publisher, pack, timestamp};
use crate::io::Streams;
use crate::process::{Phase, Process};
use crate::reaper::{Exit, Followed, Reaper, UNKNOWN_EXIT};
use crate::workload::{self, Recipe, Workload};

const SIGKILL: u32 = 9;
/// Largest process or resources document of a request.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;
const MAX_EXECS: usize = 4096;
/// How long the init process's exit is held back for those of the processes that ended with it.
const EXEC_EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// A created task.
pub struct Task {
    id: String,
    bundle: String,
    workload: Box<dyn Workload>,
    init: Arc<Process>,
    execs: Mutex<BTreeMap<String, Arc<Process>>>,
    paused: AtomicBool,
    publisher: Publisher,
    reaper: Arc<Reaper>,
    /// The answer to the deletion of the task, once it is deleted. Held while it is being deleted.
    deletion: tokio::sync::Mutex<Option<DeleteResponse>>,
}

impl Task {
    /// Creates the workload a request describes.
    ///
    /// # Errors
    /// The request or the bundle is wrong, or something refused.
    pub async fn create(
        namespace: &str,
        request: CreateTaskRequest,
        options: crate::options::RuntimeOptions,
        publisher: Publisher,
        reaper: Arc<Reaper>,
    ) -> Result<Arc<Self>> {
        if !request.checkpoint.is_empty() || !request.parent_checkpoint.is_empty() {
            return Err(Error::Unsupported("restoring from a checkpoint is not supported".into()));
        }
        if !Path::new(&request.bundle).is_absolute() {
            return Err(Error::Invalid("the bundle is not an absolute path".into()));
        }
        let streams = Streams {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let recipe = Recipe {
            namespace: namespace.to_owned(),
            id: request.id.clone(),
            bundle: request.bundle.clone().into(),
            rootfs: request.rootfs.clone(),
            streams: streams.clone(),
            options,
            reaper: reaper.clone(),
        };
        let (workload, launched) = workload::create(recipe).await?;
        let init = Arc::new(Process::new(String::new(), streams));
        let followed = Arc::new(launched.process);
        init.set_followed(followed.clone());
        init.inner.lock().await.io = launched.io;
        let task = Arc::new(Task {
            id: request.id.clone(),
            bundle: request.bundle.clone(),
            workload,
            init: init.clone(),
            execs: Mutex::new(BTreeMap::new()),
            paused: AtomicBool::new(false),
            publisher,
            reaper,
            deletion: tokio::sync::Mutex::default(),
        });
        task.publisher.publish(&created(&request, followed.pid));
        task.clone().follow_exit(init, followed);
        task.clone().follow_oom();
        Ok(task)
    }

    fn execs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Process>>> {
        // The map is consistent at every point where a panic could happen.
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process by its exec id, the init process by none.
    ///
    /// # Errors
    /// There is none by that id.
    pub fn process(&self, exec_id: &str) -> Result<Arc<Process>> {
        if exec_id.is_empty() {
            return Ok(self.init.clone());
        }
        self.execs().get(exec_id).cloned().ok_or_else(|| {
            Error::NotFound(format!("process {} of task {}", crate::error::shown(exec_id), self.id))
        })
    }

    /// Process id of the init process.
    pub fn pid(&self) -> u32 {
        self.init.pid()
    }

    /// The task's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Starts the init process or one added by [`Task::exec`]; answers its process id.
    ///
    /// # Errors
    /// It was started before, or something refused.
    pub async fn start(self: &Arc<Self>, exec_id: &str) -> Result<u32> {
        let process = self.process(exec_id)?;
        let mut inner = process.inner.lock().await;
        if inner.phase != Phase::Created {
            return Err(Error::Precondition(format!(
                "the process is not waiting to be started but {:?}",
                inner.phase
            )));
        }
        if exec_id.is_empty() {
            self.workload.start().await?;
            inner.phase = Phase::Running;
            self.publisher.publish(&TaskStart {
                container_id: self.id.clone(),
                pid: process.pid(),
                ..Default::default()
            });
        } else {
            let document = self.take_document(exec_id)?;
            let launched = match self.workload.exec(exec_id, &document, &process.streams).await {
                Ok(launched) => launched,
                Err(error) => {
                    process.set_exit(&mut inner, Exit::now(UNKNOWN_EXIT));
                    return Err(error);
                }
            };
            let followed = Arc::new(launched.process);
            process.set_followed(followed.clone());
            inner.io = launched.io;
            inner.phase = Phase::Running;
            self.publisher.publish(&TaskExecStarted {
                container_id: self.id.clone(),
                exec_id: exec_id.to_owned(),
                pid: followed.pid,
                ..Default::default()
            });
            self.clone().follow_exit(process.clone(), followed);
        }
        Ok(process.pid())
    }

    /// Waits for a process's end in the background and tells everyone.
    fn follow_exit(self: Arc<Self>, process: Arc<Process>, followed: Arc<Followed>) {
        tokio::spawn(async move {
            let exit = self.reaper.wait(&followed).await;
            if process.exec_id.is_empty() {
                self.workload.main_ended().await;
                self.wait_for_execs().await;
            }
            let mut inner = process.inner.lock().await;
            let id = if process.exec_id.is_empty() { &self.id } else { &process.exec_id };
            self.publisher.publish(&TaskExit {
                container_id: self.id.clone(),
                id: id.clone(),
                pid: followed.pid,
                exit_status: exit.code,
                exited_at: MessageField::some(timestamp(exit.at)),
                ..Default::default()
            });
            process.set_exit(&mut inner, exit);
            debug!("process {} ended with {}", followed.pid, exit.code);
        });
    }

    /// Processes inside end with the init process; their exits are told before its own.
    async fn wait_for_execs(&self) {
        let execs: Vec<Arc<Process>> = self.execs().values().cloned().collect();
        let all = async {
            for exec in execs.iter().filter(|exec| exec.followed().is_some()) {
                // Deleted meanwhile is as good as ended.
                let _ = exec.wait().await;
            }
        };
        if tokio::time::timeout(EXEC_EXIT_TIMEOUT, all).await.is_err() {
            warn!("task {}: processes outlive its init process", self.id);
        }
    }

    fn follow_oom(self: Arc<Self>) {
        let Some(mut watch) = self.workload.watch_oom() else { return };
        tokio::spawn(async move {
            let init = self.init.clone();
            loop {
                tokio::select! {
                    // A kill for want of memory is often what ended the init process: look at it first.
                    biased;
                    event = watch.next() => if event.is_none() { return },
                    // Its notice may come later than the end of who was killed.
                    _ = init.wait() => if !watch.has_new_kill().unwrap_or(false) { return },
                }
                info!("task {} ran out of memory", self.id);
                self.publisher.publish(&TaskOOM { container_id: self.id.clone(), ..Default::default() });
            }
        });
    }

    /// Adds a process to be started later.
    ///
    /// # Errors
    /// The request is wrong, or there is one by that id already.
    pub fn exec(&self, request: ExecProcessRequest) -> Result<()> {
        check_identifier("exec id", &request.exec_id)?;
        if self.init.exit().is_some() {
            return Err(Error::Precondition(format!("task {} has ended", self.id)));
        }
        let document = request.spec.value.clone();
        check_document("process", &document)?;
        let streams = Streams {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        streams.check()?;
        let mut execs = self.execs();
        if execs.len() >= MAX_EXECS {
            return Err(Error::Precondition(format!(
                "task {} has {MAX_EXECS} processes added already",
                self.id
            )));
        }
        if execs.contains_key(&request.exec_id) {
            return Err(Error::Exists(format!("process {} of task {}", request.exec_id, self.id)));
        }
        crate::spec::write_atomically(&self.document_file(&request.exec_id), &document)?;
        execs.insert(request.exec_id.clone(), Arc::new(Process::new(request.exec_id.clone(), streams)));
        drop(execs);
        self.publisher.publish(&TaskExecAdded {
            container_id: self.id.clone(),
            exec_id: request.exec_id,
            ..Default::default()
        });
        Ok(())
    }

    /// Until it is started a process's document waits in the bundle, not in memory.
    fn document_file(&self, exec_id: &str) -> std::path::PathBuf {
        Path::new(&self.bundle).join(format!("added-{exec_id}.json"))
    }

    fn take_document(&self, exec_id: &str) -> Result<Vec<u8>> {
        let file = self.document_file(exec_id);
        let document = crate::spec::read_bounded(&file, MAX_DOCUMENT_BYTES as u64)?;
        self.forget_document(exec_id);
        Ok(document)
    }

    fn forget_document(&self, exec_id: &str) {
        // It is gone already when the process was started.
        let _ = std::fs::remove_file(self.document_file(exec_id));
    }

    /// Sends a signal to a process, or to all of the task.
    ///
    /// # Errors
    /// The process has ended, was never started, or the number is no signal.
    pub async fn kill(&self, exec_id: &str, signal: u32, all: bool) -> Result<()> {
        if !(1..=64).contains(&signal) {
            return Err(Error::Invalid(format!("{signal} is no signal: expected 1 to 64")));
        }
        let process = self.process(exec_id)?;
        if process.exit().is_some() {
            return Err(Error::NotFound("the process has ended already".into()));
        }
        let Some(followed) = process.followed() else {
            return Err(Error::Precondition("the process was not started yet".into()));
        };
        if all && exec_id.is_empty() {
            return self.workload.signal_all(signal).await;
        }
        self.workload.signal(followed, signal).await
    }

    /// Deletes a process that has ended and answers how. Deleting the init process deletes the task.
    ///
    /// # Errors
    /// It is running, or something refused; it can be tried again then.
    pub async fn delete(&self, exec_id: &str) -> Result<DeleteResponse> {
        if exec_id.is_empty() {
            return self.delete_task().await;
        }
        let process = self.process(exec_id)?;
        process.finish().await?;
        self.execs().remove(exec_id);
        self.forget_document(exec_id);
        Ok(deleted(&process))
    }

    /// Deletes the task once, and answers the same to whoever asks again: a client that was cut off leaves containerd
    /// without the answer, and with a task that it can be rid of by asking for it only.
    async fn delete_task(&self) -> Result<DeleteResponse> {
        let mut deletion = self.deletion.lock().await;
        if let Some(response) = &*deletion {
            return Ok(response.clone());
        }
        self.end_unstarted_init().await?;
        self.init.finish().await?;
        self.workload.delete().await?;
        let response = deleted(&self.init);
        self.publisher.publish(&TaskDelete {
            container_id: self.id.clone(),
            pid: response.pid,
            exit_status: response.exit_status,
            exited_at: response.exited_at.clone(),
            ..Default::default()
        });
        *deletion = Some(response.clone());
        Ok(response)
    }

    /// An init process that was created and never started is killed, so that its exit is told before its deletion.
    async fn end_unstarted_init(&self) -> Result<()> {
        let waiting = self.init.inner.lock().await.phase == Phase::Created;
        if let Some(followed) = self.init.followed().filter(|_| waiting) {
            followed.signal(SIGKILL)?;
            self.init.wait().await?;
        }
        Ok(())
    }

    /// The shim's last act for the task.
    pub async fn leave(&self) {
        self.workload.leave().await;
    }

    /// Answers a state request.
    ///
    /// # Errors
    /// There is no such process.
    pub async fn state(&self, exec_id: &str) -> Result<StateResponse> {
        let paused = exec_id.is_empty() && self.paused.load(Ordering::Relaxed);
        Ok(self.process(exec_id)?.state(&self.id, &self.bundle, paused).await)
    }

    /// The task's processes on the host, those of exec requests with their id; of a task that has ended the init
    /// process alone. containerd 1.7 and later end a shim that names no process when they start (containerd issue 6860),
    /// and how the task ended would be lost with it.
    ///
    /// # Errors
    /// The workload's.
    pub async fn pids(&self) -> Result<PidsResponse> {
        let pids = match self.workload.processes().await {
            Ok(pids) if pids.is_empty() => vec![self.pid()],
            // Some OCI runtimes refuse to list those of a container that has ended.
            Err(_) if self.init.exit().is_some() => vec![self.pid()],
            other => other?,
        };
        let execs: BTreeMap<u32, String> =
            self.execs().values().map(|exec| (exec.pid(), exec.exec_id.clone())).collect();
        let mut response = PidsResponse::default();
        for pid in pids {
            let details = match execs.get(&pid) {
                Some(exec_id) => {
                    Some(pack(&ProcessDetails { exec_id: exec_id.clone(), ..Default::default() })?)
                }
                None => None,
            };
            response.processes.push(ProcessInfo {
                pid,
                info: MessageField::from_option(details),
                ..Default::default()
            });
        }
        Ok(response)
    }

    /// Stops the task where it is.
    ///
    /// # Errors
    /// The workload's.
    pub async fn pause(&self) -> Result<()> {
        self.workload.pause().await?;
        self.paused.store(true, Ordering::Relaxed);
        self.publisher.publish(&TaskPaused { container_id: self.id.clone(), ..Default::default() });
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// The workload's.
    pub async fn resume(&self) -> Result<()> {
        self.workload.resume().await?;
        self.paused.store(false, Ordering::Relaxed);
        self.publisher.publish(&TaskResumed { container_id: self.id.clone(), ..Default::default() });
        Ok(())
    }

    /// Changes the task's limits.
    ///
    /// # Errors
    /// The document is wrong, or the workload's.
    pub async fn update(&self, resources: &Any) -> Result<()> {
        check_document("resources", &resources.value)?;
        self.workload.update(&resources.value).await
    }

    /// The task's counters.
    ///
    /// # Errors
    /// The workload's.
    pub async fn stats(&self) -> Result<Any> {
        self.workload.stats().await
    }
}

/// How a process ended that is deleted.
fn deleted(process: &Process) -> DeleteResponse {
    let exit = process.exit().unwrap_or_else(|| Exit::now(UNKNOWN_EXIT));
    DeleteResponse {
        pid: process.pid(),
        exit_status: exit.code,
        exited_at: MessageField::some(timestamp(exit.at)),
        ..Default::default()
    }
}

fn created(request: &CreateTaskRequest, pid: u32) -> TaskCreate {
    TaskCreate {
        container_id: request.id.clone(),
        bundle: request.bundle.clone(),
        rootfs: request.rootfs.clone(),
        io: MessageField::some(TaskIO {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
            ..Default::default()
        }),
        pid,
        ..Default::default()
    }
}

fn check_document(what: &str, document: &[u8]) -> Result<()> {
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(Error::Invalid(format!(
            "the {what} document has {} bytes, at most {MAX_DOCUMENT_BYTES} are possible",
            document.len()
        )));
    }
    match serde_json::from_slice::<serde_json::Value>(document) {
        Ok(value) if value.is_object() => Ok(()),
        Ok(_) => Err(Error::Invalid(format!("the {what} document is not a JSON object"))),
        Err(error) => Err(Error::Invalid(format!("the {what} document is not JSON: {error}"))),
    }
}
