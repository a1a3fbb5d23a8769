//! Routes of netd's in whose place others put theirs since a look at the kernel.
//!
//! A route that is replaced (`NLM_F_REPLACE`) is found by prefix and metric, whoever's it is (`fib_table_insert`,
//! `fib6_add_rt2node` of Linux 6.12): what a routing daemon put there after the look would be gone. So whoever plans by
//! a look watches from before it, and replaces such a route only if it is still netd's own.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;

use super::event_filter::{self, Heard};
use super::extack::KernelError;
use super::monitor::{self, Event};
use crate::plan::RouteKey;

/// What the kernel sends in one event datagram is far below this.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// Places of routes that others took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenRoutes {
    keys: BTreeSet<RouteKey>,
    /// Events were lost: it may be any.
    unknown: bool,
}

impl TakenRoutes {
    /// Whether others may have a route in this place.
    pub fn may_hold(&self, key: &RouteKey) -> bool {
        self.unknown || self.keys.contains(key)
    }
}

/// Hears which routes of others replace some.
pub struct RouteWatch {
    socket: Socket,
    taken: TakenRoutes,
}

impl RouteWatch {
    /// Watches from now on.
    pub fn open() -> Result<RouteWatch, KernelError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        event_filter::attach(&socket, Heard::default())?;
        for group in [libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV6_ROUTE] {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        Ok(RouteWatch { socket, taken: TakenRoutes::default() })
    }

    /// What was taken so far.
    pub fn taken(&mut self) -> &TakenRoutes {
        let mut buffer = Vec::with_capacity(DATAGRAM_BYTES);
        while !self.taken.unknown {
            buffer.clear();
            match self.socket.recv_from(&mut buffer, libc::MSG_TRUNC) {
                Ok((length, _)) if length > buffer.len() => self.taken.unknown = true,
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok(_) => self.hear(&buffer),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // ENOBUFS above all.
                Err(_) => self.taken.unknown = true,
            }
        }
        &self.taken
    }

    fn hear(&mut self, datagram: &[u8]) {
        for event in monitor::decode(datagram, 0) {
            match event {
                Event::RouteReplaced(route) => {
                    self.taken.keys.insert(route.key());
                }
                Event::Overrun => self.taken.unknown = true,
                _ => {}
            }
        }
    }
}
