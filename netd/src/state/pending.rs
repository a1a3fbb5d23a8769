//! What is not in operation yet, though the switch has done all of its part: others decide the rest.

use std::collections::BTreeSet;

use netd_api::config::model::vlan_interface;
use netd_api::state::Pending;

use super::{View, lag_reason, reason};
use crate::kernel::device;
use crate::kernel::link::LinkRecord;
use crate::plan::{LinkKind, Network, Setting};

impl View<'_> {
    /// What the configuration has in operation and is not: ports and members of LAGs first, then interfaces of VLANs,
    /// then tunnels. `changed` are the links that the last change was about; `unreached` answers the first other end of a
    /// tunnel that no route leads to.
    pub fn pending_rows(
        &self,
        changed: &BTreeSet<String>,
        mut unreached: impl FnMut(&LinkRecord) -> Option<String>,
    ) -> Vec<Pending> {
        let is_to_run = |link: &LinkRecord| self.desired.links.get(&link.name).is_some_and(|link| link.up);
        let row = |link: &LinkRecord, kind: &str, reason: String| Pending {
            object: link.name.clone(),
            kind: kind.to_owned(),
            reason,
            changed: changed.contains(&link.name),
            ..Pending::default()
        };
        let mut rows = Vec::new();
        for (link, kind, _) in self.port_links().filter(|(link, ..)| is_to_run(link)) {
            let lag = self.interfaces.links.get(&link.master).filter(|master| master.kind == "bond");
            rows.push(match lag {
                Some(lag) => {
                    let reason = lag_reason::of(lag, link, &device::duplex(&link.name));
                    Pending { lag: lag.name.clone(), ..row(link, "lag-member", reason) }
                }
                None => row(link, kind, reason::of(self.config, link, kind)),
            });
        }
        let links = self.interfaces.names();
        for id in self.config.vlans.keys() {
            let interface = links.get(vlan_interface(*id).as_str()).filter(|link| is_to_run(link));
            if let Some(link) = interface.filter(|link| !link.has_carrier()) {
                rows.push(row(link, "vlan", format!("no port of VLAN {id} has a carrier and forwards")));
            }
        }
        let links = self.interfaces.links.values();
        for link in links.filter(|link| link.kind == "vxlan" && is_to_run(link)) {
            let reason = unreached(link).map(|remote| format!("no route to {remote}"));
            rows.push(row(link, "vxlan", reason.unwrap_or_default()));
        }
        rows.retain(|row| !row.reason.is_empty());
        rows
    }
}

/// The links whose operation a change from one network to another is about, and those that follow them: a LAG and its
/// members, the interfaces of the VLANs of a port, tunnels where routes changed.
pub fn changed(before: &Network, after: &Network) -> BTreeSet<String> {
    // A description brings nothing up or down.
    let is_other = |name: &str| {
        let of = |network: &Network| {
            let mut link = network.links.get(name).cloned()?;
            link.settings.remove(&Setting::Alias);
            Some(link)
        };
        of(before) != of(after)
    };
    let mut changed: BTreeSet<String> =
        after.links.keys().filter(|name| is_other(name.as_str())).cloned().collect();
    let is_lag =
        |name: &str| after.links.get(name).is_some_and(|link| matches!(link.kind, LinkKind::Lag { .. }));
    let forwarding_changed = before.routes != after.routes || before.fdb != after.fdb;
    let mut follow = BTreeSet::new();
    for (name, link) in &after.links {
        let master = link.master.as_deref().filter(|master| is_lag(master));
        if let Some(lag) = master
            && (changed.contains(lag) || changed.contains(name))
        {
            follow.extend([name.clone(), lag.to_owned()]);
        }
        if forwarding_changed && matches!(link.kind, LinkKind::Vxlan { .. }) {
            follow.insert(name.clone());
        }
    }
    changed.extend(follow);
    let tables = changed.iter().flat_map(|name| [before, after].map(|network| network.links.get(name)));
    let ids: BTreeSet<u16> = tables
        .flatten()
        .filter(|link| !matches!(link.kind, LinkKind::Bridge))
        .flat_map(|link| link.vlans.runs().iter().flat_map(|run| run.first..=run.last))
        .collect();
    let interfaces = ids.into_iter().map(vlan_interface).filter(|name| after.links.contains_key(name));
    changed.extend(interfaces.collect::<Vec<_>>());
    changed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::desired::BRIDGE;
    use crate::kernel::lag;
    use crate::kernel::snapshot::Interfaces;
    use crate::plan::{Link, Route, RouteKey, RouteTarget};
    use crate::state::tests::link;

    const UP: u32 = 1;
    const UP_WITH_CARRIER: u32 = 0x1_0001;

    fn up(name: &str) -> (String, Link) {
        (name.to_owned(), Link { up: true, ..Link::new(LinkKind::Hardware) })
    }

    #[test]
    fn pending_is_what_others_decide_and_not_what_is_off_or_runs() {
        let text = "version = 1\n[ports.\"swp[1-3]\"]\nvlan.access = 10\n[ports.swp4]\nenabled = false\n\
                    [ports.swp5]\n[lags.uplink]\nmembers = [\"swp5\"]\nvlan.access = 10\n\
                    [vlans.10]\naddresses = [\"10.0.10.1/24\"]\n";
        let config = netd_api::config::parse(text).expect("valid");
        let of = |index, name: &str, kind: &str, master, flags| LinkRecord {
            master,
            flags,
            ..link(index, name, kind)
        };
        let port = |index, flags| LinkRecord {
            part_of: "bridge".to_owned(),
            forwards: index != 2,
            ..of(index, &format!("swp{index}"), "", 20, flags)
        };
        let bond = LinkRecord { lacp: Some(true), ..of(21, "uplink", "bond", 20, UP) };
        let member = lag::MemberRecord { link_up: true, actor_state: 0x45, ..lag::MemberRecord::default() };
        let links = [
            port(1, UP),
            port(2, UP_WITH_CARRIER),
            port(3, UP_WITH_CARRIER),
            of(4, "swp4", "", 0, 0),
            LinkRecord { member, ..of(5, "swp5", "", 21, UP_WITH_CARRIER) },
            of(20, BRIDGE, "bridge", 0, UP_WITH_CARRIER),
            bond,
            of(22, "vlan10", "vlan", 0, UP),
            of(23, "vx10", "vxlan", 0, UP_WITH_CARRIER),
            of(24, "mgmt0", "", 0, UP),
        ];
        let interfaces = Interfaces {
            links: links.into_iter().map(|link| (link.index, link)).collect(),
            ..Interfaces::default()
        };
        let names = ["swp1", "swp2", "swp3", "swp5", "uplink", "vlan10", "vx10"];
        let desired = Network { links: names.map(up).into(), ..Network::default() };
        let ports = ["swp1", "swp2", "swp3", "swp4", "swp5"].map(str::to_owned).into();
        let attachments = BTreeMap::new();
        let view = View {
            interfaces: &interfaces,
            config: &config,
            desired: &desired,
            ports: &ports,
            attachments: &attachments,
        };
        let changed = ["swp5".to_owned()].into();
        let rows = view.pending_rows(&changed, |_| Some("192.0.2.2".to_owned()));
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.object.as_str(), row.kind.as_str(), row.lag.as_str(), row.reason.as_str()))
            .collect();
        // A member of a LAG in the guest's words: its driver, which is none here, reports no duplex.
        let duplex =
            "LACP needs full duplex, and its driver reports none: set speed, duplex and autoneg = false";
        assert_eq!(
            rows,
            [
                ("swp1", "front-panel", "", "no carrier"),
                ("swp2", "front-panel", "", "the spanning tree keeps it from forwarding"),
                ("swp5", "lag-member", "uplink", duplex),
                ("uplink", "lag", "", "no carrier"),
                ("vlan10", "vlan", "", "no port of VLAN 10 has a carrier and forwards"),
                ("vx10", "vxlan", "", "no route to 192.0.2.2"),
            ]
        );
        let rows = view.pending_rows(&changed, |_| None);
        let touched: Vec<_> = rows.iter().filter(|row| row.changed).map(|row| row.object.as_str()).collect();
        assert_eq!((touched, rows.len()), (vec!["swp5"], 5), "the tunnel's other end is reached");
    }

    #[test]
    fn change_is_about_links_that_differ_and_those_that_follow_them() {
        let network = |text: &str| {
            let config = netd_api::config::parse(&format!("version = 1\n{text}")).expect("valid");
            let ports = ["swp1", "swp2", "swp3"].map(str::to_owned).into();
            crate::desired::network(&crate::desired::Inputs {
                config: &config,
                ports: &ports,
                permanent_macs: &BTreeMap::new(),
                original_modes: &BTreeMap::new(),
                set_modes: &BTreeMap::new(),
                attachments: &BTreeMap::new(),
                bridge_mac: "02:00:5e:00:53:01",
                objects: true,
            })
        };
        let names = |before: &str, after: &str| -> Vec<String> {
            changed(&network(before), &network(after)).into_iter().collect()
        };
        let vlans =
            "[vlans.10]\naddresses = [\"10.0.10.1/24\"]\n[vlans.20]\naddresses = [\"10.0.20.1/24\"]\n";
        let one = format!("[ports.swp1]\nvlan.access = 10\n[ports.swp2]\nvlan.access = 20\n{vlans}");
        assert_eq!(names(&one, &one), [""; 0]);
        assert_eq!(names(&one, &one.replace("access = 20", "access = 20\ndescription = \"x\"")), [""; 0]);
        assert_eq!(names(&one, &one.replace("access = 20", "access = 20\nmtu = 1400")), ["swp2", "vlan20"]);
        assert_eq!(names(&one, &one.replace("access = 20", "access = 10")), ["swp2", "vlan10", "vlan20"]);
        let lag = "[lags.uplink]\nmembers = [\"swp1\", \"swp2\"]\n[ports.\"swp[1-3]\"]\n";
        assert_eq!(names(lag, &lag.replace(", \"swp2\"", "")), ["swp2"]);
        // Not the member that was there: it goes on.
        assert_eq!(names(&lag.replace(", \"swp2\"", ""), lag), ["swp2", "uplink"]);
        // Where a tunnel's other end is depends on routes.
        let mut tunnel = Network {
            links: [(
                "vx10".to_owned(),
                Link::new(LinkKind::Vxlan { vni: 10, local: [192, 0, 2, 1].into(), port: 4789 }),
            )]
            .into(),
            ..Network::default()
        };
        let before = tunnel.clone();
        let key = RouteKey { table: 254, prefix: "192.0.2.0/24".parse().expect("a prefix"), metric: 0 };
        tunnel.routes.push(Route { key, target: RouteTarget::Blackhole });
        assert_eq!(changed(&before, &tunnel), ["vx10".to_owned()].into());
    }
}
