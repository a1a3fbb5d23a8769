//! Telling systemd that the service is ready (`sd_notify(3)`).

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::{Context, Result};

/// Says that start-up is over. Does nothing when systemd did not ask.
pub fn ready() -> Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let name = path.as_encoded_bytes();
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let send = || UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address?);
    send().map(|_| ()).context("cannot tell systemd that the service is ready")
}
