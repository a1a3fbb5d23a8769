//! Containers: processes in namespaces, made by an OCI runtime.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use netd_api::attach::AttachRequest;
use tracing::warn;

use super::{Kind, Recipe, Workload};
use crate::bundle::State;
use crate::cgroup::oom::OomWatch;
use crate::cgroup::{self, TaskCgroup};
use crate::error::{Error, Result};
use crate::events::pack;
use crate::interface;
use crate::io::Streams;
use crate::mount;
use crate::port;
use crate::reaper::{Followed, Reaper};
use crate::runtime::{Launched, OciRuntime};
use crate::spec::{Namespace, Spec};

const SIGKILL: u32 = 9;

/// A created container.
#[derive(Debug)]
pub struct Container {
    bundle: PathBuf,
    state: State,
    runtime: OciRuntime,
    /// Without a PID namespace of its own the kernel does not end its processes with the first.
    own_pid_namespace: bool,
}

/// Makes a container up to the point where its init process waits to be started, with its ports attached.
///
/// # Errors
/// The bundle is wrong, or something refused; everything made so far is given back.
pub async fn create(
    recipe: Recipe,
    mut spec: Spec,
    annotations: &BTreeMap<String, String>,
) -> Result<(Container, Launched)> {
    let interfaces = interface::parse(annotations, &recipe.namespace, &recipe.id)?;
    if !interfaces.is_empty() && spec.namespace("network") == Namespace::Host {
        return Err(Error::Invalid(
            "interfaces are asked for by annotations, but the container has no network namespace of its own"
                .into(),
        ));
    }
    recipe.streams.check()?;
    let runtime = OciRuntime::new(
        &recipe.options,
        &recipe.namespace,
        &recipe.id,
        &recipe.bundle,
        recipe.reaper.clone(),
    );
    let mut container = Container {
        own_pid_namespace: spec.namespace("pid") == Namespace::New,
        state: State::new(&recipe.namespace, &recipe.id, Kind::Container, recipe.options.clone()),
        bundle: recipe.bundle.clone(),
        runtime,
    };
    match container.make(&recipe, &mut spec, &interfaces).await {
        Ok(launched) => Ok((container, launched)),
        Err(error) => {
            clean(&container.state, &container.bundle, recipe.reaper.clone()).await;
            container.leave().await;
            Err(error)
        }
    }
}

impl Container {
    async fn make(
        &mut self,
        recipe: &Recipe,
        spec: &mut Spec,
        interfaces: &[AttachRequest],
    ) -> Result<Launched> {
        self.state.save(&self.bundle)?;
        let unified = cgroup::unified();
        if unified {
            let cgroup = TaskCgroup::of(&recipe.namespace, &recipe.id)?;
            self.state.cgroup = Some(cgroup.clone());
            self.state.save(&self.bundle)?;
            cgroup.enter().await?;
            spec.set_cgroups_path(&cgroup.specification_path());
            spec.save(&self.bundle)?;
        }
        if !recipe.rootfs.is_empty() {
            self.state.rootfs_mounted = true;
            self.state.save(&self.bundle)?;
            mount::mount_all(&recipe.rootfs, &self.bundle.join("rootfs"))?;
        }
        self.state.save(&self.bundle)?;
        let systemd_cgroup = recipe.options.systemd_cgroup && !unified;
        let launched = self.runtime.create(&recipe.streams, systemd_cgroup).await?;
        self.state.set_pid(launched.process.pid);
        self.state.ports = interfaces.iter().map(|request| request.key.clone()).collect();
        let attached = match self.state.save(&self.bundle) {
            Ok(()) => port::attach(interfaces, launched.process.pid).await,
            Err(error) => Err(error),
        };
        if let Err(error) = attached {
            launched.process.signal(SIGKILL)?;
            recipe.reaper.wait(&launched.process).await;
            return Err(error);
        }
        Ok(launched)
    }
}

#[async_trait]
impl Workload for Container {
    async fn start(&self) -> Result<()> {
        self.runtime.start().await
    }

    async fn exec(&self, exec_id: &str, process: &[u8], streams: &Streams) -> Result<Launched> {
        self.runtime.exec(exec_id, process, streams).await
    }

    async fn signal(&self, process: &Followed, signal: u32) -> Result<()> {
        process.signal(signal)
    }

    async fn signal_all(&self, signal: u32) -> Result<()> {
        self.runtime.kill_all(signal).await
    }

    async fn pause(&self) -> Result<()> {
        self.runtime.pause().await
    }

    async fn resume(&self) -> Result<()> {
        self.runtime.resume().await
    }

    async fn update(&self, resources: &[u8]) -> Result<()> {
        self.runtime.update(resources).await
    }

    async fn stats(&self) -> Result<Any> {
        match &self.state.cgroup {
            Some(cgroup) => pack(&cgroup::stats::read(&cgroup.task_folder())),
            None => Err(Error::Unsupported(format!(
                "statistics need cgroup version 2 alone at {}, which this system does not have",
                cgroup::ROOT
            ))),
        }
    }

    async fn processes(&self) -> Result<Vec<u32>> {
        match &self.state.cgroup {
            Some(cgroup) => cgroup::processes(&cgroup.task_folder()),
            None => self.runtime.processes().await,
        }
    }

    fn watch_oom(&self) -> Option<OomWatch> {
        let cgroup = self.state.cgroup.as_ref()?;
        OomWatch::new(&cgroup.task_folder())
            .inspect_err(|error| warn!("memory shortage will not be reported: {error}"))
            .ok()
    }

    async fn main_ended(&self) {
        if self.own_pid_namespace {
            return;
        }
        match &self.state.cgroup {
            Some(cgroup) => cgroup.kill(),
            None => {
                if let Err(error) = self.runtime.kill_all(SIGKILL).await {
                    warn!("processes of the container may be left: {error}");
                }
            }
        }
    }

    async fn delete(&self) -> Result<()> {
        self.runtime.delete().await?;
        port::detach(&self.state.ports).await;
        if let Some(cgroup) = &self.state.cgroup {
            cgroup.remove_task().await?;
        }
        if self.state.rootfs_mounted {
            mount::unmount_all(&self.bundle.join("rootfs"))?;
        }
        State::remove(&self.bundle)
    }

    async fn leave(&self) {
        if let Some(cgroup) = &self.state.cgroup {
            cgroup.leave().await;
        }
    }
}

/// Gives back everything the record names, going on where something fails. Nothing of it need exist. Then
/// the record itself goes, unless something is left to try again.
pub async fn clean(state: &State, bundle: &Path, reaper: Arc<Reaper>) {
    let runtime = OciRuntime::new(&state.runtime, &state.namespace, &state.id, bundle, reaper.clone());
    let mut done = worked(runtime.delete().await);
    if state.init_lives() {
        kill_and_wait(state.pid, &reaper).await;
    }
    port::detach(&state.ports).await;
    if let Some(cgroup) = &state.cgroup {
        done &= worked(cgroup.remove_task().await);
    }
    if state.rootfs_mounted {
        done &= worked(mount::unmount_all(&bundle.join("rootfs")));
    }
    if done {
        worked(State::remove(bundle));
    }
}

fn worked(step: Result<()>) -> bool {
    step.inspect_err(|error| warn!("{error}")).is_ok()
}

/// Kills the init process, which need not be a child of this process, and waits a little for its end.
async fn kill_and_wait(pid: u32, reaper: &Reaper) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let Ok(process) = reaper.follow(pid) else { return };
    if let Err(error) = process.signal(SIGKILL) {
        return warn!("{error}");
    }
    if tokio::time::timeout(PATIENCE, reaper.wait(&process)).await.is_err() {
        warn!("process {pid} does not end though killed");
    }
}
