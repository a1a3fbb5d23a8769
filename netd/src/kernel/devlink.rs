//! Breakout: a port of the ASIC split into several (`DEVLINK_CMD_PORT_SPLIT`).
//!
//! Of the drivers in the kernel only a few can; the others refuse in words of their own.

use std::collections::BTreeMap;

use super::extack::KernelError;
use super::generic::{self, Family};
use super::wire::{Message, read_text, read_u32};

/// `linux/devlink.h`.
pub(super) const FAMILY: &str = "devlink";
pub(super) const VERSION: u8 = 1;
const DEVLINK_CMD_PORT_GET: u8 = 5;
const DEVLINK_CMD_PORT_SPLIT: u8 = 9;
const DEVLINK_CMD_PORT_UNSPLIT: u8 = 10;
pub(super) const DEVLINK_ATTR_BUS_NAME: u16 = 1;
pub(super) const DEVLINK_ATTR_DEV_NAME: u16 = 2;
const DEVLINK_ATTR_PORT_INDEX: u16 = 3;
const DEVLINK_ATTR_PORT_NETDEV_NAME: u16 = 7;
const DEVLINK_ATTR_PORT_SPLIT_COUNT: u16 = 9;

/// A port as devlink names it: `pci/0000:03:00.0/49`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevlinkPort {
    /// Bus (`pci`).
    pub bus: String,
    /// Device on the bus.
    pub device: String,
    /// Number of the port on the device.
    pub port_index: u32,
}

/// The ports of ASICs, by the links they are behind.
#[derive(Clone, Debug, Default)]
pub struct Ports(BTreeMap<String, DevlinkPort>);

impl Ports {
    /// Asks for all of them at once: the kernel goes through every device for one as for all.
    pub fn dump() -> Result<Ports, KernelError> {
        let mut family = Family::open(FAMILY)?;
        let query = generic::message(family.id, DEVLINK_CMD_PORT_GET, VERSION);
        Ok(Ports(family.connection.dump(&query, |_, payload| read_port(payload))?.into_iter().collect()))
    }

    /// The port behind a link; `None` where its driver tells of none.
    pub fn of(&self, link: &str) -> Option<&DevlinkPort> {
        self.0.get(link)
    }
}

/// A port and the name of its link.
pub(super) fn read_port(payload: &[u8]) -> Option<(String, DevlinkPort)> {
    let (mut bus, mut device, mut port_index, mut name) = (None, None, None, None);
    for (kind, value) in generic::payload_attributes(payload) {
        match kind {
            DEVLINK_ATTR_BUS_NAME => bus = Some(read_text(value)),
            DEVLINK_ATTR_DEV_NAME => device = Some(read_text(value)),
            DEVLINK_ATTR_PORT_INDEX => port_index = Some(read_u32(value)),
            DEVLINK_ATTR_PORT_NETDEV_NAME => name = Some(read_text(value)),
            _ => {}
        }
    }
    Some((name?, DevlinkPort { bus: bus?, device: device?, port_index: port_index? }))
}

/// Splits a port into `count` ports, which appear as links of their own in its place.
pub fn split(port: &DevlinkPort, count: u32) -> Result<(), KernelError> {
    let mut family = Family::open(FAMILY)?;
    let message = split_message(family.id, port, count);
    family.connection.request(message)
}

/// Makes one port again of the ports that one was split into.
pub fn unsplit(port: &DevlinkPort) -> Result<(), KernelError> {
    let mut family = Family::open(FAMILY)?;
    let message = port_message(family.id, DEVLINK_CMD_PORT_UNSPLIT, port);
    family.connection.request(message)
}

fn split_message(family: u16, port: &DevlinkPort, count: u32) -> Message {
    port_message(family, DEVLINK_CMD_PORT_SPLIT, port).u32(DEVLINK_ATTR_PORT_SPLIT_COUNT, count)
}

fn port_message(family: u16, command: u8, port: &DevlinkPort) -> Message {
    generic::message(family, command, VERSION)
        .text(DEVLINK_ATTR_BUS_NAME, &port.bus)
        .text(DEVLINK_ATTR_DEV_NAME, &port.device)
        .u32(DEVLINK_ATTR_PORT_INDEX, port.port_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_names_bus_device_port_and_count() {
        let port = DevlinkPort { bus: "pci".to_owned(), device: "0000:03:00.0".to_owned(), port_index: 49 };
        let bytes = split_message(0x1c, &port, 4).finish(7, 0);
        let mut expected = Vec::new();
        expected.extend_from_slice(&64u32.to_ne_bytes());
        expected.extend_from_slice(&0x1cu16.to_ne_bytes());
        expected.extend_from_slice(&1u16.to_ne_bytes()); // NLM_F_REQUEST
        expected.extend_from_slice(&7u32.to_ne_bytes());
        expected.extend_from_slice(&[0; 4]);
        expected.extend_from_slice(&[9, 1, 0, 0]);
        expected.extend_from_slice(&[8u16, 1].map(u16::to_ne_bytes).concat());
        expected.extend_from_slice(b"pci\0");
        expected.extend_from_slice(&[17u16, 2].map(u16::to_ne_bytes).concat());
        expected.extend_from_slice(b"0000:03:00.0\0\0\0\0");
        expected.extend_from_slice(&[8u16, 3].map(u16::to_ne_bytes).concat());
        expected.extend_from_slice(&49u32.to_ne_bytes());
        expected.extend_from_slice(&[8u16, 9].map(u16::to_ne_bytes).concat());
        expected.extend_from_slice(&4u32.to_ne_bytes());
        assert_eq!(bytes, expected);
        let bytes = port_message(0x1c, DEVLINK_CMD_PORT_UNSPLIT, &port).finish(7, 0);
        assert_eq!((bytes.len(), bytes[16]), (56, 10));
    }

    #[test]
    fn a_port_without_a_link_is_passed_over() {
        let port = DevlinkPort { bus: "pci".to_owned(), device: "0000:03:00.0".to_owned(), port_index: 49 };
        let message = port_message(0x1c, DEVLINK_CMD_PORT_GET, &port);
        assert_eq!(read_port(&message.finish(7, 0)[16..]), None);
        let message =
            port_message(0x1c, DEVLINK_CMD_PORT_GET, &port).text(DEVLINK_ATTR_PORT_NETDEV_NAME, "swp1");
        assert_eq!(read_port(&message.finish(7, 0)[16..]), Some(("swp1".to_owned(), port)));
    }
}
