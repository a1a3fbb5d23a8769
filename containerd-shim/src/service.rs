//! containerd's task service: translates requests, nothing more. The messages of versions 2 and 3 of the
//! task API are the same; only the service's name differs.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim_protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest,
    CreateTaskResponse, DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest, PauseRequest,
    PidsRequest, PidsResponse, ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest, StartResponse,
    StateRequest, StateResponse, StatsRequest, StatsResponse, UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::shim_async::{Task as TaskService, create_task};
use containerd_shim_protos::ttrpc;
use containerd_shim_protos::ttrpc::r#async::{Service, TtrpcContext};
use tokio::sync::{Mutex, Notify};
use tracing::debug;

use crate::error::{Error, Result};
use crate::events::{Publisher, timestamp};
use crate::options::{RUNTIME_VARIABLE, RuntimeOptions};
use crate::reaper::Reaper;
use crate::task::Task;

/// The shim as containerd sees it.
pub struct Shim {
    namespace: String,
    id: String,
    publisher: Publisher,
    reaper: Arc<Reaper>,
    task: Mutex<Slot>,
    shutdown: Notify,
}

/// The one task of this shim.
#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Live(Arc<Task>),
    /// Deleted; what it still holds is given back when the shim ends. Until then it is answered for: containerd ends
    /// the shim once it knows of the deletion, and may have to ask again.
    Deleted(Arc<Task>),
}

/// Both versions of the service, for one shim.
pub fn services(shim: Arc<Shim>) -> HashMap<String, Service> {
    let mut both = HashMap::new();
    for version in [2, 3] {
        let services = create_task(Arc::new(Api(shim.clone())));
        both.extend(
            services.into_values().map(|service| (format!("containerd.task.v{version}.Task"), service)),
        );
    }
    both
}

impl Shim {
    /// A shim without a task.
    pub fn new(namespace: &str, id: &str, publisher: Publisher, reaper: Arc<Reaper>) -> Self {
        Shim {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            publisher,
            reaper,
            task: Mutex::new(Slot::Empty),
            shutdown: Notify::new(),
        }
    }

    /// Waits until containerd no longer needs this shim.
    pub async fn wait_shutdown(&self) {
        self.shutdown.notified().await;
    }

    /// Gives back what the deleted task still holds.
    pub async fn leave(&self) {
        if let Slot::Deleted(task) = &*self.task.lock().await {
            task.leave().await;
        }
    }

    async fn task(&self, id: &str) -> Result<Arc<Task>> {
        match &*self.task.lock().await {
            Slot::Live(task) | Slot::Deleted(task) if task.id() == id => Ok(task.clone()),
            _ => Err(Error::NotFound(format!("task {}", crate::error::shown(id)))),
        }
    }

    async fn create(&self, request: CreateTaskRequest) -> Result<CreateTaskResponse> {
        if request.id != self.id {
            return Err(Error::Invalid(format!("this shim is for container {}", self.id)));
        }
        // Held while creating: nobody else has anything to ask about before.
        let mut slot = self.task.lock().await;
        if matches!(*slot, Slot::Live(_)) {
            return Err(Error::Exists(format!("task {}", self.id)));
        }
        let options = RuntimeOptions::parse(request.options.as_ref(), std::env::var(RUNTIME_VARIABLE).ok())?;
        let (publisher, reaper) = (self.publisher.clone(), self.reaper.clone());
        let task = Task::create(&self.namespace, request, options, publisher, reaper).await?;
        let pid = task.pid();
        *slot = Slot::Live(task);
        Ok(CreateTaskResponse { pid, ..Default::default() })
    }

    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        let task = self.task(&request.id).await?;
        let response = task.delete(&request.exec_id).await?;
        if request.exec_id.is_empty() {
            *self.task.lock().await = Slot::Deleted(task);
        }
        Ok(response)
    }

    async fn connect(&self, request: ConnectRequest) -> Result<ConnectResponse> {
        let task_pid = self.task(&request.id).await.map_or(0, |task| task.pid());
        Ok(ConnectResponse {
            shim_pid: std::process::id(),
            task_pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        })
    }

    async fn stop(&self, request: ShutdownRequest) {
        let idle = !matches!(*self.task.lock().await, Slot::Live(_));
        if idle || request.now {
            self.shutdown.notify_one();
        }
    }
}

/// The shim behind the generated trait.
struct Api(Arc<Shim>);

/// Runs a request to its end even if the connection it came over is lost: the ttrpc server drops the
/// request's future then, which would leave half a container.
async fn whole<T: Send + 'static>(
    request: impl Future<Output = Result<T>> + Send + 'static,
) -> ttrpc::Result<T> {
    match tokio::spawn(request).await {
        Ok(result) => result.map_err(|error| {
            debug!("refused: {error}");
            error.into()
        }),
        Err(error) => Err(Error::failed("serve a request", error).into()),
    }
}

impl Api {
    /// Asks the task something, to the end.
    async fn ask<T, F>(&self, id: &str, question: impl FnOnce(Arc<Task>) -> F) -> ttrpc::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let task = self.0.task(id).await?;
        whole(question(task)).await
    }
}

#[async_trait]
impl TaskService for Api {
    async fn create(
        &self,
        _: &TtrpcContext,
        request: CreateTaskRequest,
    ) -> ttrpc::Result<CreateTaskResponse> {
        let shim = self.0.clone();
        whole(async move { shim.create(request).await }).await
    }

    async fn delete(&self, _: &TtrpcContext, request: DeleteRequest) -> ttrpc::Result<DeleteResponse> {
        let shim = self.0.clone();
        whole(async move { shim.delete(request).await }).await
    }

    async fn connect(&self, _: &TtrpcContext, request: ConnectRequest) -> ttrpc::Result<ConnectResponse> {
        Ok(self.0.connect(request).await?)
    }

    async fn shutdown(&self, _: &TtrpcContext, request: ShutdownRequest) -> ttrpc::Result<Empty> {
        self.0.stop(request).await;
        Ok(Empty::default())
    }

    async fn checkpoint(&self, _: &TtrpcContext, _: CheckpointTaskRequest) -> ttrpc::Result<Empty> {
        Err(Error::Unsupported("checkpoints are not supported".into()).into())
    }

    /// Not through [`whole`]: nothing is lost with a waiter that left, and waiting may take for ever.
    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> ttrpc::Result<WaitResponse> {
        let process = self.0.task(&request.id).await?.process(&request.exec_id)?;
        let exit = process.wait().await?;
        Ok(WaitResponse {
            exit_status: exit.code,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..Default::default()
        })
    }

    async fn start(&self, _: &TtrpcContext, request: StartRequest) -> ttrpc::Result<StartResponse> {
        let pid =
            self.ask(&request.id.clone(), |task| async move { task.start(&request.exec_id).await }).await?;
        Ok(StartResponse { pid, ..Default::default() })
    }

    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> ttrpc::Result<StateResponse> {
        self.ask(&request.id.clone(), |task| async move { task.state(&request.exec_id).await }).await
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> ttrpc::Result<Empty> {
        self.0.task(&request.id).await?.exec(request)?;
        Ok(Empty::default())
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> ttrpc::Result<Empty> {
        let id = request.id.clone();
        let kill =
            |task: Arc<Task>| async move { task.kill(&request.exec_id, request.signal, request.all).await };
        self.ask(&id, kill).await?;
        Ok(Empty::default())
    }

    async fn pids(&self, _: &TtrpcContext, request: PidsRequest) -> ttrpc::Result<PidsResponse> {
        self.ask(&request.id, |task| async move { task.pids().await }).await
    }

    async fn pause(&self, _: &TtrpcContext, request: PauseRequest) -> ttrpc::Result<Empty> {
        self.ask(&request.id, |task| async move { task.pause().await }).await?;
        Ok(Empty::default())
    }

    async fn resume(&self, _: &TtrpcContext, request: ResumeRequest) -> ttrpc::Result<Empty> {
        self.ask(&request.id, |task| async move { task.resume().await }).await?;
        Ok(Empty::default())
    }

    async fn update(&self, _: &TtrpcContext, request: UpdateTaskRequest) -> ttrpc::Result<Empty> {
        let id = request.id.clone();
        self.ask(&id, |task| async move { task.update(&request.resources).await }).await?;
        Ok(Empty::default())
    }

    async fn stats(&self, _: &TtrpcContext, request: StatsRequest) -> ttrpc::Result<StatsResponse> {
        let stats = self.ask(&request.id, |task| async move { task.stats().await }).await?;
        Ok(StatsResponse { stats: MessageField::some(stats), ..Default::default() })
    }

    async fn resize_pty(&self, _: &TtrpcContext, request: ResizePtyRequest) -> ttrpc::Result<Empty> {
        let process = self.0.task(&request.id).await?.process(&request.exec_id)?;
        process.inner.lock().await.io.resize(request.width, request.height)?;
        Ok(Empty::default())
    }

    async fn close_io(&self, _: &TtrpcContext, request: CloseIORequest) -> ttrpc::Result<Empty> {
        let process = self.0.task(&request.id).await?.process(&request.exec_id)?;
        if request.stdin {
            process.inner.lock().await.io.close_stdin();
        }
        Ok(Empty::default())
    }
}
