//! Asks netd for a workload's ports over D-Bus, and gives them back.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use netd_api::attach::AttachRequest;
use netd_api::bus::Attach1Proxy;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tracing::{info, warn};
use zbus::connection::Builder;

use crate::error::{Context, Error, Result};

const ATTACH_TIMEOUT: Duration = Duration::from_secs(15);
/// All of a task's ports together: containerd allows its clean-up 5 s for everything.
const DETACH_TIMEOUT: Duration = Duration::from_secs(2);

/// Attaches the interfaces of a workload, in order, inside the network namespace of one of its processes.
///
/// # Errors
/// The process shares the host's network, or netd refused; the message names the interface.
pub async fn attach(requests: &[AttachRequest], pid: u32) -> Result<()> {
    if requests.is_empty() {
        return Ok(());
    }
    let netns = network_namespace(pid)?;
    let bus = connect(ATTACH_TIMEOUT).await?;
    let netd = Attach1Proxy::new(&bus).await.map_err(|error| Error::failed("talk to netd", error))?;
    for request in requests {
        let netlink = netlink_inside(&netns).await?;
        let namespace = netns.try_clone().context(|| "duplicate a network namespace".to_owned())?;
        let attached = netd.attach(request, namespace.into(), netlink.into()).await.map_err(|error| {
            Error::failed(format!("attach interface {}", request.interface), plain(&error))
        })?;
        info!("interface {} is port {} ({})", request.interface, attached.port, attached.mac);
    }
    Ok(())
}

/// Gives ports back. netd being away is logged, not an error: it drops attachments whose link has vanished.
pub async fn detach(keys: &[String]) {
    if keys.is_empty() {
        return;
    }
    let all = async {
        let bus = connect(DETACH_TIMEOUT).await?;
        let netd = Attach1Proxy::new(&bus).await.map_err(|error| Error::failed("talk to netd", error))?;
        for key in keys {
            netd.detach(key).await.map_err(|error| Error::failed(format!("detach {key}"), plain(&error)))?;
        }
        Ok::<(), Error>(())
    };
    match tokio::time::timeout(DETACH_TIMEOUT, all).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!("{error}; netd drops the port with its link"),
        Err(_) => warn!("netd does not answer; it drops the ports {} with their links", keys.join(", ")),
    }
}

async fn connect(timeout: Duration) -> Result<zbus::Connection> {
    let connection = async { Builder::system().method_timeout(timeout).build().await };
    match tokio::time::timeout(timeout, connection).await {
        Ok(result) => result.map_err(|error| Error::failed("connect to the system bus", error)),
        Err(_) => Err(Error::failed("connect to the system bus", "no answer")),
    }
}

/// netd's own words, without the D-Bus error name where there are any.
fn plain(error: &zbus::Error) -> String {
    match error {
        zbus::Error::FDO(error) if matches!(**error, zbus::fdo::Error::ServiceUnknown(_)) => {
            "netd is not running".into()
        }
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        other => other.to_string(),
    }
}

/// The network namespace of a process, which must not be the host's.
fn network_namespace(pid: u32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/net");
    let what = || format!("open {path}");
    let file = std::fs::File::open(&path).context(what)?;
    let own = std::fs::metadata("/proc/self/ns/net").context(what)?;
    let its = file.metadata().context(what)?;
    if (own.dev(), own.ino()) == (its.dev(), its.ino()) {
        return Err(Error::Invalid(
            "interfaces are asked for, but the container shares the host's network namespace".into(),
        ));
    }
    Ok(file.into())
}

/// A routing socket that lives in another network namespace. A socket belongs to the namespace its maker is
/// in, and that is a property of a thread: so a thread goes there, and ends.
async fn netlink_inside(netns: &OwnedFd) -> Result<OwnedFd> {
    let netns = netns.try_clone().context(|| "duplicate a network namespace".to_owned())?;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let make = move || -> std::io::Result<OwnedFd> {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None, // NETLINK_ROUTE is protocol 0
        )?;
        Ok(socket)
    };
    let what = || "open a netlink socket in the container's network namespace".to_owned();
    std::thread::Builder::new()
        .name("netns".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            // The receiver only goes away with the whole request.
            let _ = sender.send(make());
        })
        .context(what)?;
    match receiver.await {
        Ok(result) => result.context(what),
        Err(_) => Err(Error::failed(what(), "the thread ended early")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_network_is_refused() {
        let error = network_namespace(std::process::id()).unwrap_err();
        assert!(error.to_string().contains("host's network namespace"));
    }

    #[tokio::test]
    async fn no_interfaces_need_no_netd() {
        attach(&[], 1).await.unwrap();
        detach(&[]).await;
    }
}
