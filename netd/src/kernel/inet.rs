//! What the IP families keep of a link (`IFLA_AF_SPEC`): IPv6's own address.

use std::path::Path;

use nix::libc;

use super::link::{Settings, set};
use super::wire::{Message, attributes, read_u8};
use crate::plan::{Setting, Value};

/// `linux/if_link.h`.
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// `IN6_ADDR_GEN_MODE_…` (linux/if_link.h).
const ADDR_GEN_MODE_EUI64: u8 = 0;
const ADDR_GEN_MODE_NONE: u8 = 1;

/// Turns the kernel's IPv6 link-local address on or off.
pub(super) fn set_link_local(name: &str, on: bool) -> Message {
    let mode = if on { ADDR_GEN_MODE_EUI64 } else { ADDR_GEN_MODE_NONE };
    set(name).nest(libc::IFLA_AF_SPEC, |spec| {
        spec.nest(libc::AF_INET6 as u16, |inet6| inet6.u8(IFLA_INET6_ADDR_GEN_MODE, mode))
    })
}

/// Whether the kernel routes IPv6 packets that come in by a link, and tells hosts so.
pub fn forwards_ipv6(name: &str) -> bool {
    let file = Path::new("/proc/sys/net/ipv6/conf").join(name).join("forwarding");
    std::fs::read_to_string(file).is_ok_and(|text| text.trim() != "0")
}

/// Reads the settings.
pub(super) fn read(spec: &[u8], settings: &mut Settings) {
    let families = attributes(spec).filter(|(family, _)| i32::from(*family) == libc::AF_INET6);
    for (kind, value) in families.flat_map(|(_, value)| attributes(value)) {
        if kind == IFLA_INET6_ADDR_GEN_MODE {
            let on = read_u8(value) != ADDR_GEN_MODE_NONE;
            settings.insert(Setting::LinkLocal, Value::Flag(on));
        }
    }
}
