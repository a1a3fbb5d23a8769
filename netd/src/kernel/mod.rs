//! The only room that knows netlink: what the kernel holds, as records, and how to change it.
//!
//! It contains no policy. One file an object ([`link`] with [`bridge`], [`bridge_port`], [`lag`], [`vxlan`],
//! [`veth`], [`inet`]; [`vlan`], [`address`], [`next_hop`], [`route`], [`held_route`],
//! [`neighbour`], [`fdb`], [`mdb`], [`rule`],
//! [`qdisc`], [`filter`]; of the generic families, [`ethtool`] with [`ethtool_stats`], and [`devlink`] with
//! [`devlink_traps`]). [`wire`] is the encoding, [`connection`] the request socket, [`sender`] what makes it fast,
//! [`extack`] the kernel's errors, [`monitor`] its events, [`route_watch`] those that a change must know of,
//! [`link_state`] and [`carrier`] those that come late by themselves, [`detection`] what other hosts say to new
//! addresses, by a [`packet`] socket that speaks [`arp`] and [`advertisement`], [`snapshot`] the whole as the plan's
//! [`Network`](crate::plan::Network), [`unreported`] what drivers leave out of it; [`batch`] carries out a plan's
//! actions. [`device`] and [`bus`] are the little that is not netlink.

pub mod address;
pub mod advertisement;
pub mod arp;
pub mod batch;
pub mod bridge;
pub mod bridge_port;
pub mod bus;
pub mod carrier;
pub mod connection;
pub mod detection;
pub mod device;
pub mod devlink;
pub mod devlink_traps;
pub mod ethtool;
pub mod ethtool_stats;
mod event_filter;
mod event_socket;
pub mod extack;
pub mod fdb;
pub mod filter;
pub mod fuzz;
pub mod generic;
pub mod held_route;
pub mod inet;
pub mod lag;
pub mod link;
mod link_local;
pub mod link_state;
pub mod mdb;
pub mod monitor;
mod multipath;
mod names;
pub mod neighbour;
pub mod neighbour_table;
pub mod netns;
pub mod next_hop;
pub mod nft_counters;
pub mod packet;
mod port_changes;
mod port_monitor;
pub mod qdisc;
pub mod querier;
pub mod route;
mod route_targets;
pub mod route_watch;
pub mod rule;
pub mod sender;
mod setting;
pub mod snapshot;
pub mod unreported;
pub mod veth;
pub mod vlan;
mod vlan_interface;
pub mod vxlan;
pub mod wire;

pub use connection::Connection;
pub use extack::KernelError;
