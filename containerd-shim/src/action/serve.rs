//! The server: serves the task API on the socket that is its standard input, until containerd no longer
//! needs it.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::ttrpc::asynchronous::Server;
use containerd_shim_protos::ttrpc::asynchronous::transport::Listener;
use rustix::process::{Pid, getpid, set_child_subreaper, setsid};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::event_loop;
use crate::args::Args;
use crate::bundle;
use crate::error::{Context, Error, Result};
use crate::events::Publisher;
use crate::log;
use crate::reaper::Reaper;
use crate::service::{Shim, services};

/// Open connections get this long to end when the server does.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Events that containerd has not taken by then are lost.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves.
///
/// # Errors
/// Standard input is no socket, or the system refused.
pub fn run(args: &Args) -> Result<()> {
    let bundle = std::env::current_dir().context(|| "find the bundle".to_owned())?;
    log::to_containerd(&bundle, args.debug);
    let served = prepare().and_then(|listener| event_loop()?.block_on(serve(args, &bundle, listener)));
    if let Err(error) = &served {
        tracing::error!("{error}");
    }
    served
}

/// Takes over the socket and leaves containerd's session and working directory.
fn prepare() -> Result<UnixListener> {
    let listener =
        std::io::stdin().as_fd().try_clone_to_owned().context(|| "take over the socket".to_owned())?;
    let listener = UnixListener::from(listener);
    listener.local_addr().map_err(|error| {
        Error::failed("use standard input as a socket (this program is started by containerd)", error)
    })?;
    let null = std::fs::File::open("/dev/null").context(|| "open /dev/null".to_owned())?;
    rustix::stdio::dup2_stdin(&null).context(|| "close standard input".to_owned())?;
    // Fails only for a leader of a process group, which needs no new session.
    let _ = setsid();
    let own: Option<Pid> = Some(getpid());
    set_child_subreaper(own).context(|| "become a subreaper".to_owned())?;
    std::env::set_current_dir("/").context(|| "leave the bundle".to_owned())?;
    Ok(listener)
}

async fn serve(args: &Args, bundle: &Path, listener: UnixListener) -> Result<()> {
    let ttrpc_address = std::env::var("TTRPC_ADDRESS").map_err(|_| {
        Error::Invalid("TTRPC_ADDRESS is not set: this program is started by containerd".into())
    })?;
    let (publisher, sender) = Publisher::start(&args.namespace, &ttrpc_address);
    let reaper = Arc::new(Reaper::default());
    watch_signals(reaper.clone())?;

    let shim = Arc::new(Shim::new(&args.namespace, &args.id, publisher, reaper));
    let listener = Listener::try_from(listener).context(|| "listen on the socket".to_owned())?;
    let mut server = Server::new().add_listener(listener).register_service(services(shim.clone()));
    server.start().await.map_err(|error| Error::failed("serve the task API", error))?;
    info!("serving {}/{}", args.namespace, args.id);

    shim.wait_shutdown().await;
    if tokio::time::timeout(DISCONNECT_TIMEOUT, server.shutdown()).await.is_err() {
        warn!("open connections are cut");
    }
    shim.leave().await;
    remove_socket(bundle::socket(bundle));
    drop(server);
    drop(shim);
    if tokio::time::timeout(FLUSH_TIMEOUT, sender).await.is_err() {
        warn!("containerd did not take all events");
    }
    Ok(())
}

/// Sweeps up orphans when a child has ended, and stays alive when asked to end: the shim ends with its task.
fn watch_signals(reaper: Arc<Reaper>) -> Result<()> {
    let watch = |kind| signal(kind).context(|| "watch signals".to_owned());
    let mut child = watch(SignalKind::child())?;
    let mut terminate = watch(SignalKind::terminate())?;
    let mut interrupt = watch(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = child.recv() => reaper.sweep(),
                _ = terminate.recv() => info!("TERM ignored: containerd ends its shims"),
                _ = interrupt.recv() => info!("INT ignored: containerd ends its shims"),
            }
        }
    });
    Ok(())
}

fn remove_socket(socket: Option<PathBuf>) {
    if let Some(socket) = socket
        && let Err(error) = std::fs::remove_file(&socket)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        warn!("remove {}: {error}", socket.display());
    }
}
