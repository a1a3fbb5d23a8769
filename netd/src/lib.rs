//! Corten's network daemon: ports, VLANs, routes, policy, attachments.
//!
//! It may depend on `netd-api` and on no other crate of this workspace (its benchmark also on `corten-measure` and
//! `corten-test-peer`); it links no HTTP, proxy, wasm or message broker. Nobody outside [`kernel`] speaks netlink, and [`plan`] does no I/O.
//!
//! Start reading at [`engine`] (what happens at start and when a document is applied), then [`desired`]
//! (configuration to network), [`plan`] (network to steps), [`transaction`] (steps to kernel, or back).
//! [`daemon`] is the event loop around it, [`dbus`] the service.

pub mod alarms;
pub mod announce;
pub mod attach;
pub mod background;
pub mod clock;
pub mod comparison;
pub mod daemon;
pub mod dbus;
pub mod desired;
pub mod ended;
pub mod engine;
pub mod events;
pub mod failure;
pub mod kernel;
pub mod mask;
pub mod notify;
pub mod plan;
pub mod platform;
pub mod policy;
pub mod progress;
pub mod quirks;
pub mod rights;
pub mod route_name;
pub mod state;
pub mod store;
pub mod transaction;
pub mod turns;
pub mod watchdog;
