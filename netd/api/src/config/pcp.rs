//! `pcp`: how 802.1Q priorities of an interface in a VLAN are mapped.

use super::document::shortened;
use super::model::{PcpMaps, PriorityMap};
use super::reader::{Node, Reader, Section};

/// Reads `pcp`; `None` when the key is absent.
pub(super) fn read<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Option<PcpMaps> {
    let node = reader.take(section, "pcp")?;
    let section = reader.section(&node, "pcp")?;
    let ingress = reader.take(&section, "ingress").map(|node| read_map(reader, &node));
    let egress = reader.take(&section, "egress").map(|node| read_map(reader, &node));
    reader.finish(&section);
    Some(PcpMaps { ingress: ingress.unwrap_or_default(), egress: egress.unwrap_or_default() })
}

/// A table of priorities: `{ 5 = 3, 6 = 6 }`.
fn read_map<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> PriorityMap {
    let mut map = PriorityMap::default();
    for (name, node) in reader.members(node, 8) {
        let from = name.parse::<usize>().ok().filter(|from| *from < 8 && name.len() == 1);
        let to = reader.integer(&node, 0..=7).and_then(|to| u8::try_from(to).ok());
        match (from, to) {
            (Some(from), Some(to)) => map.0[from] = to,
            (None, _) => {
                reader.wrong_value(&node, format!("`{}` is no priority: they are 0 to 7", shortened(name)));
            }
            (Some(_), None) => {}
        }
    }
    map
}
