//! Ping: ICMP and ICMPv6 echo.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress};

use super::{Host, Stack, Step, endpoint_address};
use crate::random;

/// Pause between two echo requests.
const INTERVAL: Duration = Duration::from_millis(50);

/// What came of a ping.
#[derive(Clone, Debug, Default)]
pub struct PingReport {
    /// Echo requests sent.
    pub sent: u16,
    /// Replies that fit a request.
    pub received: u16,
    /// Round-trip times of those that were answered, in the order of the requests.
    pub round_trips: Vec<Duration>,
}

impl Host {
    /// Sends `count` echo requests and waits for the replies until `timeout` after the last request.
    pub fn ping(&self, destination: IpAddr, count: u16, timeout: Duration) -> Result<PingReport> {
        let identifier = random::from_system() as u16;
        let handle = self.with(|stack| stack.open_ping(identifier))?;
        let mut pending = BTreeMap::new();
        let mut report = PingReport::default();
        let outcome =
            self.ping_on(handle, identifier, destination, count, timeout, &mut pending, &mut report);
        self.with(|stack| stack.sockets.remove(handle));
        outcome.map(|()| report)
    }

    /// Pings until one reply came; the error says what was awaited. Meant for paths that must first be
    /// resolved or learned.
    pub fn ping_until_answered(&self, destination: IpAddr, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if self.ping(destination, 1, Duration::from_secs(1))?.received > 0 {
                return Ok(());
            }
        }
        bail!("{}: no answer to ping from {destination} within {:.0} s", self.name(), timeout.as_secs_f64())
    }

    /// Checks that `count` pings are all answered, after the first answer.
    pub fn ping_all_answered(&self, destination: IpAddr, count: u16) -> Result<PingReport> {
        self.ping_until_answered(destination, Duration::from_secs(10))?;
        let report = self.ping(destination, count, Duration::from_secs(5))?;
        ensure!(
            report.received == count,
            "{}: {} of {count} pings to {destination} were answered",
            self.name(),
            report.received
        );
        Ok(report)
    }

    #[allow(clippy::too_many_arguments)]
    fn ping_on(
        &self,
        handle: SocketHandle,
        identifier: u16,
        destination: IpAddr,
        count: u16,
        timeout: Duration,
        pending: &mut BTreeMap<u16, Instant>,
        report: &mut PingReport,
    ) -> Result<()> {
        for sequence in 0..count {
            self.with(|stack| stack.send_echo(handle, identifier, sequence, destination))?;
            pending.insert(sequence, Instant::now());
            report.sent += 1;
            let last = sequence + 1 == count;
            let deadline = Instant::now() + if last { timeout } else { INTERVAL };
            // The deadline is no error here: a lost reply shows in the report.
            let _ = self.wait("echo replies", deadline, |stack| {
                while let Some(answered) = stack.take_echo(handle, identifier, destination) {
                    if let Some(sent_at) = pending.remove(&answered) {
                        report.received += 1;
                        report.round_trips.push(sent_at.elapsed());
                    }
                }
                Ok(if last && pending.is_empty() { Step::Done(()) } else { Step::Wait })
            });
        }
        Ok(())
    }
}

impl Stack {
    fn open_ping(&mut self, identifier: u16) -> Result<SocketHandle> {
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 64], vec![0; 16 * 1024]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        if let Err(error) = socket.bind(icmp::Endpoint::Ident(identifier)) {
            bail!("cannot bind a ping: {error}");
        }
        Ok(self.sockets.add(socket))
    }

    fn send_echo(
        &mut self,
        handle: SocketHandle,
        ident: u16,
        seq_no: u16,
        destination: IpAddr,
    ) -> Result<()> {
        let data = random::run_token().as_bytes();
        let target = endpoint_address(destination);
        let checksums = ChecksumCapabilities::default();
        let source_v6 = match destination {
            IpAddr::V6(destination) => {
                Some((self.interface.get_source_address_ipv6(&destination), destination))
            }
            IpAddr::V4(_) => None,
        };
        let socket = self.sockets.get_mut::<icmp::Socket>(handle);
        match source_v6 {
            None => {
                let echo = Icmpv4Repr::EchoRequest { ident, seq_no, data };
                // A full send buffer means that the address does not resolve: the request counts as lost.
                if let Ok(bytes) = socket.send(echo.buffer_len(), target) {
                    echo.emit(&mut Icmpv4Packet::new_unchecked(bytes), &checksums);
                }
            }
            Some((source, destination)) => {
                let echo = Icmpv6Repr::EchoRequest { ident, seq_no, data };
                if let Ok(bytes) = socket.send(echo.buffer_len(), target) {
                    echo.emit(&source, &destination, &mut Icmpv6Packet::new_unchecked(bytes), &checksums);
                }
            }
        }
        Ok(())
    }

    /// Takes one packet from the socket; the sequence number if it is the reply to one of our requests.
    fn take_echo(&mut self, handle: SocketHandle, identifier: u16, from: IpAddr) -> Option<u16> {
        let checksums = ChecksumCapabilities::default();
        loop {
            let socket = self.sockets.get_mut::<icmp::Socket>(handle);
            let (bytes, source) = socket.recv().ok()?;
            if source != endpoint_address(from) {
                continue;
            }
            let reply = match source {
                IpAddress::Ipv4(_) => parse_v4(bytes, &checksums),
                IpAddress::Ipv6(_) => parse_v6(bytes),
            };
            if let Some((ident, sequence)) = reply
                && ident == identifier
            {
                return Some(sequence);
            }
        }
    }
}

fn parse_v4(bytes: &[u8], checksums: &ChecksumCapabilities) -> Option<(u16, u16)> {
    match Icmpv4Repr::parse(&Icmpv4Packet::new_checked(bytes).ok()?, checksums).ok()? {
        Icmpv4Repr::EchoReply { ident, seq_no, data } if data == random::run_token().as_bytes() => {
            Some((ident, seq_no))
        }
        _ => None,
    }
}

/// The interface verified the checksum before it gave the packet to the socket.
fn parse_v6(bytes: &[u8]) -> Option<(u16, u16)> {
    let packet = Icmpv6Packet::new_checked(bytes).ok()?;
    let is_reply = packet.msg_type() == smoltcp::wire::Icmpv6Message::EchoReply;
    (is_reply && packet.payload() == random::run_token().as_bytes())
        .then(|| (packet.echo_ident(), packet.echo_seq_no()))
}
