//! The only room that knows netlink: what the kernel holds, as records, and how to change it.
//!
//! It contains no policy. One file an object ([`link`], [`vlan`], [`address`], [`route`], [`neighbour`],
//! [`fdb`]); [`wire`] is the encoding, [`connection`] the request socket, [`extack`] the kernel's
//! errors, [`monitor`] its events, [`snapshot`] the whole as the plan's [`Network`](crate::plan::Network);
//! [`batch`] carries out a plan's actions. [`device`] is the little that is not netlink.

pub mod address;
pub mod batch;
pub mod connection;
pub mod device;
pub mod extack;
pub mod fdb;
pub mod link;
pub mod monitor;
pub mod neighbour;
pub mod netns;
pub mod route;
pub mod snapshot;
pub mod vlan;
pub mod wire;

pub use connection::Connection;
pub use extack::KernelError;
