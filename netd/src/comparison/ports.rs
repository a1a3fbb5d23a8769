//! Ports with a carrier: those of the front panel, members of LAGs among them, and the management port.

use netd_api::config::is_port_name;

use super::facts::Facts;
use super::{Kind, Look, Unreadable};
use crate::kernel::link::LinkRecord;
use crate::platform::MANAGEMENT;

/// See the module.
pub struct Ports;

impl Kind for Ports {
    fn name(&self) -> &'static str {
        "port"
    }

    fn observe(&self, look: &mut Look<'_>) -> Result<Facts, Unreadable> {
        Ok(with_carrier(look.links.values()))
    }
}

fn with_carrier<'a>(links: impl Iterator<Item = &'a LinkRecord>) -> Facts {
    let mut facts = Facts::default();
    let is_port = |link: &&LinkRecord| is_port_name(&link.name) || link.name == MANAGEMENT;
    for link in links.filter(is_port).filter(|link| link.has_carrier()) {
        facts.add(link.name.clone(), 1);
    }
    facts
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    #[test]
    fn ports_count_with_a_carrier_and_other_links_do_not() {
        let up = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;
        let link = |name: &str, flags| LinkRecord { name: name.to_owned(), flags, ..LinkRecord::default() };
        let links = [
            link("swp1", up),
            link("swp2", libc::IFF_UP as u32),
            link("swp3s1", up),
            link("mgmt0", up),
            link("vlan10", up),
            link("bridge", up),
        ];
        let facts = with_carrier(links.iter());
        let names: Vec<&str> = facts.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["mgmt0", "swp1", "swp3s1"]);
    }
}
