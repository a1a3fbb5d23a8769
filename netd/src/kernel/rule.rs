//! Routing rules: `RTM_GETRULE`, `RTM_NEWRULE`, `RTM_DELRULE`. Only those that every switch has: by VRF, then the
//! local and the main table.

use std::collections::BTreeSet;

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, read_u8, read_u32};
use crate::plan::{Lookup, Rule};

/// `linux/fib_rules.h`.
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_L3MDEV: u16 = 19;
const FRA_PROTOCOL: u16 = 21;
const FR_ACT_TO_TBL: u8 = 1;
/// What is in `FRA_SUPPRESS_…` of a rule that suppresses nothing.
const NOTHING: u32 = u32::MAX;
/// The rules take the place of those the kernel makes itself, and are told apart from these by nobody
/// (`RTPROT_KERNEL`).
const PROTOCOL: u8 = 2;

/// `struct fib_rule_hdr`.
fn header(ipv6: bool, table: u8, action: u8) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0] = if ipv6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
    bytes[4] = table;
    bytes[7] = action;
    bytes
}

/// The rules that look up by VRF, in the local or in the main table, whatever the packet.
pub fn dump(connection: &mut Connection) -> Result<BTreeSet<Rule>, KernelError> {
    let mut rules = BTreeSet::new();
    for ipv6 in [false, true] {
        let query = Message::new(libc::RTM_GETRULE, 0, &header(ipv6, 0, 0));
        match connection.dump(&query, |_, payload| parse(payload)) {
            Ok(rows) => rules.extend(rows),
            // A kernel without policy routing, or without the family.
            Err(error) if error.is_unsupported() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rules)
}

/// Reads the payload of an `RTM_NEWRULE`; `None` for a rule of another kind.
pub(super) fn parse(payload: &[u8]) -> Option<Rule> {
    let header: &[u8; 12] = payload.first_chunk()?;
    let ipv6 = match i32::from(header[0]) {
        libc::AF_INET => false,
        libc::AF_INET6 => true,
        _ => return None,
    };
    // No prefix, no TOS, no flag such as "not".
    let [_, dst_len, src_len, tos, table, _, _, action, flags @ ..] = *header;
    if (dst_len, src_len, tos, action) != (0, 0, 0, FR_ACT_TO_TBL) || flags != [0; 4] {
        return None;
    }
    let (mut preference, mut table, mut l3mdev) = (0, u32::from(table), false);
    for (kind, value) in attributes(&payload[12..]) {
        match kind {
            FRA_PRIORITY => preference = read_u32(value),
            FRA_TABLE => table = read_u32(value),
            FRA_L3MDEV => l3mdev = read_u8(value) != 0,
            FRA_PROTOCOL => {}
            FRA_SUPPRESS_IFGROUP | FRA_SUPPRESS_PREFIXLEN if read_u32(value) == NOTHING => {}
            // It is about some packets only.
            _ => return None,
        }
    }
    let lookup = match (l3mdev, table) {
        (true, _) => Lookup::L3mdev,
        (false, LOCAL) => Lookup::Local,
        (false, MAIN) => Lookup::Main,
        (false, _) => return None,
    };
    Some(Rule { ipv6, preference, lookup })
}

/// `RT_TABLE_LOCAL`, `RT_TABLE_MAIN`.
const LOCAL: u32 = 255;
const MAIN: u32 = 254;

/// Adds a rule.
pub fn add(rule: &Rule) -> Message {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    message(libc::RTM_NEWRULE, flags, rule).u8(FRA_PROTOCOL, PROTOCOL)
}

/// Removes a rule.
pub fn delete(rule: &Rule) -> Message {
    message(libc::RTM_DELRULE, 0, rule)
}

fn message(kind: u16, flags: u16, rule: &Rule) -> Message {
    let table = match rule.lookup {
        Lookup::L3mdev => 0,
        Lookup::Local => LOCAL,
        Lookup::Main => MAIN,
    };
    let message = Message::new(kind, flags, &header(rule.ipv6, table as u8, FR_ACT_TO_TBL))
        .u32(FRA_PRIORITY, rule.preference);
    match rule.lookup {
        // The kernel takes no table beside it.
        Lookup::L3mdev => message.u8(FRA_L3MDEV, 1),
        Lookup::Local | Lookup::Main => message.u32(FRA_TABLE, table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_back_as_they_were_written_and_those_about_some_packets_are_passed_over() {
        for text in ["ipv4 32765 local", "ipv6 1000 l3mdev", "ipv4 0 local", "ipv6 32766 main"] {
            let rule: Rule = text.to_owned().try_into().unwrap();
            for message in [add(&rule), delete(&rule)] {
                assert_eq!(parse(&message.finish(1, 0)[16..]).as_ref(), Some(&rule), "{text}");
            }
            let shown = add(&rule).u32(FRA_SUPPRESS_PREFIXLEN, NOTHING);
            assert_eq!(parse(&shown.finish(1, 0)[16..]), Some(rule));
            for more in [add(&rule).text(3, "lo"), add(&rule).u32(FRA_SUPPRESS_PREFIXLEN, 0)] {
                assert_eq!(parse(&more.finish(1, 0)[16..]), None, "{text}");
            }
            let mut inverted = add(&rule).finish(1, 0);
            inverted[16 + 8] = 2;
            assert_eq!(parse(&inverted[16..]), None, "{text}");
        }
    }
}
