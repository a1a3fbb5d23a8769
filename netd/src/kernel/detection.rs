//! Duplicate address detection: whether other hosts use addresses that were just set.
//!
//! The kernel acknowledges an address at once. For IPv6 it asks the link for others that use it only then (RFC 4862,
//! 5.4); for IPv4 it does not ask at all, so this does: one ARP probe for each address, all at once (RFC 5227, 2.1.1).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::arp::{self, Mac};
use super::connection::Connection;
use super::extack::KernelError;
use super::link::LinkRecord;
use super::packet::PacketSocket;
use super::wire::parse_mac;
use super::{address, link};

/// Longer than it takes: a random delay of up to a second, a question, and a second for answers.
const PATIENCE: Duration = Duration::from_secs(4);
const INTERVAL: Duration = Duration::from_millis(50);
/// How long hosts may take to answer an ARP probe. RFC 5227 asks three times within some seconds, which no change
/// can wait for; a host that is slower is found when it speaks of the address.
pub const PROBE_WAIT: Duration = Duration::from_millis(200);

/// An address of a link, by the link's name.
pub type LinkAddress = (String, IpNet);

/// Waits until it is known whether other hosts use the addresses, and answers those they do. A link without a
/// carrier can ask nobody and is not waited for.
pub fn outcome(
    connection: &mut Connection,
    added: &BTreeSet<LinkAddress>,
) -> Result<BTreeSet<LinkAddress>, KernelError> {
    let probes = match Probes::send(connection, added) {
        Ok(probes) => probes,
        Err(error) => {
            tracing::warn!("not known whether other hosts use new IPv4 addresses: {error}");
            None
        }
    };
    let mut used = BTreeSet::new();
    if added.iter().any(|(_, address)| address.addr().is_ipv6()) {
        used = neighbour_discovery(connection, added)?;
    }
    if let Some(probes) = probes {
        match probes.answered() {
            Ok(answered) => used.extend(answered),
            Err(error) => tracing::warn!("answers to ARP probes: {error}"),
        }
    }
    Ok(used)
}

/// Waits for the kernel's own detection.
fn neighbour_discovery(
    connection: &mut Connection,
    added: &BTreeSet<LinkAddress>,
) -> Result<BTreeSet<LinkAddress>, KernelError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let links: BTreeMap<u32, LinkRecord> =
            link::dump(connection, false)?.into_iter().map(|link| (link.index, link)).collect();
        let (mut used, mut asking) = (BTreeSet::new(), false);
        for record in address::dump(connection)? {
            let Some(link) = links.get(&record.index) else { continue };
            let address = (link.name.clone(), record.address);
            if !added.contains(&address) {
                continue;
            }
            asking |= record.is_tentative() && !record.is_duplicate() && link.has_carrier();
            if record.is_duplicate() {
                used.insert(address);
            }
        }
        if !asking || Instant::now() >= until {
            return Ok(used);
        }
        thread::sleep(INTERVAL);
    }
}

/// ARP probes that were sent and wait for answers.
struct Probes {
    socket: PacketSocket,
    /// By interface index and address.
    asked: BTreeMap<(u32, Ipv4Addr), LinkAddress>,
    /// The switch's own addresses: it hears itself where two of its ports meet.
    own: BTreeSet<Mac>,
    until: Instant,
}

impl Probes {
    /// Asks for the IPv4 addresses among these; `None` if there are none on a link with a carrier.
    fn send(connection: &mut Connection, added: &BTreeSet<LinkAddress>) -> io::Result<Option<Probes>> {
        if !added.iter().any(|(_, address)| address.addr().is_ipv4()) {
            return Ok(None);
        }
        let links = link::dump(connection, false).map_err(io::Error::other)?;
        let own = links.iter().filter_map(|link| parse_mac(&link.mac)).collect();
        let carrying: BTreeMap<&str, (u32, Mac)> = links
            .iter()
            .filter(|link| link.has_carrier())
            .filter_map(|link| Some((link.name.as_str(), (link.index, parse_mac(&link.mac)?))))
            .collect();
        let to_ask: Vec<(u32, Mac, Ipv4Addr, &LinkAddress)> = added
            .iter()
            .filter_map(|address| match (carrying.get(address.0.as_str()), address.1.addr()) {
                (Some((index, mac)), IpAddr::V4(wanted)) => Some((*index, *mac, wanted, address)),
                _ => None,
            })
            .collect();
        if to_ask.is_empty() {
            return Ok(None);
        }
        let mut socket = PacketSocket::open()?;
        socket.find_interfaces()?;
        let mut asked = BTreeMap::new();
        for (index, mac, wanted, address) in to_ask {
            match socket.send(index, &arp::probe(mac, wanted)) {
                Ok(()) => _ = asked.insert((index, wanted), address.clone()),
                Err(error) => tracing::warn!("{}: asking for {wanted}: {error}", address.0),
            }
        }
        Ok(Some(Probes { socket, asked, own, until: Instant::now() + PROBE_WAIT }))
    }

    /// Waits for answers, until all that can come have had the time for it.
    fn answered(self) -> io::Result<BTreeSet<LinkAddress>> {
        thread::sleep(self.until.saturating_duration_since(Instant::now()));
        let mut used = BTreeSet::new();
        while let Some((index, packet)) = self.socket.receive()? {
            let claimed =
                [packet.sender, packet.target].into_iter().filter(|address| packet.claims(*address));
            let asked = claimed.filter_map(|address| self.asked.get(&(index, address)));
            if !self.own.contains(&packet.sender_mac) {
                used.extend(asked.cloned());
            }
        }
        Ok(used)
    }
}
