//! The agent of the test harness: a program in the guest that does what a test on the host asks for.
//!
//! The program is on a disk that only tests attach and speaks over a virtio serial port. This library is what both
//! ends share, the [`protocol`]. It may depend on serde and postcard alone; the program also on nix and zbus.

pub mod protocol;
