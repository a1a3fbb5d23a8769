//! Routes over several next hops.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::flows::{FLOWS, settled, used, ways};
use super::objects::with_document;
use super::routing::on_routed_port;
use super::sender::{SOON, Sender, resolved, route};
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::new(
        "ECMP spreads flows, keeps each on its way, and survives the loss of a next hop",
        Topology::Switch,
        ecmp,
    )
    .takes(14),
    Scenario::new("routes are whole again after their ports flapped quickly", Topology::Switch, quick_flaps)
        .takes(15),
    Scenario::new(
        "what spreads flows over next hops is what the document says",
        Topology::Switch,
        hash_of_the_document,
    ),
];

fn ecmp(lab: &Lab, _: &Run) -> Result<String> {
    let document =
        lab.document.clone() + &route("2001:db8:98::/64", "via = [\"2001:db8:7::2\", \"2001:db8:8::2\"]");
    let mut detail = String::new();
    with_document(lab, &document, || {
        let sender = Sender::in_vlan_10(lab, 1)?;
        let (at7, at8) = (on_routed_port(lab, 7, None)?, on_routed_port(lab, 8, None)?);
        resolved(&at7, 7)?;
        resolved(&at8, 8)?;
        for prefix in ["10.98.0.", "2001:db8:98::"] {
            let first = by_ports(&sender, prefix)?;
            let by_seven = first.values().filter(|port| **port == 7).count();
            // A fair spread misses these bounds once in a million runs.
            ensure!((12..=52).contains(&by_seven), "{by_seven} of {FLOWS} flows to {prefix} leave by swp7");
            ensure!(by_ports(&sender, prefix)? == first, "flows to {prefix} changed their way");
            detail += &format!("{by_seven} of {FLOWS} flows to {prefix} by swp7\n");
        }
        lab.vm.set_link(8, false)?;
        let outcome = settled("all flows leave by the next hop that is left", SOON, || {
            for prefix in ["10.98.0.", "2001:db8:98::"] {
                let ways = by_ports(&sender, prefix)?;
                ensure!(ways.values().all(|port| *port == 7), "flows to {prefix} take {ways:?}");
            }
            Ok(())
        });
        lab.vm.set_link(8, true)?;
        outcome?;
        settled("both next hops serve again", SOON, || {
            resolved(&at8, 8)?;
            for prefix in ["10.98.0.", "2001:db8:98::"] {
                let used = used(&by_ports(&sender, prefix)?);
                ensure!(used == BTreeSet::from([7, 8]), "flows to {prefix} take {used:?}");
            }
            Ok(())
        })
    })?;
    Ok(detail)
}

fn hash_of_the_document(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.clone() + "\n[routing]\necmp-hash = \"layer3\"\n";
    with_document(lab, &document, || {
        let sender = Sender::in_vlan_10(lab, 1)?;
        let (at7, at8) = (on_routed_port(lab, 7, None)?, on_routed_port(lab, 8, None)?);
        resolved(&at7, 7)?;
        resolved(&at8, 8)?;
        // Flows to one address that differ in their ports alone.
        let to_one = || {
            ways(lab, [7, 8], |flow, payload| {
                sender.send(&sender.packet("10.98.0.1")?.from_port(20_000 + flow).payload(payload))
            })
        };
        settled("addresses alone count", SOON, || {
            let used = used(&to_one()?);
            ensure!(used.len() == 1, "flows between two addresses leave by {used:?}");
            Ok(())
        })?;
        let by_many = used(&by_ports(&sender, "10.98.0.")?);
        ensure!(by_many.len() == 2, "flows to many addresses leave by {by_many:?}");
        lab.apply_ok(&lab.document)?;
        settled("ports count again", SOON, || {
            let used = used(&to_one()?);
            ensure!(used == BTreeSet::from([7, 8]), "flows leave by {used:?}");
            Ok(())
        })
    })?;
    Ok(String::new())
}

/// Flaps of a port, far faster than the kernel tells of them.
const FLAPS: u32 = 10;

fn quick_flaps(lab: &Lab, _: &Run) -> Result<String> {
    let routes = || -> Result<Vec<Value>> {
        let mut routes = lab.show("routes")?;
        routes.retain(|route| route["vrf"] == "");
        Ok(routes)
    };
    let before = routes()?;
    ensure!(
        before.iter().any(|route| route["prefix"] == "10.98.0.0/24"),
        "no ECMP to begin with: {before:?}"
    );
    for flap in 0..FLAPS {
        for port in [7, 8] {
            lab.vm.set_link(port, false)?;
            // Now both are down at a time, now one.
            if flap % 2 == 0 {
                lab.vm.set_link(port, true)?;
            }
        }
        for port in [7, 8] {
            lab.vm.set_link(port, true)?;
        }
    }
    eventually("all routes are as before", SOON, || {
        let after = routes()?;
        let lost: Vec<&Value> = before.iter().filter(|route| !after.contains(route)).collect();
        ensure!(lost.is_empty(), "not as before: {lost:?}, but {after:?}");
        Ok(())
    })?;
    let sender = Sender::in_vlan_10(lab, 1)?;
    let (at7, at8) = (on_routed_port(lab, 7, None)?, on_routed_port(lab, 8, None)?);
    settled("both next hops serve", SOON, || {
        resolved(&at7, 7)?;
        resolved(&at8, 8)?;
        let used = used(&by_ports(&sender, "10.98.0.")?);
        ensure!(used == BTreeSet::from([7, 8]), "flows take {used:?}");
        Ok(())
    })?;
    Ok(String::new())
}

/// By which of swp7 and swp8 each of many flows leaves.
fn by_ports(sender: &Sender<'_>, prefix: &str) -> Result<BTreeMap<u16, u16>> {
    ways(sender.lab, [7, 8], |flow, payload| {
        let packet = sender.packet(&format!("{prefix}{flow}"))?.from_port(20_000 + flow);
        sender.send(&packet.payload(payload))
    })
}
