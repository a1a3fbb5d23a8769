//! What changes a setting of a link: mostly a message, sometimes a file or a request of the ethtool family.

use nix::errno::Errno;
use nix::libc;

use super::ethtool::{Fec, LinkModes};
use super::extack::KernelError;
use super::link::{header, set};
use super::wire::{Message, hardware_address};
use super::{bridge, bridge_port, inet, lag};
use crate::plan::{Setting, Value};

/// How something is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Not at all.
    Nothing,
    /// By a message of the routing family.
    Message(Message),
    /// By the file that holds a link's IPv6 forwarding.
    #[allow(missing_docs)]
    Forwarding6 { link: &'a str, on: bool },
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
        Setting::Forwarding4 => inet::set_forwarding4(link, on),
        Setting::Forwarding6 => return Ok(Change::Forwarding6 { link, on }),
        Setting::VlanFiltering
        | Setting::DefaultPvid
        | Setting::AgeingTime
        | Setting::Stp
        | Setting::Priority
        | Setting::ForwardDelay
        | Setting::MulticastSnooping
        | Setting::MulticastQuerier => of_kind(link, "bridge", |data| bridge::put(data, setting, value)),
        Setting::HashPolicy | Setting::MinLinks | Setting::LacpFast => {
            of_kind(link, "bond", |data| lag::put(data, setting, value))
        }
        Setting::Isolated | Setting::Learning | Setting::UnicastFlood | Setting::PathCost => {
            bridge_port::set(index(link)?, setting, value)
        }
        Setting::Autoneg => return modes(LinkModes { autoneg: Some(on), ..LinkModes::default() }),
        Setting::Speed => return modes(LinkModes { speed_mbps: number, ..LinkModes::default() }),
        Setting::FullDuplex => {
            return modes(LinkModes { full_duplex: Some(on), ..LinkModes::default() });
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
