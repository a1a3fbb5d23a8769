//! What a task runs. One trait, one file a kind: [`container`]; virtual machines and functions follow.
//!
//! The task API above it ([`crate::task`]) keeps states, streams and events the same for every kind.

pub mod container;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim_protos::api::Mount;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use serde::{Deserialize, Serialize};

use crate::bundle::State;
use crate::cgroup::oom::OomWatch;
use crate::error::{Error, Result, shown};
use crate::io::Streams;
use crate::options::RuntimeOptions;
use crate::reaper::{Followed, Reaper};
use crate::runtime::Launched;
use crate::spec::Spec;

/// Annotation that names a workload's kind.
pub const KIND_ANNOTATION: &str = "org.corten.kind";

/// Kinds of workloads this shim runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Processes in namespaces, by an OCI runtime.
    Container,
}

impl Kind {
    /// The kind a bundle asks for.
    ///
    /// # Errors
    /// A kind this shim does not run.
    pub fn of(spec: &Spec, annotations: &BTreeMap<String, String>) -> Result<Self> {
        let asked = match annotations.get(KIND_ANNOTATION).map(String::as_str) {
            None if spec.has_vm_section() => "vm",
            None => "container",
            Some(kind) => kind,
        };
        match asked {
            "container" if !spec.has_vm_section() => Ok(Kind::Container),
            "container" => Err(Error::Invalid(format!(
                "annotation {KIND_ANNOTATION}=container contradicts the vm section of config.json"
            ))),
            "vm" | "function" => Err(Error::Unsupported(format!(
                "workloads of kind {asked} are not supported yet, only containers"
            ))),
            other => Err(Error::Invalid(format!(
                "annotation {KIND_ANNOTATION}={}: expected container",
                shown(other)
            ))),
        }
    }
}

/// Everything a workload is made from.
#[derive(Debug)]
pub struct Recipe {
    /// containerd's namespace.
    pub namespace: String,
    /// Container id.
    pub id: String,
    /// Bundle folder.
    pub bundle: PathBuf,
    /// Mounts that make the root file system; empty when the specification names a ready one.
    pub rootfs: Vec<Mount>,
    /// Streams of the init process.
    pub streams: Streams,
    /// How to run the OCI runtime.
    pub options: RuntimeOptions,
    /// Where children are followed.
    pub reaper: Arc<Reaper>,
}

/// A created workload. Its main process is the one `create` returned beside it.
#[async_trait]
pub trait Workload: Send + Sync {
    /// Lets the created main process run.
    async fn start(&self) -> Result<()>;

    /// Runs another process inside. `process` is the OCI process document.
    async fn exec(&self, exec_id: &str, process: &[u8], streams: &Streams) -> Result<Launched>;

    /// Sends a signal to one process of the workload.
    async fn signal(&self, process: &Followed, signal: u32) -> Result<()>;

    /// Sends a signal to all processes of the workload.
    async fn signal_all(&self, signal: u32) -> Result<()>;

    /// Stops the workload where it is.
    async fn pause(&self) -> Result<()>;

    /// Lets it go on.
    async fn resume(&self) -> Result<()>;

    /// Changes its limits. `resources` is the OCI resources document.
    async fn update(&self, resources: &[u8]) -> Result<()>;

    /// Its counters, as a metrics message containerd knows.
    async fn stats(&self) -> Result<Any>;

    /// Ids of its processes on the host.
    async fn processes(&self) -> Result<Vec<u32>>;

    /// Tells when memory ran out; `None` where that cannot be watched.
    fn watch_oom(&self) -> Option<OomWatch>;

    /// Ends what is left now that the main process has ended.
    async fn main_ended(&self);

    /// Gives back everything: ports, mounts, cgroups, the OCI runtime's state.
    async fn delete(&self) -> Result<()>;

    /// The shim's last act for this workload, after [`Workload::delete`].
    async fn leave(&self);
}

/// Makes the workload a bundle describes, ready to be started.
///
/// # Errors
/// The bundle is wrong, or something refused; nothing is left behind then.
pub async fn create(recipe: Recipe) -> Result<(Box<dyn Workload>, Launched)> {
    let spec = Spec::load(&recipe.bundle)?;
    let annotations = spec.annotations();
    match Kind::of(&spec, &annotations)? {
        Kind::Container => {
            let (container, launched) = container::create(recipe, spec, &annotations).await?;
            Ok((Box::new(container), launched))
        }
    }
}

/// Gives back everything a shim that is gone left behind. Goes as far as it can.
pub async fn clean(state: &State, bundle: &std::path::Path, reaper: Arc<Reaper>) {
    match state.kind {
        Kind::Container => container::clean(state, bundle, reaper).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(document: &str) -> Result<Kind> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), document).unwrap();
        let spec = Spec::load(folder.path()).unwrap();
        Kind::of(&spec, &spec.annotations())
    }

    #[test]
    fn containers_are_the_default_and_other_kinds_are_refused_clearly() {
        assert_eq!(kind("{}").unwrap(), Kind::Container);
        assert_eq!(kind(r#"{"annotations":{"org.corten.kind":"container"}}"#).unwrap(), Kind::Container);
        let vm = kind(r#"{"vm":{"kernel":{"path":"/boot/vmlinuz"}}}"#).unwrap_err();
        assert_eq!(vm.to_string(), "workloads of kind vm are not supported yet, only containers");
        assert!(kind(r#"{"annotations":{"org.corten.kind":"function"}}"#).is_err());
        assert!(
            kind(r#"{"annotations":{"org.corten.kind":"pod"}}"#).unwrap_err().to_string().contains("pod")
        );
        assert!(kind(r#"{"vm":{},"annotations":{"org.corten.kind":"container"}}"#).is_err());
    }
}
