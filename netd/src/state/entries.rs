//! Entries of tables: neighbours, forwarding database, multicast groups.

use std::net::IpAddr;

use netd_api::state::{FdbEntry, MdbEntry, Neighbour};
use nix::libc;

use super::{View, address_key, hardware};
use crate::kernel::fdb::FdbRecord;
use crate::kernel::mdb::MdbRecord;
use crate::kernel::neighbour::NeighbourRecord;
use crate::plan::{self, FdbKey};

impl View<'_> {
    /// ARP and ND entries, with their sort keys.
    pub fn neighbour_rows(&self, records: &[NeighbourRecord]) -> Vec<(String, Neighbour)> {
        let mut missing = self.desired.neighbours.clone();
        let mut rows: Vec<(String, Neighbour)> = records
            .iter()
            .filter_map(|record| {
                let link = self.interfaces.links.get(&record.index)?;
                let key = plan::NeighbourKey { device: link.name.clone(), address: record.address };
                let wanted = record.is_own() && missing.remove(&key).is_some();
                let row = Neighbour {
                    wanted,
                    kernel: true,
                    address: record.address.to_string(),
                    mac: record.mac.clone(),
                    device: link.name.clone(),
                    state: record.state_name().to_owned(),
                    vrf: self.vrf_of(link),
                    hardware: hardware(record.flags & libc::NTF_OFFLOADED != 0),
                };
                Some((format!("{} {} {}", row.vrf, link.name, address_key(record.address)), row))
            })
            .collect();
        rows.extend(missing.into_iter().map(|(key, mac)| {
            let vrf = self.interfaces.by_name(&key.device).map(|link| self.vrf_of(link)).unwrap_or_default();
            let sort = format!("{vrf} {} {}", key.device, address_key(key.address));
            let address = key.address.to_string();
            let row =
                Neighbour { address, mac, device: key.device, vrf, wanted: true, ..missing_neighbour() };
            (sort, row)
        }));
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    /// Forwarding entries, with their sort keys.
    pub fn fdb_rows(&self, records: &[FdbRecord]) -> Vec<(String, FdbEntry)> {
        let mut missing = self.desired.fdb.clone();
        missing.retain(|key, _| key.tunnel.is_none());
        let mut rows: Vec<(String, FdbEntry)> = records
            .iter()
            .map(|record| {
                let key = FdbKey { mac: record.mac.clone(), vlan_id: record.vlan_id, tunnel: None };
                let wanted = record.kind() == "static" && missing.remove(&key).is_some();
                let row = FdbEntry {
                    wanted,
                    kernel: true,
                    mac: record.mac.clone(),
                    vlan_id: record.vlan_id,
                    port: self.interfaces.name(record.index).to_owned(),
                    kind: record.kind().to_owned(),
                    hardware: hardware(record.is_offloaded()),
                };
                (format!("{:04} {} {}", row.vlan_id, row.mac, row.port), row)
            })
            .collect();
        rows.extend(missing.into_iter().map(|(key, port)| {
            let row = FdbEntry {
                mac: key.mac,
                vlan_id: key.vlan_id,
                port,
                kind: "static".to_owned(),
                wanted: true,
                kernel: false,
                hardware: hardware(false),
            };
            (format!("{:04} {} {}", row.vlan_id, row.mac, row.port), row)
        }));
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    /// Members of multicast groups, with their sort keys.
    pub fn mdb_rows(&self, records: &[MdbRecord]) -> Vec<(String, MdbEntry)> {
        let mut missing = self.desired.mdb.clone();
        let mut rows = Vec::new();
        let mut add = |group: IpAddr, row: MdbEntry| {
            rows.push((format!("{:04} {} {}", row.vlan_id, address_key(group), row.port), row));
        };
        for record in records {
            let port = self.interfaces.name(record.index).to_owned();
            let key = plan::MdbKey { group: record.group, vlan_id: record.vlan_id, port: port.clone() };
            let row = MdbEntry {
                group: record.group.to_string(),
                vlan_id: record.vlan_id,
                port,
                kind: if record.permanent { "static" } else { "learned" }.to_owned(),
                wanted: record.permanent && missing.remove(&key),
                kernel: true,
                hardware: hardware(record.offloaded),
            };
            add(record.group, row);
        }
        for key in missing {
            let row = MdbEntry {
                group: key.group.to_string(),
                vlan_id: key.vlan_id,
                port: key.port,
                kind: "static".to_owned(),
                wanted: true,
                kernel: false,
                hardware: hardware(false),
            };
            add(key.group, row);
        }
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }
}

/// A static entry that is wanted and not there, but for what tells it apart.
fn missing_neighbour() -> Neighbour {
    Neighbour { state: "none".to_owned(), hardware: hardware(false), ..Neighbour::default() }
}
