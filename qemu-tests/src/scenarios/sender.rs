//! Packets sent by hand to the switch, and where they leave or what becomes of them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::frame::{Mac, View};
use qemu_tests::host::Host;
use qemu_tests::packet::{IcmpError, Packet, icmp_error};
use qemu_tests::wire::Capture;

use super::bridge::mac_of;
use super::reach::PORTS;
use crate::lab::{Lab, eventually, fresh_payload};

/// How long what is on its way may take.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// A station that sends packets by hand to a router, while a host answers for it.
pub(super) struct Sender<'a> {
    pub(super) lab: &'a Lab,
    pub(super) port: u16,
    router: Mac,
    pub(super) host: Host,
}

impl<'a> Sender<'a> {
    /// On an access port of VLAN 10.
    pub(super) fn in_vlan_10(lab: &'a Lab, port: u16) -> Result<Self> {
        Sender::new(lab, port, "vlan10", lab.member(port, 10)?)
    }

    pub(super) fn new(lab: &'a Lab, port: u16, interface: &str, host: Host) -> Result<Self> {
        Ok(Sender { lab, port, router: mac_of(lab, interface)?, host })
    }

    pub(super) fn packet(&self, to: &str) -> Result<Packet> {
        let to: IpAddr = to.parse()?;
        Ok(Packet::udp(self.host.ip(to.is_ipv6())?, to))
    }

    pub(super) fn send(&self, packet: &Packet) -> Result<()> {
        let frame = packet.frame(self.host.mac(), self.router)?.build();
        ensure!(self.lab.vm.wire(self.port)?.send(&frame), "the machine did not take a frame");
        Ok(())
    }

    /// The only port by which a packet leaves, and the station it is for there.
    fn leaves_by(&self, to: &str) -> Result<(u16, Mac)> {
        let payload = fresh_payload("route");
        // The host it is for may well tell the sender that nobody listens there.
        let watched = watch(self.lab, &payload, false)?;
        self.send(&self.packet(to)?.payload(&payload))?;
        let deadline = Instant::now() + SOON;
        let left = loop {
            let found = watched.iter().find_map(|(port, capture)| {
                capture.next_before(Instant::now() + Duration::from_millis(10)).map(|frame| (*port, frame))
            });
            match found {
                Some(found) => break found,
                None if Instant::now() >= deadline => bail!("a packet to {to} came out nowhere"),
                None => {}
            }
        };
        self.passed_by()?;
        for (port, capture) in &watched {
            ensure!(
                capture.drain().is_empty(),
                "a packet to {to} came out of swp{port} besides swp{}",
                left.0
            );
        }
        let view = left.1.view().context("a captured frame is too short")?;
        Ok((left.0, view.destination))
    }

    /// Checks by which port a packet leaves, and that it is addressed to this host there.
    pub(super) fn goes_to(&self, to: &str, port: u16, host: &Host) -> Result<()> {
        let (left, destination) = self.leaves_by(to)?;
        ensure!(
            (left, destination) == (port, host.mac()),
            "a packet to {to} left by swp{left} for {destination} instead of swp{port} for {}",
            host.mac()
        );
        Ok(())
    }

    /// Waits until the router answers, which it does after what was sent before.
    pub(super) fn passed_by(&self) -> Result<()> {
        let gateway: IpAddr = match self.port {
            7 | 11 => "10.0.7.1",
            _ => "10.0.10.1",
        }
        .parse()?;
        self.host.ping_all_answered(gateway, 2).map(drop)
    }

    /// Checks that the sender is told this error of a packet. It is sent again while nothing comes: routers
    /// hold back errors when there are many (RFC 1812, section 4.3.2.8).
    pub(super) fn is_told(&self, what: &str, packet: &Packet, kind: u8, code: u8) -> Result<IcmpError> {
        self.is_told_of(what, |payload| packet.clone().payload(payload), kind, code)
    }

    /// The same of a packet that is made around a payload.
    pub(super) fn is_told_of(
        &self,
        what: &str,
        packet: impl FnOnce(&str) -> Packet,
        kind: u8,
        code: u8,
    ) -> Result<IcmpError> {
        let payload = fresh_payload("error");
        let capture = self.lab.vm.wire(self.port)?.capture_text(&payload);
        let packet = packet(&payload);
        eventually(what, SOON, || {
            self.send(&packet)?;
            let told = self.error_among(&capture)?;
            ensure!((told.kind, told.code) == (kind, code), "the sender was told {told:?}");
            Ok(told)
        })
    }

    fn error_among(&self, capture: &Capture) -> Result<IcmpError> {
        let deadline = Instant::now() + Duration::from_secs(4);
        while let Some(captured) = capture.next_before(deadline) {
            let told = captured.view().and_then(|view| icmp_error(view.ethertype, view.payload));
            if let Some(told) = told {
                return Ok(told);
            }
        }
        bail!("the sender was told nothing")
    }

    /// Checks that a packet leaves nowhere and nobody is told.
    pub(super) fn vanishes(&self, to: &str) -> Result<()> {
        let payload = fresh_payload("vanish");
        let watched = watch(self.lab, &payload, true)?;
        self.send(&self.packet(to)?.payload(&payload))?;
        self.passed_by()?;
        for (port, capture) in &watched {
            ensure!(capture.drain().is_empty(), "something of a packet to {to} came out of swp{port}");
        }
        Ok(())
    }
}

/// Captures of a payload on all ports, with or without the ICMP errors that quote it.
fn watch(lab: &Lab, payload: &str, errors: bool) -> Result<Vec<(u16, Capture)>> {
    let on = |port: u16| {
        let payload = payload.to_owned();
        let capture = lab.vm.wire(port)?.capture_if(move |bytes| {
            let carrier = View::parse(bytes).filter(|view| view.carries(&payload));
            carrier.is_some_and(|view| errors || icmp_error(view.ethertype, view.payload).is_none())
        });
        Ok((port, capture))
    };
    (1..=PORTS).map(on).collect()
}

/// A route as a document has it.
pub(super) fn route(prefix: &str, target: &str) -> String {
    format!("\n[[routes]]\nprefix = \"{prefix}\"\n{target}\n")
}

/// Waits until the switch knows the host on a routed port, by both families.
pub(super) fn resolved(host: &Host, port: u16) -> Result<()> {
    host.ping_until_answered(format!("10.0.{port}.1").parse()?, SOON)?;
    host.ping_until_answered(format!("2001:db8:{port}::1").parse()?, SOON)
}
