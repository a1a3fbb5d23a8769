//! Events of the kernel, on a socket of their own.
//!
//! netd acts on the difference between what is wanted and what is, never on an event's content; so an
//! event only has to say that a look is due. That makes lost events (`ENOBUFS`) and events that do not
//! decode harmless: both mean "look".

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use std::os::fd::AsFd;
use tokio::io::unix::AsyncFd;

use super::address::AddressRecord;
use super::connection::for_each_message;
use super::extack::KernelError;
use super::link::LinkRecord;
use super::route::{OWN_PROTOCOL, RouteRecord};

/// Room for bursts: a link that goes down flushes all its routes at once.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// What the kernel sends in one event datagram is far below this.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// Something changed in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is new or changed.
    Link(Box<LinkRecord>),
    /// A link is gone.
    LinkGone {
        /// Its index.
        index: u32,
        /// Its name.
        name: String,
    },
    /// An address that netd had set is gone, or was found in use by another host.
    AddressLost(AddressRecord),
    /// A route of netd's is gone.
    RouteLost(RouteRecord),
    /// Events were lost: anything may have changed.
    Overrun,
}

/// The event socket. Open it before the first dump, so that nothing falls in between.
pub struct Monitor {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Subscribes. Must be called inside a tokio runtime.
    pub fn open() -> Result<Monitor, KernelError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
        ] {
            socket.add_membership(group)?;
        }
        if setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&socket.as_fd(), sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        }
        socket.set_non_blocking(true)?;
        // SAFETY: the socket owns its descriptor, keeps it for as long as it lives and is never replaced.
        let socket = unsafe { AsyncFd::register(socket) }.map_err(std::io::Error::from)?;
        Ok(Monitor { socket, buffer: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Waits for the next events: all of one datagram. May be empty when none concerns netd.
    pub async fn next(&mut self) -> Result<Vec<Event>, KernelError> {
        loop {
            let mut ready = self.socket.readable().await?;
            self.buffer.clear();
            self.buffer.reserve(DATAGRAM_BYTES);
            match self.socket.get_ref().recv_from(&mut self.buffer, libc::MSG_TRUNC) {
                Ok((length, _)) if length > self.buffer.len() => return Ok(vec![Event::Overrun]),
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok(_) => {
                    let mut events = Vec::new();
                    let walked = for_each_message(&self.buffer, |message| {
                        events.extend(interpret(message.message_type(), message.payload()));
                    });
                    return Ok(if walked.is_ok() { events } else { vec![Event::Overrun] });
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(vec![Event::Overrun]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(KernelError::from(error)),
            }
        }
    }
}

fn interpret(kind: u16, payload: &[u8]) -> Option<Event> {
    match kind {
        libc::RTM_NEWLINK => Some(match LinkRecord::parse(payload) {
            Some(link) => Event::Link(Box::new(link)),
            None => Event::Overrun,
        }),
        libc::RTM_DELLINK => {
            // An AF_BRIDGE message of this type only means that a port left its bridge.
            let family = i32::from(*payload.first()?);
            let link = LinkRecord::parse(payload)?;
            Some(if family == libc::AF_BRIDGE {
                Event::Link(Box::new(link))
            } else {
                Event::LinkGone { index: link.index, name: link.name }
            })
        }
        libc::RTM_DELADDR => {
            AddressRecord::parse(payload).filter(AddressRecord::is_own).map(Event::AddressLost)
        }
        libc::RTM_NEWADDR => AddressRecord::parse(payload)
            .filter(|address| address.is_own() && address.is_duplicate())
            .map(Event::AddressLost),
        libc::RTM_DELROUTE => {
            RouteRecord::parse(payload).filter(|route| route.protocol == OWN_PROTOCOL).map(Event::RouteLost)
        }
        _ => None,
    }
}
