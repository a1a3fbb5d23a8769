//! Boots the Corten image under QEMU and plugs hosts into its front-panel ports.
//!
//! The crate sees the product as a user does: a disk image, a serial line, SSH, frames on wires. It
//! depends on no other crate of this workspace but those of the agent, of peers and of measurements, and needs QEMU and
//! a few host tools, but not root.
//!
//! Start reading at [`machine::Machine`], which says what is booted, and [`machine::Vm`], which runs.
//! The far end of a port is a [`wire::Wire`]; raw [`frame::Frame`]s (with [`packet::Packet`]s in them), a
//! [`host::Host`] with a TCP/IP stack, a [`host::linux::LinuxHost`] with this kernel's own and real programs, or a
//! [`lacp::Partner`] go on it. A [`patch::Patch`] is a cable between two machines that can be bad in many ways.
//! [`machine::Template`]s are machines that were saved. [`serial::Serial`] is a terminal of 80 by 24 on the console,
//! [`qmp::Qmp`] the machine's remote control. [`pcap`] files hand frames to other readers. [`demo`] plugs a small
//! network into every port. The scenarios themselves are in the program `qemu-tests` (`src/main.rs`).
//!
//! What `cargo os run --demo` does:
//!
//! ```no_run
//! use qemu_tests::{demo, machine::{Asic, Channel, Console, Machine, image}};
//! # fn main() -> anyhow::Result<()> {
//! let mut vm = Machine::from_image(&image()?)
//!     .ports(8)
//!     .config(&demo::config(8, Asic::Virtio), Channel::Smbios)
//!     .console(Console::Inherited) // Ctrl-A X leaves
//!     .start()?;
//! let hosts = demo::plug(&vm)?;
//! vm.wait()?;
//! # drop(hosts);
//! # Ok(())
//! # }
//! ```
//!
//! A machine ends with the thread that started it, at the latest.

pub mod arp;
pub mod demo;
pub mod frame;
pub mod host;
pub mod lacp;
pub mod machine;
pub mod packet;
pub mod patch;
pub mod pcap;
pub mod qmp;
pub mod random;
pub mod results;
pub mod run_folder;
pub mod serial;
pub mod soak;
mod sync;
pub mod tools;
pub mod waiting;
pub mod wire;

pub use corten_measure as measure;

/// What the program of the behaviours exits with when no name fits.
pub const NOTHING_FITS: u8 = 3;
