//! Duplicate address detection (RFC 4862, 5.4): what became of IPv6 addresses that were just set.
//!
//! The kernel acknowledges an address at once and asks the link for others that use it only then.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::connection::Connection;
use super::extack::KernelError;
use super::link::LinkRecord;
use super::{address, link};

/// Longer than it takes: a random delay of up to a second, a question, and a second for answers.
const PATIENCE: Duration = Duration::from_secs(4);
const INTERVAL: Duration = Duration::from_millis(50);

/// An address of a link, by the link's name.
pub type LinkAddress = (String, IpNet);

/// Waits until it is known whether other hosts use the addresses, and answers those they do. A link without a
/// carrier can ask nobody and is not waited for.
pub fn outcome(
    connection: &mut Connection,
    added: &BTreeSet<LinkAddress>,
) -> Result<BTreeSet<LinkAddress>, KernelError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let links: BTreeMap<u32, LinkRecord> =
            link::dump(connection, false)?.into_iter().map(|link| (link.index, link)).collect();
        let (mut used, mut asking) = (BTreeSet::new(), false);
        for record in address::dump(connection)? {
            let Some(link) = links.get(&record.index) else { continue };
            let address = (link.name.clone(), record.address);
            if !added.contains(&address) {
                continue;
            }
            asking |= record.is_tentative() && !record.is_duplicate() && link.has_carrier();
            if record.is_duplicate() {
                used.insert(address);
            }
        }
        if !asking || Instant::now() >= until {
            return Ok(used);
        }
        thread::sleep(INTERVAL);
    }
}
