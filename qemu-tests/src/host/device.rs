//! smoltcp's view of a wire: frames in and out, a VLAN tag pushed and popped if the host has one.

use std::sync::Arc;

use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use crate::frame::{ETHERTYPE_VLAN, View};
use crate::wire::{Queue, Wire};

/// Ethernet header and an IP packet of 1500 bytes.
const FRAME_BYTES: usize = 1514;
/// Two hardware addresses: what stands before a tag.
const ADDRESSES_BYTES: usize = 12;
/// An 802.1Q tag.
const TAG_BYTES: usize = 4;

pub(super) struct WireDevice {
    pub(super) wire: Wire,
    pub(super) queue: Arc<Queue>,
    pub(super) vlan_id: Option<u16>,
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// Whether a host in this VLAN (or in none) would look at the frame at all.
pub(super) fn concerns(vlan_id: Option<u16>, bytes: &[u8]) -> bool {
    View::parse(bytes).is_some_and(|view| view.vlan_id == vlan_id)
}

impl Device for WireDevice {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sender<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sender<'_>)> {
        let captured = self.queue.pop()?;
        self.received += 1;
        let mut bytes = captured.bytes.to_vec();
        if self.vlan_id.is_some() {
            // The capture's filter let only frames with the tag pass.
            bytes.drain(ADDRESSES_BYTES..ADDRESSES_BYTES + TAG_BYTES);
        }
        Some((Received(bytes), Sender(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sender<'_>> {
        Some(Sender(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

pub(super) struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(super) struct Sender<'a>(&'a mut WireDevice);

impl phy::TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut bytes = vec![0; length];
        let result = f(&mut bytes);
        if let Some(vlan_id) = self.0.vlan_id {
            let [a, b] = ETHERTYPE_VLAN.to_be_bytes();
            let [c, d] = vlan_id.to_be_bytes();
            bytes.splice(ADDRESSES_BYTES..ADDRESSES_BYTES, [a, b, c, d]);
        }
        self.0.sent += 1;
        self.0.wire.send(&bytes);
        result
    }
}
