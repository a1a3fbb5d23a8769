//! What the IP families keep of a link (`IFLA_AF_SPEC`): forwarding, and IPv6's own address.
//!
//! IPv6 forwarding has no message that sets it: it is a file below /proc/sys.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;

use super::extack::KernelError;
use super::link::{Settings, set};
use super::wire::{Message, attributes, read_u8, read_u32};
use crate::plan::{Setting, Value};

/// `linux/if_link.h`.
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// `IN6_ADDR_GEN_MODE_…` (linux/if_link.h).
const ADDR_GEN_MODE_EUI64: u8 = 0;
const ADDR_GEN_MODE_NONE: u8 = 1;
/// `linux/ip.h`: counted from 1, so it stands first in the array.
const IPV4_DEVCONF_FORWARDING: u16 = 1;

/// Turns IPv4 forwarding on or off.
pub(super) fn set_forwarding4(name: &str, on: bool) -> Message {
    set(name).nest(libc::IFLA_AF_SPEC, |spec| {
        spec.nest(libc::AF_INET as u16, |inet| {
            inet.nest(IFLA_INET_CONF, |conf| conf.u32(IPV4_DEVCONF_FORWARDING, on.into()))
        })
    })
}

/// Turns IPv6 forwarding on or off.
pub(super) fn set_forwarding6(name: &str, on: bool) -> Result<(), KernelError> {
    let path = forwarding6_file(name)?;
    fs::write(&path, if on { "1" } else { "0" }).map_err(|error| {
        let words = format!("{}: {error}", path.display());
        KernelError::with_words(KernelError::from(error).errno, words)
    })
}

fn forwarding6_file(name: &str) -> Result<PathBuf, KernelError> {
    // The kernel gives no link such a name; here it would lead to another file.
    if name.is_empty() || name.contains('/') || matches!(name, "." | ".." | "all" | "default") {
        return Err(KernelError::with_words(Errno::EINVAL, format!("{name:?} is no name of a link")));
    }
    Ok(["/proc/sys/net/ipv6/conf", name, "forwarding"].iter().collect())
}

/// Turns the kernel's IPv6 link-local address on or off.
pub(super) fn set_link_local(name: &str, on: bool) -> Message {
    let mode = if on { ADDR_GEN_MODE_EUI64 } else { ADDR_GEN_MODE_NONE };
    set(name).nest(libc::IFLA_AF_SPEC, |spec| {
        spec.nest(libc::AF_INET6 as u16, |inet6| inet6.u8(IFLA_INET6_ADDR_GEN_MODE, mode))
    })
}

/// Reads the settings. Forwarding is the first number of the array in both families.
pub(super) fn read(spec: &[u8], settings: &mut Settings) {
    for (family, value) in attributes(spec) {
        for (kind, value) in attributes(value) {
            let (setting, on) = match (i32::from(family), kind) {
                (libc::AF_INET, IFLA_INET_CONF) => (Setting::Forwarding4, read_u32(value) != 0),
                (libc::AF_INET6, IFLA_INET6_CONF) => (Setting::Forwarding6, read_u32(value) != 0),
                (libc::AF_INET6, IFLA_INET6_ADDR_GEN_MODE) => {
                    (Setting::LinkLocal, read_u8(value) != ADDR_GEN_MODE_NONE)
                }
                _ => continue,
            };
            settings.insert(setting, Value::Flag(on));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_links_lead_to_no_file() {
        for name in ["", ".", "..", "../all", "all", "default", "a/b"] {
            assert_eq!(forwarding6_file(name).map_err(|error| error.errno), Err(Errno::EINVAL), "{name}");
        }
        let file = PathBuf::from("/proc/sys/net/ipv6/conf/swp1.10/forwarding");
        assert_eq!(forwarding6_file("swp1.10"), Ok(file));
    }
}
