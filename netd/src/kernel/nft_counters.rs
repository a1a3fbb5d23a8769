//! Named counters of an nftables table (`NFT_MSG_GETOBJ`, linux/netfilter/nf_tables.h).

use std::collections::BTreeMap;

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, read_text};

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ`.
const GET_OBJECT: u16 = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | libc::NFT_MSG_GETOBJ as u16;
const NFPROTO_INET: u8 = libc::NFPROTO_INET as u8;
const NFTA_OBJ_TABLE: u16 = 1;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;
const NFT_OBJECT_COUNTER: u32 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;
/// Length of `struct nfgenmsg`.
const HEADER_LEN: usize = 4;

/// Packets that the counters of an `inet` table counted, by their names. None where the kernel has no such table.
pub fn packets(table: &str) -> Result<BTreeMap<String, u64>, KernelError> {
    let query = Message::new(GET_OBJECT, 0, &[NFPROTO_INET, 0, 0, 0])
        .text(NFTA_OBJ_TABLE, table)
        .attribute(NFTA_OBJ_TYPE, &NFT_OBJECT_COUNTER.to_be_bytes());
    let found = Connection::open_netfilter()?.dump(&query, |_, payload| read(payload));
    match found {
        Err(error) if error.is_absent() || error.is_unsupported() => Ok(BTreeMap::new()),
        found => Ok(found?
            .into_iter()
            .filter(|(of, ..)| of == table)
            .map(|(_, name, count)| (name, count))
            .collect()),
    }
}

/// Table, name and packets of a counter.
pub(super) fn read(payload: &[u8]) -> Option<(String, String, u64)> {
    let (mut table, mut name, mut packets) = (None, None, None);
    for (kind, value) in attributes(payload.get(HEADER_LEN..)?) {
        match kind {
            NFTA_OBJ_TABLE => table = Some(read_text(value)),
            NFTA_OBJ_NAME => name = Some(read_text(value)),
            NFTA_OBJ_DATA => {
                let count = attributes(value).find(|(kind, _)| *kind == NFTA_COUNTER_PACKETS);
                packets = count.and_then(|(_, value)| Some(u64::from_be_bytes(value.try_into().ok()?)));
            }
            _ => {}
        }
    }
    Some((table?, name?, packets?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_tells_its_table_its_name_and_its_packets() {
        let message = Message::new(0, 0, &[NFPROTO_INET, 0, 0, 0])
            .text(NFTA_OBJ_TABLE, "corten")
            .text(NFTA_OBJ_NAME, "unnoted_main")
            .nest(NFTA_OBJ_DATA, |data| data.attribute(NFTA_COUNTER_PACKETS, &7u64.to_be_bytes()));
        let counter = ("corten".to_owned(), "unnoted_main".to_owned(), 7);
        assert_eq!(read(&message.finish(1, 0)[16..]), Some(counter));
        assert_eq!(read(&[2, 0]), None);
    }
}
