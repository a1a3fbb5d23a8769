//! What every client of Corten's network daemon shares: the configuration model with its parser,
//! diagnostics and validation ([`config`]), what is valid and probably a slip ([`warnings`]), who may do what
//! and whom a change shuts out ([`access`]), the state model ([`state`]), its streams ([`table`]) and its alarms
//! ([`alarm`]), what a change did to the network ([`comparison`]), attachment
//! requests ([`attach`]), the D-Bus proxies ([`bus`]) and the paths both sides agree on ([`paths`]).
//!
//! It does no I/O beyond what the proxies do and documents travel as ([`descriptor`]), and knows no netlink. It may depend on serde, toml, zbus
//! and the like, and on no other crate of this workspace. Start reading at [`config`].

pub mod absent;
pub mod access;
pub mod alarm;
pub mod attach;
pub mod bus;
pub mod comparison;
pub mod config;
pub mod descriptor;
pub mod diagnostic;
pub mod events;
pub mod generation;
pub mod paths;
pub mod state;
pub mod table;
pub mod warnings;
