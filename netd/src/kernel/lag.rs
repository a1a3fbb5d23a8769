//! Options of a LAG: `IFLA_INFO_DATA` of the kind `bond`.

use super::link::Settings;
use super::wire::{Message, attributes, parse_mac, read_mac, read_u8, read_u16, read_u32};
use crate::plan::{Setting, Value};

/// `linux/if_link.h`.
const IFLA_BOND_MODE: u16 = 1;
const IFLA_BOND_MIIMON: u16 = 3;
const IFLA_BOND_XMIT_HASH_POLICY: u16 = 14;
const IFLA_BOND_MIN_LINKS: u16 = 18;
const IFLA_BOND_AD_LACP_RATE: u16 = 21;
const IFLA_BOND_AD_SELECT: u16 = 22;
const IFLA_BOND_AD_INFO: u16 = 23;
const IFLA_BOND_AD_ACTOR_SYSTEM: u16 = 26;
const IFLA_BOND_AD_INFO_AGGREGATOR: u16 = 1;
const IFLA_BOND_AD_INFO_PARTNER_KEY: u16 = 4;
const IFLA_BOND_AD_INFO_PARTNER_MAC: u16 = 5;
const IFLA_BOND_SLAVE_STATE: u16 = 1;
const IFLA_BOND_SLAVE_MII_STATUS: u16 = 2;
const IFLA_BOND_SLAVE_LINK_FAILURE_COUNT: u16 = 3;
const IFLA_BOND_SLAVE_AD_AGGREGATOR_ID: u16 = 6;
const IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE: u16 = 7;
const IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE: u16 = 8;
/// `BOND_STATE_ACTIVE`, `BOND_LINK_UP` (linux/if_bonding.h).
const STATE_ACTIVE: u8 = 0;
const LINK_UP: u8 = 0;
/// What the driver shows for a partner it has not heard.
const NO_PARTNER: &str = "00:00:00:00:00:00";
/// The bits of a port's state, from the lowest (IEEE 802.1AX 6.4.2.3).
const STATE_BITS: [&str; 8] = [
    "activity",
    "short-timeout",
    "aggregatable",
    "synchronized",
    "collecting",
    "distributing",
    "defaulted",
    "expired",
];
/// `BOND_MODE_XOR` and `BOND_MODE_8023AD` (linux/if_bonding.h).
const BALANCE_XOR: u8 = 2;
const IEEE_8023AD: u8 = 4;
/// How often the driver looks at its members' carriers by itself, in milliseconds. Without it a static
/// LAG would go on sending to a member that is dark.
const MEMBER_CHECK_MS: u32 = 100;

/// What a LAG came to with its partner (`IFLA_BOND_AD_INFO`); the default without LACP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aggregator {
    /// The aggregator in use.
    pub id: u16,
    /// The partner's key.
    pub partner_key: u16,
    /// The partner's system; empty while none was heard.
    pub partner: String,
}

/// How a member of a LAG is doing (`IFLA_BOND_SLAVE_…`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberRecord {
    /// Whether the driver sends and takes frames through it.
    pub active: bool,
    /// Whether the driver holds its link for good.
    pub link_up: bool,
    /// How often its link was lost.
    pub link_failures: u32,
    /// LACP: the aggregator it was sorted into.
    pub aggregator: u16,
    /// LACP: this side's state, see [`state_names`].
    pub actor_state: u8,
    /// LACP: the other side's state.
    pub partner_state: u8,
}

impl MemberRecord {
    /// Whether frames of the LAG go through it; with LACP, only through those of the aggregator in use.
    pub fn carries_frames(&self, lacp: bool, aggregator: &Aggregator) -> bool {
        self.active && self.link_up && (!lacp || self.aggregator == aggregator.id)
    }
}

/// The names of a port's state (IEEE 802.1AX 6.4.2.3).
pub fn state_names(state: u8) -> Vec<String> {
    let bits = STATE_BITS.iter().enumerate().filter(|(bit, _)| state & (1 << bit) != 0);
    bits.map(|(_, name)| (*name).to_owned()).collect()
}

/// Reads what a LAG came to with its partner.
pub(super) fn read_aggregator(data: &[u8]) -> Aggregator {
    let mut found = Aggregator::default();
    let info = attributes(data).filter(|(kind, _)| *kind == IFLA_BOND_AD_INFO);
    for (kind, value) in info.flat_map(|(_, value)| attributes(value)) {
        match kind {
            IFLA_BOND_AD_INFO_AGGREGATOR => found.id = read_u16(value),
            IFLA_BOND_AD_INFO_PARTNER_KEY => found.partner_key = read_u16(value),
            IFLA_BOND_AD_INFO_PARTNER_MAC => found.partner = read_mac(value),
            _ => {}
        }
    }
    if found.partner == NO_PARTNER {
        (found.partner, found.partner_key) = (String::new(), 0);
    }
    found
}

/// Reads how a member is doing.
pub(super) fn read_member(data: &[u8]) -> MemberRecord {
    let mut found = MemberRecord::default();
    for (kind, value) in attributes(data) {
        match kind {
            IFLA_BOND_SLAVE_STATE => found.active = read_u8(value) == STATE_ACTIVE,
            IFLA_BOND_SLAVE_MII_STATUS => found.link_up = read_u8(value) == LINK_UP,
            IFLA_BOND_SLAVE_LINK_FAILURE_COUNT => found.link_failures = read_u32(value),
            IFLA_BOND_SLAVE_AD_AGGREGATOR_ID => found.aggregator = read_u16(value),
            IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE => found.actor_state = read_u8(value),
            // Two bytes, of which the state is the value.
            IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE => found.partner_state = read_u16(value) as u8,
            _ => {}
        }
    }
    found
}

/// Adds the option a setting stands for; nothing for settings of other kinds of links.
pub(super) fn put(data: Message, setting: Setting, value: &Value) -> Message {
    let number = value.number().unwrap_or_default();
    match setting {
        Setting::HashPolicy => data.u8(IFLA_BOND_XMIT_HASH_POLICY, number as u8),
        Setting::MinLinks => data.u32(IFLA_BOND_MIN_LINKS, number),
        Setting::LacpFast => data.u8(IFLA_BOND_AD_LACP_RATE, number as u8),
        Setting::LacpSelect => data.u8(IFLA_BOND_AD_SELECT, number as u8),
        // Without one the driver takes the LAG's own address, as it was when the first member came.
        Setting::LacpSystem => {
            data.attribute(IFLA_BOND_AD_ACTOR_SYSTEM, &parse_mac(value.text()).unwrap_or_default())
        }
        _ => data,
    }
}

/// Adds the options of a new LAG.
pub(super) fn put_new(data: Message, lacp: bool, settings: &Settings) -> Message {
    let mode = if lacp { IEEE_8023AD } else { BALANCE_XOR };
    let data = data.u8(IFLA_BOND_MODE, mode).u32(IFLA_BOND_MIIMON, MEMBER_CHECK_MS);
    // A static LAG has no LACP rate or system, and the driver refuses one.
    let of_lacp =
        |setting: Setting| matches!(setting, Setting::LacpFast | Setting::LacpSelect | Setting::LacpSystem);
    let kept = |(setting, _): &(&Setting, &Value)| lacp || !of_lacp(**setting);
    settings.iter().filter(kept).fold(data, |data, (setting, value)| put(data, *setting, value))
}

/// Reads the options. Answers whether members are negotiated by LACP; `None` for a mode netd does not make.
pub(super) fn read(data: &[u8], settings: &mut Settings) -> Option<bool> {
    let mut lacp = None;
    for (kind, value) in attributes(data) {
        let (setting, value) = match kind {
            IFLA_BOND_MODE => {
                lacp = match read_u8(value) {
                    BALANCE_XOR => Some(false),
                    IEEE_8023AD => Some(true),
                    _ => None,
                };
                continue;
            }
            IFLA_BOND_XMIT_HASH_POLICY => (Setting::HashPolicy, Value::Number(read_u8(value).into())),
            IFLA_BOND_MIN_LINKS => (Setting::MinLinks, Value::Number(read_u32(value))),
            IFLA_BOND_AD_LACP_RATE => (Setting::LacpFast, Value::Flag(read_u8(value) != 0)),
            IFLA_BOND_AD_SELECT => (Setting::LacpSelect, Value::Number(read_u8(value).into())),
            IFLA_BOND_AD_ACTOR_SYSTEM => (Setting::LacpSystem, Value::Text(read_mac(value))),
            _ => continue,
        };
        settings.insert(setting, value);
    }
    lacp
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attributes of a message without headers.
    fn attributes_of(message: Message) -> Vec<u8> {
        message.finish(1, 0)[16..].to_vec()
    }

    #[test]
    fn a_partner_that_was_not_heard_is_none() {
        let of = |mac: [u8; 6]| {
            let info = |info: Message| {
                info.u16(IFLA_BOND_AD_INFO_AGGREGATOR, 2)
                    .u16(IFLA_BOND_AD_INFO_PARTNER_KEY, 17)
                    .attribute(IFLA_BOND_AD_INFO_PARTNER_MAC, &mac)
            };
            read_aggregator(&attributes_of(Message::new(0, 0, &[]).nest(IFLA_BOND_AD_INFO, info)))
        };
        assert_eq!(of([0; 6]), Aggregator { id: 2, ..Aggregator::default() });
        let heard = Aggregator { id: 2, partner_key: 17, partner: "02:00:5e:00:53:01".to_owned() };
        assert_eq!(of([2, 0, 0x5e, 0, 0x53, 1]), heard);
    }

    #[test]
    fn the_state_of_a_member_is_read_and_has_the_names_of_the_standard() {
        let message = Message::new(0, 0, &[])
            .u8(IFLA_BOND_SLAVE_STATE, STATE_ACTIVE)
            .u8(IFLA_BOND_SLAVE_MII_STATUS, LINK_UP)
            .u32(IFLA_BOND_SLAVE_LINK_FAILURE_COUNT, 3)
            .u16(IFLA_BOND_SLAVE_AD_AGGREGATOR_ID, 1)
            .u8(IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE, 0x3d)
            .u16(IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE, 0x45);
        let member = read_member(&attributes_of(message));
        assert_eq!(
            (member.active, member.link_up, member.link_failures, member.aggregator),
            (true, true, 3, 1)
        );
        let names = ["activity", "aggregatable", "synchronized", "collecting", "distributing"];
        assert_eq!(state_names(member.actor_state), names);
        assert_eq!(state_names(member.partner_state), ["activity", "aggregatable", "defaulted"]);
    }
}
