//! Members of the bridge's multicast groups.

use std::collections::BTreeSet;

use netd_api::state::MdbEntry;

use super::query::Query;
use super::stream::{StreamError, Writer};
use super::{View, hardware};
use crate::desired::BRIDGE;
use crate::kernel::{Connection, mdb};
use crate::plan::MdbKey;

impl View<'_> {
    /// Writes the members that are asked for, by VLAN, group and port.
    pub(super) fn write_mdb(
        &self,
        connection: &mut Connection,
        query: &Query,
        out: &mut Writer<'_>,
    ) -> Result<(), StreamError> {
        let bridge = self.interfaces.by_name(BRIDGE).map(|bridge| bridge.index);
        let mut records = match mdb::dump(connection) {
            // A kernel without multicast snooping has no groups either.
            Err(error) if error.is_unsupported() => Vec::new(),
            records => records?,
        };
        records.retain(|record| {
            Some(record.bridge) == bridge
                && query.takes_address(&record.group)
                && query.takes_vlan(record.vlan_id)
                && query.takes_interface(self.interfaces.name(record.index))
        });
        records.sort_by_key(|record| (record.vlan_id, record.group, self.interfaces.name(record.index)));
        let mut seen: BTreeSet<MdbKey> = BTreeSet::new();
        for record in &records {
            let port = self.interfaces.name(record.index).to_owned();
            let key = MdbKey { group: record.group, vlan_id: record.vlan_id, port: port.clone() };
            let _ = out.row(&MdbEntry {
                group: record.group.to_string(),
                vlan_id: record.vlan_id,
                port,
                kind: if record.permanent { "static" } else { "learned" }.to_owned(),
                wanted: record.permanent && self.desired.mdb.contains(&key) && seen.insert(key),
                kernel: true,
                hardware: hardware(record.offloaded),
            });
        }
        for key in self.desired.mdb.iter().filter(|key| !seen.contains(*key)) {
            let asked = query.takes_address(&key.group)
                && query.takes_vlan(key.vlan_id)
                && query.takes_interface(&key.port);
            if asked {
                let _ = out.row(&MdbEntry {
                    group: key.group.to_string(),
                    vlan_id: key.vlan_id,
                    port: key.port.clone(),
                    kind: "static".to_owned(),
                    wanted: true,
                    kernel: false,
                    hardware: hardware(false),
                });
            }
        }
        out.check()
    }
}
