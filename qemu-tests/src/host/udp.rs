//! UDP datagrams sent and awaited.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use smoltcp::socket::udp;

use super::{Host, Stack, endpoint_address};

impl Host {
    /// Sends one datagram from a fresh port. Nothing tells whether it arrived.
    pub fn send_udp(&self, to: SocketAddr, payload: &[u8]) -> Result<()> {
        self.with(|stack| stack.send_udp(to, payload))
    }
}

impl Stack {
    fn send_udp(&mut self, to: SocketAddr, payload: &[u8]) -> Result<()> {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 4096]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        let port = self.take_port();
        if let Err(error) = socket.bind(port) {
            bail!("cannot bind UDP port {port}: {error}");
        }
        if let Err(error) = socket.send_slice(payload, (endpoint_address(to.ip()), to.port())) {
            bail!("cannot send a datagram to {to}: {error}");
        }
        // Stays: the datagram leaves when the address is resolved, and tests send few.
        self.sockets.add(socket);
        Ok(())
    }
}
