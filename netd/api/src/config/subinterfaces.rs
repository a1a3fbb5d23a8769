//! `[subinterfaces]`: VLANs of a port or LAG that is not in the bridge.

use std::collections::BTreeMap;

use super::document::shortened;
use super::ethernet::{self, MAX_DESCRIPTION};
use super::layer3;
use super::model::{Config, PortRole, Subinterface};
use super::mtu::DEFAULT_MTU_BYTES;
use super::names::{self, MAX_INTERFACE_NAME};
use super::pcp;
use super::reader::{Node, Reader, Section, nearest};
use super::vlan_ids;

/// Most subinterfaces.
const MAX_SUBINTERFACES: usize = 4094;

/// Reads `[subinterfaces]`.
pub(super) fn read<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<String, Subinterface> {
    let Some(node) = reader.take(root, "subinterfaces") else {
        return BTreeMap::new();
    };
    let mut subinterfaces = BTreeMap::new();
    for (name, node) in reader.members(&node, MAX_SUBINTERFACES) {
        let parts = parse_name(name).map_err(|message| reader.wrong_value(&node, message)).ok();
        let Some((parent, vlan_id)) = parts else {
            continue;
        };
        if let Some(subinterface) = read_subinterface(reader, &node, parent, vlan_id) {
            subinterfaces.insert(name.to_owned(), subinterface);
        }
    }
    subinterfaces
}

fn parse_name(name: &str) -> Result<(&str, u16), String> {
    let shown = shortened(name);
    let Some((parent, vlan)) = name.rsplit_once('.') else {
        return Err(format!(
            "`{shown}` names no VLAN: write [subinterfaces.\"swp3.100\"], in quotes, for VLAN 100 of swp3"
        ));
    };
    let vlan_id = vlan_ids::parse(vlan)?;
    if !names::is_port_name(parent) {
        names::check_interface_name(parent)?;
    }
    if name.len() > MAX_INTERFACE_NAME {
        return Err(format!(
            "`{shown}` is too long for the name of an interface: at most {MAX_INTERFACE_NAME} characters"
        ));
    }
    Ok((parent, vlan_id))
}

fn read_subinterface<'d>(
    reader: &mut Reader<'d>,
    node: &Node<'d>,
    parent: &str,
    vlan_id: u16,
) -> Option<Subinterface> {
    let section = reader.section(node, "subinterfaces.*")?;
    let description =
        reader.take(&section, "description").and_then(|node| reader.alias(&node, MAX_DESCRIPTION));
    let enabled = reader.flag(&section, "enabled");
    let mtu_bytes = ethernet::read_mtu(reader, &section);
    let layer3 = layer3::read(reader, &section);
    let pcp = pcp::read(reader, &section);
    reader.finish(&section);
    ethernet::check_mtu(reader, &section, mtu_bytes, &layer3);
    Some(Subinterface {
        place: node.place,
        parent: parent.to_owned(),
        vlan_id,
        description: description.unwrap_or_default().to_owned(),
        enabled: enabled.unwrap_or(true),
        mtu_bytes,
        layer3,
        pcp: pcp.unwrap_or_default(),
    })
}

/// Checks that each has a parent that can carry it.
pub(super) fn check(reader: &mut Reader<'_>, config: &Config) {
    for (name, subinterface) in &config.subinterfaces {
        if reader.is_full() {
            return;
        }
        let path = format!("subinterfaces.{name}");
        let parent = &subinterface.parent;
        let Some(ethernet) = config.ethernet(parent) else {
            let near = nearest(parent, config.ethernets().map(|(name, _)| name));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let message = match names::is_port_name(parent) {
                true => format!("port {parent} is not configured: add [ports.{parent}]{near}"),
                false => format!("no port or LAG `{}`{near}", shortened(parent)),
            };
            reader.wrong(subinterface.place, &path, message);
            continue;
        };
        match &ethernet.role {
            PortRole::Unused | PortRole::Routed(_) => {}
            PortRole::Bridged(_) => {
                let message = format!(
                    "{parent} is in the bridge: give the switch an address in the VLAN by [vlans.{}], or remove `vlan` of {parent}",
                    subinterface.vlan_id
                );
                reader.wrong(subinterface.place, &path, message);
            }
            PortRole::Member(lag) => {
                let message =
                    format!("{parent} is a member of LAG `{lag}`: use `{lag}.{}`", subinterface.vlan_id);
                reader.wrong(subinterface.place, &path, message);
            }
        }
        if config.ports.get(parent).and_then(|port| port.breakout).is_some_and(|parts| parts > 1) {
            reader.wrong(
                subinterface.place,
                &path,
                format!("{parent} is gone when it is split: use one of its parts"),
            );
        }
        let most = ethernet.mtu_bytes.unwrap_or(DEFAULT_MTU_BYTES);
        if let Some(own) = subinterface.mtu_bytes.filter(|own| *own > most) {
            let path = format!("{path}.mtu");
            let place = super::locate_in(&reader.places, &path).unwrap_or(subinterface.place);
            reader.wrong(place, &path, format!("{own} is more than the MTU of {parent}, {most}"));
        }
    }
}
