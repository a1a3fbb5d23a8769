//! Options of a bridge port: set by `IFLA_PROTINFO` of an `AF_BRIDGE` message, shown in
//! `IFLA_INFO_SLAVE_DATA`.

use netd_api::config::model::ReservedGroups;
use nix::libc;

use super::link::Settings;
use super::wire::{Message, attributes, read_u8, read_u16, read_u32};
use crate::plan::{Setting, Value};

/// `linux/rtnetlink.h`, `linux/if_link.h`.
const IFLA_PROTINFO: u16 = 12;
const IFLA_BRPORT_COST: u16 = 3;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_GROUP_FWD_MASK: u16 = 31;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BRPORT_MCAST_MAX_GROUPS: u16 = 42;

/// Changes an option of the port with this index.
pub(super) fn set(index: u32, setting: Setting, value: &Value) -> Message {
    let mut header = [0; 16];
    header[0] = libc::AF_BRIDGE as u8;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let number = value.number().unwrap_or_default();
    Message::new(libc::RTM_SETLINK, 0, &header).nest(IFLA_PROTINFO, |port| match setting {
        Setting::PathCost => port.u32(IFLA_BRPORT_COST, number),
        Setting::Learning => port.u8(IFLA_BRPORT_LEARNING, number as u8),
        Setting::UnicastFlood => port.u8(IFLA_BRPORT_UNICAST_FLOOD, number as u8),
        Setting::MostGroups => port.u32(IFLA_BRPORT_MCAST_MAX_GROUPS, number),
        // What is no list of groups is none: the plan's own texts always are.
        Setting::ForwardReserved => {
            let groups: ReservedGroups = value.text().parse().unwrap_or_default();
            port.u16(IFLA_BRPORT_GROUP_FWD_MASK, groups.0)
        }
        Setting::Isolated => port.u8(IFLA_BRPORT_ISOLATED, number as u8),
        _ => port,
    })
}

/// Reads the options.
pub(super) fn read(data: &[u8], settings: &mut Settings) {
    for (kind, value) in attributes(data) {
        let (setting, value) = match kind {
            IFLA_BRPORT_COST => (Setting::PathCost, Value::Number(read_u32(value))),
            IFLA_BRPORT_LEARNING => (Setting::Learning, Value::Flag(read_u8(value) != 0)),
            IFLA_BRPORT_UNICAST_FLOOD => (Setting::UnicastFlood, Value::Flag(read_u8(value) != 0)),
            IFLA_BRPORT_MCAST_MAX_GROUPS => (Setting::MostGroups, Value::Number(read_u32(value))),
            IFLA_BRPORT_GROUP_FWD_MASK => {
                (Setting::ForwardReserved, Value::Text(ReservedGroups(read_u16(value)).to_string()))
            }
            IFLA_BRPORT_ISOLATED => (Setting::Isolated, Value::Flag(read_u8(value) != 0)),
            _ => continue,
        };
        settings.insert(setting, value);
    }
}
