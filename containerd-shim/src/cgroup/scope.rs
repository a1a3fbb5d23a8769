//! Asks systemd for a task's scope over D-Bus (org.freedesktop.systemd1(5)).

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use zbus::{OwnedObjectPath, Variant, proxy};

use super::path::SLICE;
use crate::error::{Error, Result};

const TIMEOUT: Duration = Duration::from_secs(10);

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        auxiliary: &[(&str, &[(&str, Variant<'_>)])],
    ) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

/// Whether systemd is the init system (`sd_booted(3)`).
pub fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Starts a delegated scope around a process and waits until it is there.
///
/// # Errors
/// systemd refused, or does not answer within 10 s.
pub async fn start(name: &str, pid: u32) -> Result<()> {
    let what = || format!("start {name}");
    let result = tokio::time::timeout(TIMEOUT, start_and_wait(name, pid)).await;
    match result {
        Ok(Ok(result)) if result == "done" => Ok(()),
        Ok(Ok(result)) => Err(Error::failed(what(), format!("systemd says {result:?}"))),
        Ok(Err(error)) => Err(Error::failed(what(), error)),
        Err(_) => Err(Error::failed(what(), format!("systemd did not within {} s", TIMEOUT.as_secs()))),
    }
}

async fn start_and_wait(name: &str, pid: u32) -> zbus::Result<String> {
    let bus = zbus::Connection::system().await?;
    let manager = ManagerProxy::new(&bus).await?;
    manager.subscribe().await?;
    let mut removed = manager.receive_job_removed().await?;
    let description = format!("Corten workload {}", name.trim_end_matches(".scope"));
    let properties = [
        ("Description", Variant::from(description)),
        ("Slice", Variant::from(SLICE)),
        ("PIDs", Variant::from(vec![pid])),
        ("Delegate", Variant::from(true)),
        // The workload's own limit is set on its part of the scope, everyone's on the slice.
        ("TasksMax", Variant::from(u64::MAX)),
        ("CollectMode", Variant::from("inactive-or-failed")),
        // At shutdown a workload gets this long between TERM and KILL.
        ("TimeoutStopUSec", Variant::from(10_000_000_u64)),
    ];
    loop {
        match manager.start_transient_unit(name, "fail", &properties, &[]).await {
            // The scope of the task that had this name before is on its way out, or lost its shim.
            Err(error) if is(&error, "org.freedesktop.systemd1.UnitExists") => {
                match manager.stop_unit(name, "replace").await {
                    Ok(job) => drop(outcome(&mut removed, &job).await?),
                    Err(error) if is(&error, NO_SUCH_UNIT) => {}
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error),
            Ok(job) => return outcome(&mut removed, &job).await,
        }
    }
}

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

fn is(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(actual, ..) if actual.as_str() == name)
}

/// How a job ended: `done`, or why not.
async fn outcome(removed: &mut JobRemovedStream, job: &OwnedObjectPath) -> zbus::Result<String> {
    while let Some(signal) = removed.next().await {
        let arguments = signal.args()?;
        if arguments.job() == job {
            return Ok(arguments.result().clone());
        }
    }
    Ok("the bus connection was lost".into())
}

/// Stops a scope. One that is gone is not an error.
///
/// # Errors
/// systemd refused, or does not answer in time.
pub async fn stop(name: &str) -> Result<()> {
    let stop = async {
        let bus = zbus::Connection::system().await?;
        ManagerProxy::new(&bus).await?.stop_unit(name, "replace").await.map(drop)
    };
    match tokio::time::timeout(Duration::from_secs(2), stop).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if is(&error, NO_SUCH_UNIT) => Ok(()),
        Ok(Err(error)) => Err(Error::failed(format!("stop {name}"), error)),
        Err(_) => Err(Error::failed(format!("stop {name}"), "systemd does not answer")),
    }
}
