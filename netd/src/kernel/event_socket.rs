//! A socket of events.

use std::io::ErrorKind;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::unix::AsyncFd;

use super::extack::KernelError;

/// What the kernel sends in one event datagram is far below this.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// A socket that hears groups of a netlink protocol.
pub(super) struct EventSocket {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

impl EventSocket {
    /// Subscribes, with room for so many bytes of events that are not read yet. `prepare` is called before the
    /// first event can arrive. Must be called inside a tokio runtime.
    pub fn open(
        protocol: isize,
        groups: &[u32],
        buffer_bytes: usize,
        prepare: impl FnOnce(&Socket) -> Result<(), KernelError>,
    ) -> Result<EventSocket, KernelError> {
        let mut socket = Socket::new(protocol)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        prepare(&socket)?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        if setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &buffer_bytes).is_err() {
            setsockopt(&socket.as_fd(), sockopt::RcvBuf, &buffer_bytes)?;
        }
        socket.set_non_blocking(true)?;
        // SAFETY: the socket owns its descriptor, keeps it for as long as it lives and is never replaced.
        let socket = unsafe { AsyncFd::register(socket) }.map_err(std::io::Error::from)?;
        Ok(EventSocket { socket, buffer: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// The socket itself.
    pub fn socket(&self) -> &Socket {
        self.socket.get_ref()
    }

    /// Waits for the next datagram of the kernel's; `None` when one was lost.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, KernelError> {
        loop {
            let mut ready = self.socket.readable().await?;
            self.buffer.clear();
            self.buffer.reserve(DATAGRAM_BYTES);
            match self.socket.get_ref().recv_from(&mut self.buffer, libc::MSG_TRUNC) {
                Ok((length, _)) if length > self.buffer.len() => return Ok(None),
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok(_) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(KernelError::from(error)),
            }
        }
        Ok(Some(&self.buffer))
    }
}
