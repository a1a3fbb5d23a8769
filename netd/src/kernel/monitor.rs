//! Events of the kernel, on sockets of their own.
//!
//! netd acts on the difference between what is wanted and what is, never on an event's content; so an
//! event only has to say that a look is due. That makes lost events (`ENOBUFS`) and events that do not
//! decode harmless: both mean "look".

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::libc;

use super::address::AddressRecord;
use super::connection::for_each_message;
use super::event_filter::{self, Heard};
use super::event_socket::EventSocket;
use super::extack::KernelError;
use super::fdb::FdbRecord;
use super::link::LinkRecord;
use super::mdb::{self, MdbRecord};
use super::neighbour::NeighbourRecord;
use super::next_hop::{NextHopObjectRecord, RTM_DELNEXTHOP, RTM_NEWNEXTHOP};
use super::port_monitor::PortMonitor;
use super::route::{OWN_PROTOCOL, RouteRecord};
use super::wire::read_u32;

/// Room for bursts: a link that goes down flushes all its routes at once.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// What is heard of the routing family.
const GROUPS: [u32; 12] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_NEXTHOP,
    libc::RTNLGRP_MDB,
    libc::RTNLGRP_BRVLAN,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_TC,
];
/// Kinds libc lacks (linux/rtnetlink.h).
pub(super) const RTM_NEWVLAN: u16 = 112;
const RTM_DELVLAN: u16 = 113;

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
    /// Place, options or VLANs of a bridge port (or of the bridge itself) changed.
    BridgePort {
        /// Its index.
        index: u32,
        /// Its name; empty where the kernel does not say.
        name: String,
    },
    /// An address that netd had set is gone, or was found in use by another host.
    AddressLost(AddressRecord),
    /// An address that netd had set is in use: no other host has it.
    AddressReady(AddressRecord),
    /// A route of netd's is gone.
    RouteLost(RouteRecord),
    /// A route of others took the place of one; perhaps netd's.
    RouteReplaced(RouteRecord),
    /// The hardware does not forward by a route of netd's: it failed to take it, or traps its packets. After
    /// [`Monitor::hear_recoveries`] also that it no longer does either.
    RouteHardware(RouteRecord),
    /// A next hop object of netd's is gone or changed.
    NextHop(NextHopObjectRecord),
    /// A static ARP or ND entry of netd's is gone or changed.
    Neighbour(NeighbourRecord),
    /// A static forwarding entry is gone or changed.
    Fdb(FdbRecord),
    /// A multicast group membership that netd had set is gone or changed.
    Mdb(MdbRecord),
    /// A routing rule was added or removed.
    Rule,
    /// Filters of frames on a link were changed.
    Filter,
    /// What hosts do makes a table grow: of addresses the bridge learns, of groups they join, or of neighbours, some of
    /// which do not answer.
    Growth,
    /// A driver was told another speed, duplex, negotiation or error correction, perhaps by netd.
    PortSet,
    /// Events were lost: anything may have changed.
    Overrun,
}

/// The event sockets. Open them before the first dump, so that nothing falls in between.
pub struct Monitor {
    routing: EventSocket,
    ports: PortMonitor,
    heard: Heard,
}

impl Monitor {
    /// Subscribes. Must be called inside a tokio runtime.
    pub fn open() -> Result<Monitor, KernelError> {
        Monitor::with_receive_buffer(RECEIVE_BUFFER_BYTES)
    }

    /// As [`Monitor::open`], with room for so many bytes of events that are not read yet.
    pub fn with_receive_buffer(bytes: usize) -> Result<Monitor, KernelError> {
        let heard = Heard::default();
        let filter = |socket: &Socket| event_filter::attach(socket, heard);
        let routing = EventSocket::open(NETLINK_ROUTE, &GROUPS, bytes, filter)?;
        Ok(Monitor { routing, ports: PortMonitor::open()?, heard })
    }

    /// From now on, says nothing of routes and next hops that the connection with this port id changes:
    /// whoever makes changes reads them back itself. Other things are told all the same: links and addresses
    /// since one change brings about another, entries since the kernel does not say who changed them.
    pub fn ignore_changes_by(&mut self, port_id: u32) -> Result<(), KernelError> {
        self.hear(Heard { own: port_id, ..self.heard })
    }

    fn hear(&mut self, heard: Heard) -> Result<(), KernelError> {
        if self.heard != heard {
            event_filter::attach(self.routing.socket(), heard)?;
            self.heard = heard;
        }
        Ok(())
    }

    /// From now on, tells also of routes of netd's that the hardware takes, or gives back to the kernel: worth
    /// its while only where something is wrong with some, since hardware says so of each route. Answers whether
    /// that is new, so that what happened before was not heard.
    pub fn hear_recoveries(&mut self, hear: bool) -> Result<bool, KernelError> {
        let is_new = hear && !self.heard.recoveries;
        self.hear(Heard { recoveries: hear, ..self.heard })?;
        Ok(is_new)
    }

    /// From now on, tells also that hosts make tables grow, of which netd is not woken otherwise: of one in so many
    /// addresses that the bridge learns (a power of two; 1 for each), and of some of the neighbours that do not answer.
    /// `None` for none of that.
    pub fn hear_growth(&mut self, one_of: Option<u32>) -> Result<(), KernelError> {
        self.hear(Heard { growth: one_of, ..self.heard })
    }

    /// Waits for the next events: all of one datagram. May be empty when none concerns netd.
    pub async fn next(&mut self) -> Result<Vec<Event>, KernelError> {
        tokio::select! {
            datagram = self.routing.next() => {
                let Heard { own, growth, .. } = self.heard;
                let mut events = datagram?.map_or_else(|| vec![Event::Overrun], |datagram| decode(datagram, own));
                // Of groups the kernel tells in any case.
                events.retain(|event| growth.is_some() || *event != Event::Growth);
                Ok(events)
            }
            set = self.ports.next() => Ok(if set? { vec![Event::PortSet] } else { Vec::new() }),
        }
    }
}

/// The events of a datagram, without those of routes and next hops that the connection with port id `own`
/// changed.
pub(super) fn decode(datagram: &[u8], own: u32) -> Vec<Event> {
    let mut events = Vec::new();
    let walked = for_each_message(datagram, |message| {
        let cause = match message.port_number() {
            port if own != 0 && port == own => Cause::Own,
            port if own != 0 && port != 0 => Cause::Other,
            _ => Cause::Unknown,
        };
        interpret(message.message_type(), message.flags(), message.payload(), cause, &mut events);
    });
    if walked.is_err() {
        events = vec![Event::Overrun];
    }
    events
}

/// Who caused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The connection netd makes its changes with.
    Own,
    /// Another program.
    Other,
    /// The kernel or its hardware; or it is not known which connection is netd's.
    Unknown,
}

/// A message of a kind netd knows that does not decode is as good as lost.
fn interpret(kind: u16, flags: u16, payload: &[u8], cause: Cause, events: &mut Vec<Event>) {
    let caused_by_us = cause == Cause::Own;
    let family = i32::from(payload.first().copied().unwrap_or_default());
    let replaces = flags & libc::NLM_F_REPLACE as u16 != 0;
    match kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => events.push(match LinkRecord::parse(payload) {
            None => Event::Overrun,
            // A deletion of this family only means that a port left its bridge.
            Some(link) if family == libc::AF_BRIDGE => {
                Event::BridgePort { index: link.index, name: link.name }
            }
            Some(link) if kind == libc::RTM_DELLINK => Event::LinkGone { index: link.index, name: link.name },
            Some(link) => Event::Link(Box::new(link)),
        }),
        RTM_NEWVLAN | RTM_DELVLAN => {
            // `struct br_vlan_msg`.
            let index = payload.get(4..8).map(read_u32);
            events
                .push(index.map_or(Event::Overrun, |index| Event::BridgePort { index, name: String::new() }));
        }
        libc::RTM_NEWADDR | libc::RTM_DELADDR => events.extend(match AddressRecord::parse(payload) {
            None => Some(Event::Overrun),
            Some(address) if !address.is_own() => None,
            Some(address) if kind == libc::RTM_DELADDR || address.is_duplicate() => {
                Some(Event::AddressLost(address))
            }
            Some(address) => (!address.is_tentative()).then_some(Event::AddressReady(address)),
        }),
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
            // Cached ones and those of other families decode to nothing, and are none of netd's.
            let Some(route) = RouteRecord::parse(payload) else { return };
            events.extend(match (kind, route.protocol == OWN_PROTOCOL) {
                (libc::RTM_DELROUTE, true) => (!caused_by_us).then_some(Event::RouteLost(route)),
                // A program that sets routes under netd's protocol may have replaced one of its.
                (libc::RTM_NEWROUTE, true) if cause == Cause::Other => Some(Event::RouteReplaced(route)),
                // Our own change by itself says nothing yet of what the hardware makes of it.
                (libc::RTM_NEWROUTE, true) => {
                    (route.is_alarming() || !caused_by_us).then_some(Event::RouteHardware(route))
                }
                (libc::RTM_NEWROUTE, false) => replaces.then_some(Event::RouteReplaced(route)),
                _ => None,
            });
        }
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP if caused_by_us => {}
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => match NextHopObjectRecord::parse(payload) {
            None => events.push(Event::Overrun),
            // Whoever replaces one may also put another protocol on it.
            Some(object) if object.id.is_own() => events.push(Event::NextHop(object)),
            Some(_) => {}
        },
        libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH if family == libc::AF_BRIDGE => {
            events.extend(FdbRecord::parse(payload).and_then(|entry| match entry.is_static() {
                true => Some(Event::Fdb(entry)),
                false => (kind == libc::RTM_NEWNEIGH).then_some(Event::Growth),
            }));
        }
        libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => {
            events.extend(NeighbourRecord::parse(payload).and_then(|entry| match entry.is_own() {
                true => Some(Event::Neighbour(entry)),
                false => (entry.state == libc::NUD_FAILED).then_some(Event::Growth),
            }));
        }
        libc::RTM_NEWMDB | libc::RTM_DELMDB => {
            let (own, joined): (Vec<_>, Vec<_>) =
                mdb::parse(payload).into_iter().partition(MdbRecord::is_own);
            events.extend(own.into_iter().map(Event::Mdb));
            let grows = kind == libc::RTM_NEWMDB && !joined.is_empty();
            events.extend(grows.then_some(Event::Growth));
        }
        libc::RTM_NEWRULE | libc::RTM_DELRULE => events.extend((!caused_by_us).then_some(Event::Rule)),
        // Those that came and went with their link, which has events of its own, nobody caused.
        libc::RTM_NEWQDISC | libc::RTM_DELQDISC | libc::RTM_NEWTFILTER | libc::RTM_DELTFILTER => {
            events.extend((cause == Cause::Other).then_some(Event::Filter));
        }
        _ => {}
    }
}
