//! Options of a bridge: `IFLA_INFO_DATA` of the kind `bridge`.

use super::link::{Settings, find};
use super::wire::{Message, attributes, read_u8, read_u16, read_u32};
use crate::plan::{Setting, Value};

/// `linux/if_link.h`. Times are in hundredths of a second (`clock_t`), as netd keeps them.
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_AGEING_TIME: u16 = 4;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_PRIORITY: u16 = 6;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
/// `struct ifla_bridge_id`: priority and hardware address.
const IFLA_BR_ROOT_ID: u16 = 10;
const IFLA_BR_BRIDGE_ID: u16 = 11;
const IFLA_BR_TOPOLOGY_CHANGE: u16 = 14;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BR_MCAST_HASH_MAX: u16 = 27;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
const IFLA_BR_FDB_MAX_LEARNED: u16 = 49;
/// `struct br_boolopt_multi`: a word of values, and one of which are meant.
const IFLA_BR_MULTI_BOOLOPT: u16 = 46;
/// `1 << BR_BOOLOPT_MCAST_VLAN_SNOOPING`.
const MCAST_VLAN_SNOOPING: u32 = 1 << 1;

/// Adds the option a setting stands for; nothing for settings of other kinds of links.
pub(super) fn put(data: Message, setting: Setting, value: &Value) -> Message {
    let number = value.number().unwrap_or_default();
    match setting {
        Setting::ForwardDelay => data.u32(IFLA_BR_FORWARD_DELAY, number),
        Setting::AgeingTime => data.u32(IFLA_BR_AGEING_TIME, number),
        Setting::MostLearned => data.u32(IFLA_BR_FDB_MAX_LEARNED, number),
        Setting::Stp => data.u32(IFLA_BR_STP_STATE, number),
        Setting::Priority => data.u16(IFLA_BR_PRIORITY, number as u16),
        Setting::VlanFiltering => data.u8(IFLA_BR_VLAN_FILTERING, number as u8),
        Setting::MulticastSnooping => data.u8(IFLA_BR_MCAST_SNOOPING, number as u8),
        Setting::MulticastGroups => data.u32(IFLA_BR_MCAST_HASH_MAX, number),
        Setting::MulticastPerVlan => {
            let on = if value.is_on() { MCAST_VLAN_SNOOPING } else { 0 };
            let words = [on, MCAST_VLAN_SNOOPING].map(u32::to_ne_bytes).concat();
            data.attribute(IFLA_BR_MULTI_BOOLOPT, &words)
        }
        Setting::DefaultPvid => data.u16(IFLA_BR_VLAN_DEFAULT_PVID, number as u16),
        _ => data,
    }
}

/// Adds the options of a new bridge.
pub(super) fn put_new(data: Message, settings: &Settings) -> Message {
    // Kernels without VLAN filtering refuse even to hear that it shall be off.
    let kept = |(setting, value): &(&Setting, &Value)| **setting != Setting::VlanFiltering || value.is_on();
    settings.iter().filter(kept).fold(data, |data, (setting, value)| put(data, *setting, value))
}

/// Reads the options that were set. Of what the spanning tree rules at this moment the kernel shows only what it
/// came to, which is state: the forward delay is that of the root (IEEE 802.1D-1998, 8.5.3.7), and the root ages
/// addresses fast while the topology changes (8.3.5). Such an option is left out.
pub(super) fn read(data: &[u8], settings: &mut Settings) {
    for (kind, value) in attributes(data) {
        let (setting, value) = match kind {
            IFLA_BR_FORWARD_DELAY => (Setting::ForwardDelay, Value::Number(read_u32(value))),
            IFLA_BR_AGEING_TIME => (Setting::AgeingTime, Value::Number(read_u32(value))),
            IFLA_BR_FDB_MAX_LEARNED => (Setting::MostLearned, Value::Number(read_u32(value))),
            // The kernel says 2 while a daemon runs the spanning tree in its place.
            IFLA_BR_STP_STATE => (Setting::Stp, Value::Flag(read_u32(value) != 0)),
            IFLA_BR_PRIORITY => (Setting::Priority, Value::from(read_u16(value))),
            IFLA_BR_VLAN_FILTERING => (Setting::VlanFiltering, Value::Flag(read_u8(value) != 0)),
            IFLA_BR_MCAST_SNOOPING => (Setting::MulticastSnooping, Value::Flag(read_u8(value) != 0)),
            IFLA_BR_MCAST_HASH_MAX => (Setting::MulticastGroups, Value::Number(read_u32(value))),
            IFLA_BR_MULTI_BOOLOPT => {
                (Setting::MulticastPerVlan, Value::Flag(read_u32(value) & MCAST_VLAN_SNOOPING != 0))
            }
            IFLA_BR_VLAN_DEFAULT_PVID => (Setting::DefaultPvid, Value::from(read_u16(value))),
            _ => continue,
        };
        settings.insert(setting, value);
    }
    if find(data, IFLA_BR_ROOT_ID) != find(data, IFLA_BR_BRIDGE_ID) {
        settings.remove(&Setting::ForwardDelay);
    }
    if find(data, IFLA_BR_TOPOLOGY_CHANGE).is_some_and(|value| read_u8(value) != 0) {
        settings.remove(&Setting::AgeingTime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridge_options_ruled_by_spanning_tree_are_left_out() {
        let shown = |root: &[u8; 8], topology_change: u8| {
            let own = *b"\x80\x00\x02\x00\x00\x00\x00\x01";
            let message = Message::new(0, 0, &[])
                .u32(IFLA_BR_FORWARD_DELAY, 1500)
                .u32(IFLA_BR_AGEING_TIME, 30_000)
                .attribute(IFLA_BR_ROOT_ID, root)
                .attribute(IFLA_BR_BRIDGE_ID, &own)
                .u8(IFLA_BR_TOPOLOGY_CHANGE, topology_change)
                .finish(1, 0);
            let mut settings = Settings::new();
            read(&message[16..], &mut settings);
            settings.into_keys().collect::<Vec<_>>()
        };
        let (own, other) = (b"\x80\x00\x02\x00\x00\x00\x00\x01", b"\x10\x00\x02\x00\x00\x00\x00\x02");
        assert_eq!(shown(own, 0), [Setting::AgeingTime, Setting::ForwardDelay]);
        assert_eq!(shown(own, 1), [Setting::ForwardDelay]);
        assert_eq!(shown(other, 0), [Setting::AgeingTime]);
        assert_eq!(shown(other, 1), []);
    }
}
