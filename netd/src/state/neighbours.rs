//! ARP and ND entries.

use std::collections::{BTreeMap, BTreeSet};

use netd_api::state::Neighbour;
use nix::libc;

use super::query::Query;
use super::stream::{StreamError, Writer};
use super::{View, hardware};
use crate::kernel::Connection;
use crate::kernel::neighbour::{self, NeighbourRecord};
use crate::plan::NeighbourKey;

/// A link with entries: its VRF and its name.
type Place<'a> = (String, &'a str);

impl View<'_> {
    /// Writes the entries that are asked for, by VRF, interface and address.
    pub(super) fn write_neighbours(
        &self,
        connection: &mut Connection,
        query: &Query,
        out: &mut Writer<'_>,
    ) -> Result<(), StreamError> {
        let links = self.interfaces.links.values();
        let places: BTreeMap<u32, Place<'_>> = links
            .map(|link| (link.index, (self.vrf_of(link), link.name.as_str())))
            .filter(|(_, (vrf, name))| query.takes_vrf(vrf) && query.takes_interface(name))
            .collect();
        let mut records = neighbour::dump_each(connection, |record| {
            (places.contains_key(&record.index) && query.takes_address(&record.address)).then_some(record)
        })?;
        records.sort_unstable_by(|a, b| (&places[&a.index], a.address).cmp(&(&places[&b.index], b.address)));
        let mut seen: BTreeSet<NeighbourKey> = BTreeSet::new();
        for record in &records {
            let (vrf, device) = &places[&record.index];
            let intended = record.is_own() && {
                let key = NeighbourKey { device: (*device).to_owned(), address: record.address };
                self.desired.neighbours.contains_key(&key) && seen.insert(key)
            };
            let _ = out.row(&neighbour(record, vrf, device, intended));
        }
        let links = self.interfaces.names();
        for (key, mac) in self.desired.neighbours.iter().filter(|(key, _)| !seen.contains(*key)) {
            let vrf = links.get(key.device.as_str()).map(|link| self.vrf_of(link)).unwrap_or_default();
            let asked = query.takes_vrf(&vrf)
                && query.takes_interface(&key.device)
                && query.takes_address(&key.address);
            if asked {
                let _ = out.row(&Neighbour {
                    address: key.address.to_string(),
                    mac: mac.clone(),
                    device: key.device.clone(),
                    vrf,
                    wanted: true,
                    state: "none".to_owned(),
                    hardware: hardware(false),
                    ..Neighbour::default()
                });
            }
        }
        out.check()
    }
}

fn neighbour(record: &NeighbourRecord, vrf: &str, device: &str, wanted: bool) -> Neighbour {
    Neighbour {
        wanted,
        kernel: true,
        address: record.address.to_string(),
        mac: record.mac.clone(),
        device: device.to_owned(),
        state: record.state_name().to_owned(),
        vrf: vrf.to_owned(),
        hardware: hardware(record.flags & libc::NTF_OFFLOADED != 0),
    }
}
