//! Tables of the switch as streams: one dump of the kernel's, a row a line, filtered on the switch's side.
//!
//! `State1.Table` answers a descriptor. Each line read from it is a row as JSON, one of
//! [`Route`](crate::state::Route), [`Neighbour`](crate::state::Neighbour), [`FdbEntry`](crate::state::FdbEntry),
//! [`MdbEntry`](crate::state::MdbEntry), [`Discard`](crate::state::Discard) and [`Alarm`](crate::alarm::Alarm); the
//! last line is an [`End`]. A stream without one was cut off.

use std::io::{self, BufRead};
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zbus::wire::as_variant::optional;
use zbus::zvariant::Type;

/// Most values a filter takes of one kind.
pub const MAX_FILTER_VALUES: usize = 4096;
/// Longest value of a filter, in bytes: no address, prefix or name is longer.
pub const MAX_FILTER_BYTES: usize = 64;

/// A table that is streamed, by the name `State1.Table` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableName {
    /// Routes of all VRFs; of local ones only those to loopbacks, and no broadcast ones.
    Routes,
    /// ARP and ND entries.
    Neighbours,
    /// Entries of the bridge's forwarding database.
    Fdb,
    /// Members of the bridge's multicast groups.
    Mdb,
    /// What ports discarded, and why: a few questions to drivers for each port that is asked for.
    Discards,
    /// What is wrong, and since when.
    Alarms,
}

impl TableName {
    /// All tables.
    pub const ALL: [TableName; 6] = [
        TableName::Routes,
        TableName::Neighbours,
        TableName::Fdb,
        TableName::Mdb,
        TableName::Discards,
        TableName::Alarms,
    ];

    /// The name over D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            TableName::Routes => "routes",
            TableName::Neighbours => "neighbours",
            TableName::Fdb => "fdb",
            TableName::Mdb => "mdb",
            TableName::Discards => "discards",
            TableName::Alarms => "alarms",
        }
    }

    /// The table of this name.
    pub fn parse(name: &str) -> Option<TableName> {
        TableName::ALL.into_iter().find(|table| table.as_str() == name)
    }
}

/// Which rows of a table are asked for: those that fit every key that is set, and any of a key's values. A
/// dictionary (`a{sv}`) over D-Bus, without the keys that are not set; an unknown key is refused, and so is one that
/// the table has no use for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(default, deny_unknown_fields)]
#[zvariant(signature = "dict")]
pub struct Filter {
    /// Routes: those to just these prefixes.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Vec<String>>,
    /// Routes: those packets to these addresses take, in each VRF, as the kernel decides. Neighbours: their entries.
    /// MDB: these groups.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// Routes and neighbours: those of this VRF; empty for the default VRF.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Routes: those this protocol installed, by the name the table shows.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// FDB: entries of these hardware addresses, `aa:bb:cc:dd:ee:ff`.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub macs: Option<Vec<String>>,
    /// FDB and MDB: entries of this VLAN.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub vlan_id: Option<u16>,
    /// Neighbours, FDB and MDB: entries at these interfaces. Discards: those of these ports.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<String>>,
    /// FDB: without the switch's own (`local`) entries, of which there may be ports times VLANs.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub without_local: Option<bool>,
}

/// The last line of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// All rows were written.
    #[serde(rename = "end")]
    Complete {
        /// How many.
        rows: u64,
        /// How many entries of the switch's own were left out, as the filter says.
        #[serde(default, skip_serializing_if = "is_zero")]
        local: u64,
    },
    /// The table could not be read to its end, and why.
    #[serde(rename = "error")]
    Failed(String),
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The rows of a stream, one by one, in bounded memory.
#[derive(Debug)]
pub struct Rows<R, T> {
    reader: R,
    line: Vec<u8>,
    end: Option<End>,
    row: PhantomData<T>,
}

impl<R: BufRead, T: DeserializeOwned> Rows<R, T> {
    /// The rows that a reader of a stream holds.
    pub fn new(reader: R) -> Rows<R, T> {
        Rows { reader, line: Vec::new(), end: None, row: PhantomData }
    }

    /// The last line, once all rows were read.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    fn read(&mut self) -> io::Result<Option<T>> {
        self.line.clear();
        self.reader.read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            let words = "the table was cut off: netd stopped in its middle";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words));
        }
        // No row begins with one of these fields.
        if [&b"{\"end\""[..], b"{\"error\""].iter().any(|start| self.line.starts_with(start)) {
            let end = serde_json::from_slice(&self.line)?;
            self.end = Some(end);
            return match &self.end {
                Some(End::Failed(words)) => Err(io::Error::other(words.clone())),
                _ => Ok(None),
            };
        }
        Ok(Some(serde_json::from_slice(&self.line)?))
    }
}

impl<R: BufRead, T: DeserializeOwned> Iterator for Rows<R, T> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<io::Result<T>> {
        if self.end.is_some() {
            return None;
        }
        let row = self.read().transpose();
        if matches!(row, Some(Err(_))) && self.end.is_none() {
            // What comes after a broken line is not known.
            self.end = Some(End::Failed("the table was cut off".to_owned()));
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::FdbEntry;

    fn rows(text: &str) -> (Vec<io::Result<FdbEntry>>, Option<End>) {
        let mut rows = Rows::new(text.as_bytes());
        let read = rows.by_ref().collect();
        (read, rows.end().cloned())
    }

    fn line(mac: &str) -> String {
        serde_json::to_string(&FdbEntry { mac: mac.to_owned(), ..FdbEntry::default() }).unwrap() + "\n"
    }

    #[test]
    fn table_stream_is_read_to_its_last_line() {
        let end = End::Complete { rows: 2, local: 0 };
        let text = line("a") + &line("b") + &serde_json::to_string(&end).unwrap() + "\n";
        let (read, last) = rows(&text);
        let macs: Vec<String> = read.into_iter().map(|row| row.unwrap().mac).collect();
        assert_eq!(macs, ["a", "b"]);
        assert_eq!(last, Some(end));
    }

    #[test]
    fn table_stream_that_is_cut_off_or_fails_is_an_error() {
        for (text, words) in [
            (line("a"), "cut off"),
            (line("a") + "{\"mac\":", "EOF"),
            (line("a") + "{\"error\":\"no buffer space\"}\n", "no buffer space"),
        ] {
            let (read, last) = rows(&text);
            assert_eq!(read.len(), 2, "{text}");
            assert!(read[1].as_ref().unwrap_err().to_string().contains(words), "{text}");
            assert!(matches!(last, Some(End::Failed(_))), "{text}");
        }
    }

    #[test]
    fn table_filter_travels_as_a_dictionary_without_what_is_not_set() {
        use zbus::Variant;
        use zbus::wire::{LE, serialized::Context, to_bytes};
        let context = Context::new(LE, 0);
        let filter =
            Filter { addresses: Some(vec!["192.0.2.1".to_owned()]), vlan_id: Some(7), ..Filter::default() };
        let bytes = to_bytes(context, &filter).unwrap();
        let read: std::collections::HashMap<String, Variant<'_>> = bytes.deserialize().unwrap().0;
        assert_eq!(read.len(), 2, "{read:?}");
        assert_eq!(bytes.deserialize::<Filter>().unwrap().0, filter);
        assert_eq!(Filter::SIGNATURE.to_string(), "a{sv}");
    }

    #[test]
    fn table_names_are_those_of_the_bus() {
        for table in TableName::ALL {
            assert_eq!(TableName::parse(table.as_str()), Some(table));
        }
        assert_eq!(TableName::parse("ports"), None);
    }
}
