//! VXLAN tunnel end points (RFC 7348): `IFLA_INFO_DATA` of the kind `vxlan`.

use std::net::IpAddr;

use super::link::Settings;
use super::wire::{Message, attributes, read_be16, read_ip, read_u8, read_u32};
use crate::plan::{Setting, Value};

/// `linux/if_link.h`.
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_TTL: u16 = 5;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_AGEING: u16 = 8;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_LOCAL6: u16 = 17;
const IFLA_VXLAN_UDP_CSUM: u16 = 18;
const IFLA_VXLAN_UDP_ZERO_CSUM6_RX: u16 = 20;
const IFLA_VXLAN_DF: u16 = 29;
/// `VXLAN_DF_UNSET`, `VXLAN_DF_SET`.
const DF_UNSET: u8 = 0;
const DF_SET: u8 = 1;

/// What tells a tunnel end point from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VxlanRecord {
    /// Virtual network id.
    pub vni: u32,
    /// Source address; `None` when the routing decides.
    pub local: Option<IpAddr>,
    /// UDP port.
    pub port: u16,
}

/// Adds what a new end point needs. Remotes are entries of its forwarding table.
pub(super) fn put_new(data: Message, vni: u32, local: IpAddr, port: u16, settings: &Settings) -> Message {
    let kind = if local.is_ipv4() { IFLA_VXLAN_LOCAL } else { IFLA_VXLAN_LOCAL6 };
    let mut data = data.u32(IFLA_VXLAN_ID, vni).ip(kind, local).be16(IFLA_VXLAN_PORT, port);
    if let Some(checksum) = settings.get(&Setting::UdpChecksum) {
        let on = checksum.is_on().into();
        data = match local {
            IpAddr::V4(_) => data.u8(IFLA_VXLAN_UDP_CSUM, on),
            // Those it sends always have one.
            IpAddr::V6(_) => data.u8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, u8::from(!checksum.is_on())),
        };
    }
    settings.iter().fold(data, |data, (setting, value)| put(data, *setting, value))
}

/// Adds the option a setting stands for, of those that the kernel also changes later; nothing for others.
pub(super) fn put(data: Message, setting: Setting, value: &Value) -> Message {
    let number = value.number().unwrap_or_default();
    match setting {
        Setting::TunnelAgeing => data.u32(IFLA_VXLAN_AGEING, number),
        Setting::TunnelLearning => data.u8(IFLA_VXLAN_LEARNING, value.is_on().into()),
        Setting::TunnelTtl => data.u8(IFLA_VXLAN_TTL, u8::try_from(number).unwrap_or(u8::MAX)),
        Setting::DontFragment => data.u8(IFLA_VXLAN_DF, if value.is_on() { DF_SET } else { DF_UNSET }),
        _ => data,
    }
}

/// Reads which end point it is, and its options.
pub(super) fn read(data: &[u8], settings: &mut Settings) -> VxlanRecord {
    let mut record = VxlanRecord::default();
    let (mut checksum, mut lenient) = (None, None);
    for (kind, value) in attributes(data) {
        match kind {
            IFLA_VXLAN_ID => record.vni = read_u32(value),
            IFLA_VXLAN_LOCAL | IFLA_VXLAN_LOCAL6 => record.local = read_ip(value),
            IFLA_VXLAN_PORT => record.port = read_be16(value),
            IFLA_VXLAN_TTL => {
                settings.insert(Setting::TunnelTtl, Value::Number(read_u8(value).into()));
            }
            IFLA_VXLAN_AGEING => {
                settings.insert(Setting::TunnelAgeing, Value::Number(read_u32(value)));
            }
            IFLA_VXLAN_LEARNING => {
                settings.insert(Setting::TunnelLearning, Value::Flag(read_u8(value) != 0));
            }
            IFLA_VXLAN_DF => {
                settings.insert(Setting::DontFragment, Value::Flag(read_u8(value) == DF_SET));
            }
            IFLA_VXLAN_UDP_CSUM => checksum = Some(read_u8(value) != 0),
            IFLA_VXLAN_UDP_ZERO_CSUM6_RX => lenient = Some(read_u8(value) != 0),
            _ => {}
        }
    }
    let checksum = match record.local {
        Some(IpAddr::V6(_)) => lenient.map(|lenient| !lenient),
        _ => checksum,
    };
    settings.extend(checksum.map(|on| (Setting::UdpChecksum, Value::Flag(on))));
    record
}
