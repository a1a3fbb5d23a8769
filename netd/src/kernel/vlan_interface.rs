//! Options of a VLAN interface: `IFLA_INFO_DATA` of the kind `vlan`.

use netd_api::config::model::PriorityMap;

use super::link::Settings;
use super::wire::{Message, attributes, read_u32};
use crate::plan::{Setting, Value};

/// `linux/if_link.h`.
const IFLA_VLAN_FLAGS: u16 = 2;
/// `linux/if_vlan.h`.
const VLAN_FLAG_BRIDGE_BINDING: u32 = 0x10;
const IFLA_VLAN_EGRESS_QOS: u16 = 3;
const IFLA_VLAN_INGRESS_QOS: u16 = 4;
const IFLA_VLAN_QOS_MAPPING: u16 = 1;

/// Adds the option a setting stands for. The kernel keeps what a message leaves out, so all are named.
pub(super) fn put(data: Message, setting: Setting, value: &Value) -> Message {
    let kind = match setting {
        Setting::PcpIngress => IFLA_VLAN_INGRESS_QOS,
        Setting::PcpEgress => IFLA_VLAN_EGRESS_QOS,
        _ => return data,
    };
    // What is no map is none: the plan's own texts always are.
    let map: PriorityMap = value.text().parse().unwrap_or_default();
    data.nest(kind, |nest| {
        (0_u32..).zip(map.0).fold(nest, |nest, (from, to)| {
            let mapping = [from.to_ne_bytes(), u32::from(to).to_ne_bytes()].concat();
            nest.attribute(IFLA_VLAN_QOS_MAPPING, &mapping)
        })
    })
}

/// Adds the options of a new interface, which has no map to begin with.
pub(super) fn put_new(data: Message, settings: &Settings) -> Message {
    // `struct ifla_vlan_flags`: which are set, and which are meant.
    let data = match settings.get(&Setting::BridgeBinding) {
        Some(binding) => {
            let flags = if binding.is_on() { VLAN_FLAG_BRIDGE_BINDING } else { 0 };
            data.attribute(IFLA_VLAN_FLAGS, &[flags, VLAN_FLAG_BRIDGE_BINDING].map(u32::to_ne_bytes).concat())
        }
        None => data,
    };
    let named = settings.iter().filter(|(_, value)| !value.text().is_empty());
    named.fold(data, |data, (setting, value)| put(data, *setting, value))
}

/// Reads the options. Of maps the kernel leaves out what becomes 0; priorities above 7 are none of netd's.
pub(super) fn read(data: &[u8], settings: &mut Settings) {
    let flags = attributes(data).find(|(kind, _)| *kind == IFLA_VLAN_FLAGS).map(|(_, value)| read_u32(value));
    let binding = flags.map(|flags| flags & VLAN_FLAG_BRIDGE_BINDING != 0);
    settings.extend(binding.map(|on| (Setting::BridgeBinding, Value::Flag(on))));
    for (setting, wanted) in
        [(Setting::PcpIngress, IFLA_VLAN_INGRESS_QOS), (Setting::PcpEgress, IFLA_VLAN_EGRESS_QOS)]
    {
        let mut map = PriorityMap::default();
        let maps =
            attributes(data).filter(|(kind, _)| *kind == wanted).flat_map(|(_, value)| attributes(value));
        for (_, mapping) in maps.filter(|(kind, value)| *kind == IFLA_VLAN_QOS_MAPPING && value.len() >= 8) {
            let (from, to) = (read_u32(mapping) as usize, read_u32(&mapping[4..]));
            if let (Some(place), Ok(to)) = (map.0.get_mut(from), u8::try_from(to)) {
                *place = to;
            }
        }
        settings.insert(setting, Value::Text(map.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_read_back_as_they_were_written() {
        let wanted: Settings = [
            (Setting::BridgeBinding, Value::from(true)),
            (Setting::PcpIngress, Value::from("5:3")),
            (Setting::PcpEgress, Value::from("0:1 3:6")),
        ]
        .into();
        let message = put_new(Message::new(0, 0, &[]), &wanted).finish(1, 0);
        let mut found = Settings::new();
        read(&message[16..], &mut found);
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_a_map_does_not_name_is_set_to_nothing() {
        let message = put(Message::new(0, 0, &[]), Setting::PcpEgress, &Value::from("")).finish(1, 0);
        let (kind, value) = attributes(&message[16..]).next().unwrap();
        assert_eq!((kind & 0x3fff, attributes(value).count()), (IFLA_VLAN_EGRESS_QOS, 8));
    }
}
