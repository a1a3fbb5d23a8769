//! Receives a terminal from the OCI runtime, which sends the master side over a Unix socket
//! (`--console-socket`).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

use crate::error::{Context, Error, Result};

/// Where the sockets are: a path short enough for a socket address (108 bytes), unlike a bundle's.
const FOLDER: &str = "/run/corten/shim";

/// A socket that waits for a terminal. Its file goes away with it.
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        // Already gone would be just as well.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl ConsoleSocket {
    /// Makes a socket.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(FOLDER)
            .context(|| format!("create {FOLDER}"))?;
        let path = Path::new(FOLDER).join(format!("{}.pty", crate::random_name()?));
        let listener = UnixListener::bind(&path).context(|| format!("listen on {}", path.display()))?;
        Ok(ConsoleSocket { listener, path })
    }

    /// The path to give to the OCI runtime.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the terminal.
    ///
    /// # Errors
    /// None comes within `timeout`, or what comes is not one descriptor.
    pub async fn receive(&self, timeout: Duration) -> Result<OwnedFd> {
        let received = tokio::time::timeout(timeout, async {
            let (stream, _) = self.listener.accept().await?;
            loop {
                stream.readable().await?;
                match stream.try_io(Interest::READABLE, || receive_descriptor(&stream)) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    other => return other,
                }
            }
        })
        .await;
        match received {
            Ok(result) => result.context(|| "receive the terminal from the OCI runtime".to_owned()),
            Err(_) => Err(Error::failed("receive the terminal from the OCI runtime", "none came in time")),
        }
    }
}

fn receive_descriptor(stream: &UnixStream) -> std::io::Result<OwnedFd> {
    // The message carries the terminal's name, which is of no use here.
    let mut name = [0u8; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or_else(|| std::io::Error::other("the message carries no descriptor"))
}
