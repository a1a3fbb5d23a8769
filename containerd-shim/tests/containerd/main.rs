//! The shim under a real containerd, with a real OCI runtime and real containers, on one of two [`harness::stack`]s.
//!
//! On the host it needs root (`cargo os test` starts it through sudo) and the Debian packages containerd,
//! busybox-static, dbus-daemon and crun (runc where cgroup version 2 is not the only hierarchy: crun refuses such
//! systems). Each test starts a containerd of its own in a scratch folder; nothing outside it is touched but
//! sockets below /run/containerd/s and /run/corten.
//!
//! `cargo os test` also runs it in the guest, on the image's containerd, crun, control groups, systemd and netd:
//! see `qemu-tests/src/scenarios/shim_suite.rs`. Tests that only this can show are [`image`]'s.

// Helpers of tests are tests too: an unwrap that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod greeting;
mod harness;
mod image;
mod lifecycle;
mod ports;
mod recovery;
mod streams;
