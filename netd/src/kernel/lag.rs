//! Options of a LAG: `IFLA_INFO_DATA` of the kind `bond`.

use super::link::Settings;
use super::wire::{Message, attributes, read_u8, read_u32};
use crate::plan::{Setting, Value};

/// `linux/if_link.h`.
const IFLA_BOND_MODE: u16 = 1;
const IFLA_BOND_MIIMON: u16 = 3;
const IFLA_BOND_XMIT_HASH_POLICY: u16 = 14;
const IFLA_BOND_MIN_LINKS: u16 = 18;
const IFLA_BOND_AD_LACP_RATE: u16 = 21;
/// `BOND_MODE_XOR` and `BOND_MODE_8023AD` (linux/if_bonding.h).
const BALANCE_XOR: u8 = 2;
const IEEE_8023AD: u8 = 4;
/// How often the driver looks at its members' carriers by itself, in milliseconds. Without it a static
/// LAG would go on sending to a member that is dark.
const MEMBER_CHECK_MS: u32 = 100;

/// Adds the option a setting stands for; nothing for settings of other kinds of links.
pub(super) fn put(data: Message, setting: Setting, value: &Value) -> Message {
    let number = value.number().unwrap_or_default();
    match setting {
        Setting::HashPolicy => data.u8(IFLA_BOND_XMIT_HASH_POLICY, number as u8),
        Setting::MinLinks => data.u32(IFLA_BOND_MIN_LINKS, number),
        Setting::LacpFast => data.u8(IFLA_BOND_AD_LACP_RATE, number as u8),
        _ => data,
    }
}

/// Adds the options of a new LAG.
pub(super) fn put_new(data: Message, lacp: bool, settings: &Settings) -> Message {
    let mode = if lacp { IEEE_8023AD } else { BALANCE_XOR };
    let data = data.u8(IFLA_BOND_MODE, mode).u32(IFLA_BOND_MIIMON, MEMBER_CHECK_MS);
    // A static LAG has no LACP rate, and the driver refuses one.
    let kept = |(setting, _): &(&Setting, &Value)| lacp || **setting != Setting::LacpFast;
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
            _ => continue,
        };
        settings.insert(setting, value);
    }
    lacp
}
