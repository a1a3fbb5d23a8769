//! Entries of the bridge's forwarding database.
//!
//! There may be a hundred thousand: of each, 20 bytes are kept while they are sorted. The kernel finds one address by
//! itself, in each VLAN there is.

use std::collections::BTreeSet;

use netd_api::state::FdbEntry;

use super::query::Query;
use super::stream::{StreamError, Writer};
use super::{View, hardware};
use crate::desired::BRIDGE;
use crate::kernel::fdb::{self, FdbRecord, NO_VLAN};
use crate::kernel::wire::{parse_mac, read_mac};
use crate::kernel::{Connection, KernelError};
use crate::plan::FdbKey;

/// An entry while it waits for its turn, in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    vlan_id: u16,
    mac: [u8; 6],
    index: u32,
    state: u16,
    flags: u8,
    age_s: u32,
}

impl Entry {
    fn of(record: &FdbRecord) -> Option<Entry> {
        let FdbRecord { vlan_id, index, state, flags, age_s, .. } = *record;
        Some(Entry { vlan_id, mac: parse_mac(&record.mac)?, index, state, flags, age_s })
    }
}

impl View<'_> {
    /// Writes the entries that are asked for, by VLAN, address and port.
    pub(super) fn write_fdb(
        &self,
        connection: &mut Connection,
        query: &Query,
        out: &mut Writer<'_>,
    ) -> Result<(), StreamError> {
        let bridge = self.interfaces.by_name(BRIDGE).map(|bridge| bridge.index);
        let mut entries = match (bridge, &query.macs) {
            (None, _) => Vec::new(),
            (Some(bridge), Some(macs)) => self.found_fdb(connection, bridge, macs, query)?,
            (Some(bridge), None) => self.dumped_fdb(connection, bridge, query, out)?,
        };
        entries.sort_unstable();
        let mut seen: BTreeSet<FdbKey> = BTreeSet::new();
        for entry in &entries {
            let kind = fdb::kind(entry.state, entry.flags);
            let mac = read_mac(&entry.mac);
            let wanted = kind == "static" && {
                let key = FdbKey { mac: mac.clone(), vlan_id: entry.vlan_id, tunnel: None };
                self.desired.fdb.contains_key(&key) && seen.insert(key)
            };
            let row = FdbEntry {
                wanted,
                kernel: true,
                mac,
                vlan_id: entry.vlan_id,
                port: self.interfaces.name(entry.index).to_owned(),
                kind: kind.to_owned(),
                hardware: hardware(fdb::is_offloaded(entry.flags)),
                age_s: if kind == "learned" { entry.age_s } else { 0 },
            };
            if out.row(&row).is_break() {
                break;
            }
        }
        self.write_missing_fdb(query, &seen, out);
        out.check()
    }

    /// The entries of a dump.
    fn dumped_fdb(
        &self,
        connection: &mut Connection,
        bridge: u32,
        query: &Query,
        out: &mut Writer<'_>,
    ) -> Result<Vec<Entry>, KernelError> {
        // The kernel leaves out the others' for one port.
        let only = match query.interfaces.as_ref().map(|names| names.iter().collect::<Vec<_>>()) {
            Some(names) if names.len() == 1 => self.interfaces.by_name(names[0]).map(|link| link.index),
            _ => None,
        };
        fdb::dump_each(connection, bridge, only, |record| {
            if !self.takes_fdb(&record, query) {
                return None;
            }
            if query.without_local && record.kind() == "local" {
                out.leave_out();
                return None;
            }
            Entry::of(&record)
        })
    }

    /// The entries of some addresses.
    fn found_fdb(
        &self,
        connection: &mut Connection,
        bridge: u32,
        macs: &BTreeSet<[u8; 6]>,
        query: &Query,
    ) -> Result<Vec<Entry>, KernelError> {
        let mut entries = Vec::new();
        let vlans: Vec<u16> =
            self.vlans_of_bridge(bridge).into_iter().filter(|id| query.takes_vlan(*id)).collect();
        for mac in macs {
            for vlan_id in &vlans {
                let found = fdb::get(connection, bridge, *mac, *vlan_id)?;
                let found = found.filter(|record| self.takes_fdb(record, query));
                entries.extend(found.as_ref().and_then(Entry::of));
            }
        }
        Ok(entries)
    }

    fn takes_fdb(&self, record: &FdbRecord, query: &Query) -> bool {
        query.takes_vlan(record.vlan_id) && query.takes_interface(self.interfaces.name(record.index))
    }

    /// VLANs in which the bridge may know an address.
    fn vlans_of_bridge(&self, bridge: u32) -> BTreeSet<u16> {
        let in_it = |link: &&crate::kernel::link::LinkRecord| link.index == bridge || link.master == bridge;
        let links = self.interfaces.links.values().filter(in_it);
        let tables = links.filter_map(|link| self.interfaces.vlans.get(&link.index));
        let runs = tables.flat_map(|table| table.runs());
        runs.flat_map(|run| run.first..=run.last).chain([NO_VLAN]).collect()
    }

    /// Writes intended entries that the kernel does not have.
    fn write_missing_fdb(&self, query: &Query, seen: &BTreeSet<FdbKey>, out: &mut Writer<'_>) {
        let missing = self.desired.fdb.iter().filter(|(key, _)| key.tunnel.is_none() && !seen.contains(*key));
        for (key, port) in missing {
            let mac = parse_mac(&key.mac);
            let named = query.macs.as_ref().is_none_or(|macs| mac.is_some_and(|mac| macs.contains(&mac)));
            if named && query.takes_vlan(key.vlan_id) && query.takes_interface(port) {
                let _ = out.row(&FdbEntry {
                    mac: key.mac.clone(),
                    vlan_id: key.vlan_id,
                    port: port.clone(),
                    kind: "static".to_owned(),
                    wanted: true,
                    kernel: false,
                    hardware: hardware(false),
                    age_s: 0,
                });
            }
        }
    }
}
