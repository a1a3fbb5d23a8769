//! Ports of workloads.

use std::collections::HashSet;

use super::facts::Facts;
use super::{Kind, Look, Unreadable};

/// See the module.
pub struct Attachments;

impl Kind for Attachments {
    fn name(&self) -> &'static str {
        "attachment"
    }

    fn observe(&self, look: &mut Look<'_>) -> Result<Facts, Unreadable> {
        let up = look.links.values().filter(|link| link.has_carrier());
        let up: HashSet<&str> = up.map(|link| link.name.as_str()).collect();
        let mut facts = Facts::default();
        match &look.after {
            None => {
                for (port, key) in look.attachments.iter().filter(|(port, _)| up.contains(port.as_str())) {
                    facts.add(format!("{port} {key}"), 1);
                }
            }
            Some(after) => {
                let port = |object| str::split_once(object, ' ').map_or(object, |(port, _)| port);
                for (object, _) in after.before.iter().filter(|(object, _)| up.contains(port(object))) {
                    facts.add(object.to_owned(), 1);
                }
            }
        }
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nix::libc;

    use super::*;
    use crate::comparison::After;
    use crate::kernel::Connection;
    use crate::kernel::link::LinkRecord;

    #[test]
    fn attachments_are_known_again_by_their_ports() {
        let link = |index: u32, name: &str, flags: libc::c_int| {
            let flags = flags as u32;
            (index, LinkRecord { index, name: name.to_owned(), flags, ..LinkRecord::default() })
        };
        let up = libc::IFF_UP | libc::IFF_LOWER_UP;
        let mut connection = Connection::open().expect("netlink");
        let attachments: BTreeMap<String, String> =
            [("web-eth0", "default/web/eth0"), ("db-eth0", "default/db/eth0")]
                .map(|(port, key)| (port.to_owned(), key.to_owned()))
                .into();
        let mut seen = |links: BTreeMap<u32, LinkRecord>, before: Option<&Facts>| {
            let mut probes = 0;
            let after = before.map(|before| After {
                before,
                since_record_ms: 0,
                since_change_ms: 0,
                probes: &mut probes,
            });
            let known = if before.is_some() { BTreeMap::new() } else { attachments.clone() };
            let mut look = Look { connection: &mut connection, links: &links, attachments: &known, after };
            Attachments.observe(&mut look).expect("links")
        };
        let both = [link(1, "web-eth0", up), link(2, "db-eth0", up), link(3, "swp1", up)];
        let before = seen(both.into(), None);
        assert_eq!((before.objects(), before.count("web-eth0 default/web/eth0")), (2, 1));
        let now = seen([link(1, "web-eth0", up), link(2, "db-eth0", libc::IFF_UP)].into(), Some(&before));
        assert_eq!((now.count("web-eth0 default/web/eth0"), now.count("db-eth0 default/db/eth0")), (1, 0));
    }
}
