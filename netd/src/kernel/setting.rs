//! What changes a setting of a link: mostly a message, sometimes a request of the ethtool family.

use nix::errno::Errno;
use nix::libc;

use netd_api::config::model::Fec;

use super::ethtool::LinkModes;
use super::extack::KernelError;
use super::link::{header, set};
use super::wire::{Message, hardware_address};
use super::{bridge, bridge_port, inet, lag, vlan_interface, vxlan};
use crate::plan::{Setting, Value};

/// How something is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Not at all.
    Nothing,
    /// By a message of the routing family.
    Message(Message),
    /// By ethtool: what a port negotiates, or runs at.
    #[allow(missing_docs)]
    LinkModes { link: &'a str, modes: LinkModes },
    /// By ethtool: how a port corrects errors.
    #[allow(missing_docs)]
    Fec { link: &'a str, fec: Fec },
}

/// What sets a setting of a link. `index` looks the index of a link up.
pub fn change<'a>(
    link: &'a str,
    index: impl FnOnce(&str) -> Result<u32, KernelError>,
    setting: Setting,
    value: &Value,
) -> Result<Change<'a>, KernelError> {
    let (number, on) = (value.number(), value.is_on());
    let modes = |modes: LinkModes| Ok(Change::LinkModes { link, modes });
    Ok(Change::Message(match setting {
        Setting::Mtu => set(link).u32(libc::IFLA_MTU, number.unwrap_or_default()),
        Setting::Mac => set(link).attribute(libc::IFLA_ADDRESS, &hardware_address(value.text())?),
        // An empty one removes it.
        Setting::Alias => set(link).attribute(libc::IFLA_IFALIAS, value.text().as_bytes()),
        Setting::LinkLocal => inet::set_link_local(link, on),
        Setting::VlanFiltering
        | Setting::DefaultPvid
        | Setting::AgeingTime
        | Setting::MostLearned
        | Setting::Stp
        | Setting::Priority
        | Setting::ForwardDelay
        | Setting::MulticastSnooping
        | Setting::MulticastPerVlan
        | Setting::MulticastGroups => of_kind(link, "bridge", |data| bridge::put(data, setting, value)),
        Setting::PcpIngress | Setting::PcpEgress => {
            of_kind(link, "vlan", |data| vlan_interface::put(data, setting, value))
        }
        Setting::TunnelAgeing | Setting::TunnelLearning | Setting::TunnelTtl | Setting::DontFragment => {
            of_kind(link, "vxlan", |data| vxlan::put(data, setting, value))
        }
        Setting::UdpChecksum | Setting::BridgeBinding => {
            let words = format!("{setting} is a matter of the link's making");
            return Err(KernelError::with_words(Errno::EOPNOTSUPP, words));
        }
        Setting::HashPolicy
        | Setting::MinLinks
        | Setting::LacpFast
        | Setting::LacpSelect
        | Setting::LacpSystem => of_kind(link, "bond", |data| lag::put(data, setting, value)),
        Setting::Isolated
        | Setting::Learning
        | Setting::UnicastFlood
        | Setting::MostGroups
        | Setting::PathCost
        | Setting::ForwardReserved => bridge_port::set(index(link)?, setting, value),
        Setting::Autoneg => return modes(LinkModes { autoneg: Some(on), ..LinkModes::default() }),
        Setting::Speed => return modes(LinkModes { speed: Some(value.clone()), ..LinkModes::default() }),
        Setting::FullDuplex => {
            return modes(LinkModes { full_duplex: Some(value.clone()), ..LinkModes::default() });
        }
        Setting::Fec => {
            let words = || KernelError::with_words(Errno::EINVAL, format!("{value} is no error correction"));
            return Ok(Change::Fec { link, fec: Fec::from_name(value.text()).ok_or_else(words)? });
        }
    }))
}

/// Changes options of a link of this kind. The kernel refuses it for links of other kinds.
fn of_kind(name: &str, kind: &str, fill: impl FnOnce(Message) -> Message) -> Message {
    Message::new(libc::RTM_NEWLINK, 0, &header(0, 0, 0))
        .text(libc::IFLA_IFNAME, name)
        .nest(libc::IFLA_LINKINFO, |info| {
            info.attribute(libc::IFLA_INFO_KIND, kind.as_bytes()).nest(libc::IFLA_INFO_DATA, fill)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::link::{LinkRecord, Settings, create};
    use crate::kernel::wire::attributes;
    use crate::plan::LinkKind;

    fn message(setting: Setting, value: impl Into<Value>) -> Vec<u8> {
        match change("swp1", |_| Ok(7), setting, &value.into()) {
            Ok(Change::Message(message)) => message.finish(1, 0)[16..].to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn made(kind: &LinkKind, settings: &Settings) -> LinkRecord {
        LinkRecord::parse(&create("name", kind, Some(3), settings).unwrap().finish(1, 0)[16..]).unwrap()
    }

    #[test]
    fn links_are_made_with_their_kind_and_the_settings_that_belong_to_it() {
        let settings: Settings = [
            (Setting::Mac, Value::from("02:00:00:00:00:01")),
            (Setting::HashPolicy, Value::Number(1)),
            (Setting::MinLinks, Value::Number(2)),
            (Setting::LacpFast, Value::Flag(true)),
            (Setting::LacpSelect, Value::Number(1)),
            (Setting::LacpSystem, Value::from("02:00:00:00:00:01")),
        ]
        .into();
        let options = |record: &LinkRecord| -> Vec<Setting> { record.settings.keys().copied().collect() };
        let lacp = made(&LinkKind::Lag { lacp: true }, &settings);
        assert_eq!((lacp.lacp, lacp.mac.as_str()), (Some(true), "02:00:00:00:00:01"));
        assert_eq!(
            options(&lacp),
            [
                Setting::HashPolicy,
                Setting::MinLinks,
                Setting::LacpFast,
                Setting::LacpSelect,
                Setting::LacpSystem
            ]
        );
        assert!(lacp.settings.iter().all(|(setting, value)| settings[setting] == *value));
        // The driver refuses an LACP rate where there is no LACP.
        let fixed = made(&LinkKind::Lag { lacp: false }, &settings);
        assert_eq!(
            (fixed.lacp, options(&fixed)),
            (Some(false), vec![Setting::HashPolicy, Setting::MinLinks])
        );
        let vlan = made(&LinkKind::Vlan { parent: "swp1".to_owned(), id: 10 }, &settings);
        assert_eq!((vlan.vlan_id, vlan.lower), (10, 3));
        let none = Value::from("");
        assert_eq!(vlan.settings, [(Setting::PcpIngress, none.clone()), (Setting::PcpEgress, none)].into());
        assert_eq!(made(&LinkKind::Vrf { table: 1001 }, &settings).table, 1001);
        let on =
            [(Setting::VlanFiltering, Value::Flag(true)), (Setting::DefaultPvid, Value::Number(0))].into();
        assert_eq!(made(&LinkKind::Bridge, &on).settings, on);
        let off = [(Setting::VlanFiltering, Value::Flag(false))].into();
        assert_eq!(options(&made(&LinkKind::Bridge, &off)), []);
    }

    #[test]
    fn options_of_lags_and_bridges_say_for_which_kind_they_are() {
        for (kind, setting, value) in [
            ("bond", Setting::HashPolicy, Value::Number(4)),
            ("bond", Setting::MinLinks, Value::Number(3)),
            ("bond", Setting::LacpFast, Value::Flag(true)),
            ("bond", Setting::LacpSelect, Value::Number(2)),
            ("bond", Setting::LacpSystem, Value::from("02:00:00:00:00:01")),
            ("bridge", Setting::VlanFiltering, Value::Flag(true)),
            ("bridge", Setting::DefaultPvid, Value::Number(5)),
            ("bridge", Setting::Priority, Value::Number(4096)),
        ] {
            let record = LinkRecord::parse(&message(setting, value.clone())).unwrap();
            assert_eq!((record.kind.as_str(), record.settings), (kind, [(setting, value)].into()));
        }
    }

    #[test]
    fn nested_settings_of_a_family_stand_where_the_kernel_looks() {
        // IFLA_AF_SPEC { AF_INET6 { IFLA_INET6_ADDR_GEN_MODE = IN6_ADDR_GEN_MODE_NONE } }
        let bytes = message(Setting::LinkLocal, false);
        let mut value: &[u8] = &bytes[16..];
        for wanted in [libc::IFLA_AF_SPEC, libc::AF_INET6 as u16, 8] {
            let inside = attributes(value).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
            value = inside.unwrap_or_else(|| panic!("no {wanted}"));
        }
        assert_eq!(value, [1]);
        // IFLA_PROTINFO { IFLA_BRPORT_ISOLATED = 1 } of the port with this index.
        let bytes = message(Setting::Isolated, true);
        assert_eq!((bytes[0], &bytes[4..8]), (libc::AF_BRIDGE as u8, &7u32.to_ne_bytes()[..]));
        let port = attributes(&bytes[16..]).find(|(kind, _)| *kind == 12).unwrap().1;
        assert_eq!(attributes(port).collect::<Vec<_>>(), [(33, &[1][..])]);
    }
}
