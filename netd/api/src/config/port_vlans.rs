//! `vlan.access`, `vlan.trunk` and `vlan.native` of ports, LAGs and profiles.

use super::model::PortVlans;
use super::reader::{Node, Reader};
use super::vlan_ids;
use crate::state::VlanRange;

/// Reads `vlan.access`, `vlan.trunk` and `vlan.native`; `None` when they make no sense.
pub(super) fn read<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<PortVlans> {
    let section = reader.section(node, "vlan")?;
    let access = reader.take(&section, "access");
    let trunk = reader.take(&section, "trunk");
    let native = reader.take(&section, "native");
    let all_known = reader.finish(&section);
    let access_id = access.as_ref().map(|node| vlan_ids::read(reader, node));
    let tagged = trunk.as_ref().map(|node| vlan_ids::read_list(reader, node));
    let native_id = native.as_ref().map(|node| vlan_ids::read(reader, node));
    match (&access, &trunk, &native) {
        (Some(_), Some(other), _) => {
            reader.wrong_value(
                other,
                "a port is either an access port or a trunk: keep `vlan.access` or `vlan.trunk`",
            );
            None
        }
        (Some(_), None, Some(native)) => {
            reader.wrong_value(
                native,
                "`vlan.native` belongs to a trunk; an access port has its VLAN from `vlan.access`",
            );
            None
        }
        (None, None, Some(native)) => {
            reader.wrong_value(
                native,
                "`vlan.native` belongs to a trunk: add `vlan.trunk`, or use `vlan.access`",
            );
            None
        }
        (None, None, None) => {
            reader.missing(
                node,
                all_known,
                "no VLAN: give `vlan.access`, or `vlan.trunk` with or without `vlan.native`",
            );
            None
        }
        (Some(_), None, None) => Some(PortVlans { untagged: access_id?, tagged: Vec::new() }),
        (None, Some(trunk), _) => trunk_vlans(reader, trunk, tagged.unwrap_or_default(), native_id.flatten()),
    }
}

fn trunk_vlans<'d>(
    reader: &mut Reader<'d>,
    node: &Node<'d>,
    tagged: Vec<VlanRange>,
    native: Option<u16>,
) -> Option<PortVlans> {
    if node.value.as_array().is_some_and(|array| array.is_empty()) {
        reader.wrong_value(
            node,
            "a trunk without VLANs: list some, such as [\"10-20\", 30], or use `vlan.access`",
        );
        return None;
    }
    let tagged = native.map_or_else(|| tagged.clone(), |native| vlan_ids::without(&tagged, native));
    Some(PortVlans { untagged: native, tagged })
}
