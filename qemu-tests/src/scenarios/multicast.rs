//! Multicast: IGMP and MLD snooping, and members that the document names.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::{Mac, View};
use qemu_tests::packet::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Membership, Packet, group_mac, membership, query, query_version,
};
use qemu_tests::wire::Capture;

use super::frames::At;
use super::objects::{changed, with_document};
use super::reach::{ports_reached_by, speak};
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 8] = [
    Scenario::new(
        "a group floods its VLAN while nobody asks who is a member",
        Topology::Switch,
        floods_without_a_querier,
    ),
    Scenario::new(
        "a group goes to those who joined it in their VLAN alone, by IGMP and MLD",
        Topology::Switch,
        goes_to_members,
    )
    .waits()
    .takes(29),
    Scenario::new("a group reaches its static members alone", Topology::Switch, static_members)
        .waits()
        .takes(15),
    Scenario::new(
        "the switch asks for members in each VLAN, with its tag, but in none that shall have no querier",
        Topology::Switch,
        asks_in_each_vlan,
    )
    .waits()
    .takes(25),
    Scenario::new("a querier in one VLAN prunes that one alone", Topology::Switch, querier_of_one_vlan)
        .waits()
        .takes(15),
    Scenario::new(
        "a host that joins thousands of groups fills its own port's share and floods nobody",
        Topology::Switch,
        joins_without_end,
    )
    .waits()
    .takes(20),
    Scenario::new("without snooping a group floods whoever joined", Topology::Switch, without_snooping)
        .takes(14),
    Scenario::new(
        "snooping that the kernel has switched off is switched on again once a host joins",
        Topology::Switch,
        snooping_comes_back,
    )
    .takes(8),
];

/// The bridge trusts what it heard of members only 10 s after it began to ask.
const TRUST: Duration = Duration::from_secs(60);
/// After a leave the bridge asks twice, a second apart, whether others are left.
const LEAVE: Duration = Duration::from_secs(20);
/// A bridge that begins to ask does so twice, 31 s apart.
const QUESTIONS: Duration = Duration::from_secs(60);

/// A group, of which family, and who speaks to it and of it.
struct Group {
    address: IpAddr,
    source: IpAddr,
}

impl Group {
    fn new(address: &str, source: &str) -> Result<Group> {
        Ok(Group { address: address.parse()?, source: source.parse()? })
    }

    /// One of IPv4 and one of IPv6, by a number that no other scenario uses: a bridge remembers members.
    fn both(number: u8) -> Result<[Group; 2]> {
        Ok([
            Group::new(&format!("239.1.1.{number}"), "10.0.10.150")?,
            Group::new(&format!("ff05::1:{number}"), "fe80::150")?,
        ])
    }

    /// Checks out of which ports the group's frames come that go in at a place.
    fn reaches(&self, lab: &Lab, from: At, ports: &[u16]) -> Result<()> {
        let reached = ports_reached_by(lab, from, |payload| {
            let packet = Packet::udp(self.source, self.address).payload(payload);
            let frame = packet.frame(Mac::of_host(from.0), group_mac(self.address))?;
            Ok(from.1.map_or(frame.clone(), |tag| frame.vlan(tag)).build())
        })?;
        ensure!(
            reached.iter().eq(ports),
            "group {} from swp{} (tag {:?}) came out of ports {reached:?} instead of {ports:?}",
            self.address,
            from.0,
            from.1
        );
        Ok(())
    }

    /// A host on a port says that it joins or leaves.
    fn says(&self, lab: &Lab, at: At, what: Membership) -> Result<()> {
        let frame = membership(Mac::of_host(at.0), self.source, self.address, what)?;
        let bytes = at.1.map_or(frame.clone(), |tag| frame.vlan(tag)).build();
        ensure!(lab.vm.wire(at.0)?.send(&bytes), "the machine did not take a frame on swp{}", at.0);
        // Behind it: once this has come out, the bridge has heard the host.
        speak(lab, at, Mac::of_host(at.0))
    }
}

fn querying(lab: &Lab) -> String {
    lab.document.clone() + "\n[bridge]\nquerier = true\n"
}

fn floods_without_a_querier(lab: &Lab, _: &Run) -> Result<String> {
    for group in Group::both(3)? {
        group.reaches(lab, At(1, None), &[2, 5, 6])?;
        // Members alone prove nothing: what others said earlier nobody knows.
        group.says(lab, At(2, None), Membership::Join)?;
        group.reaches(lab, At(1, None), &[2, 5, 6])?;
        group.says(lab, At(2, None), Membership::Leave)?;
    }
    Ok(String::new())
}

fn goes_to_members(lab: &Lab, _: &Run) -> Result<String> {
    with_document(lab, &querying(lab), || {
        for group in Group::both(2)? {
            // The bridge asks in each VLAN by itself, and trusts what it heard there.
            for server in [1, 3] {
                eventually("a group without members goes nowhere", TRUST, || {
                    group.reaches(lab, At(server, None), &[])
                })?;
            }
            joins_and_leaves(lab, &group)?;
        }
        // Groups that nobody reports are everybody's: of IPv6 that is one (RFC 4541, sections 2.1.2 and 3).
        for (address, source) in [("224.0.0.251", "10.0.10.150"), ("ff02::1", "fe80::150")] {
            Group::new(address, source)?.reaches(lab, At(1, None), &[2, 5, 6])?;
        }
        // So are those of routers and hosts on the link, many of which report nothing.
        for address in ["ff02::5", "ff02::12", "ff02::fb", "ff02::1:3"] {
            Group::new(address, "fe80::150")?.reaches(lab, At(1, None), &[2, 5, 6])?;
        }
        // A report that was routed is none (RFC 3810, section 6.2).
        let group = Group::new("ff05::1:77", "fe80::150")?;
        let report = membership(Mac::of_host(2), group.source, group.address, Membership::Join)?;
        let mut routed = report.build();
        let hop_limit = routed.get_mut(14 + 7).context("a short report")?;
        ensure!(*hop_limit == 1, "the report has a hop limit of {hop_limit}");
        *hop_limit = 64;
        lab.vm.wire(2)?.send(&routed);
        speak(lab, At(2, None), Mac::of_host(2))?;
        group.reaches(lab, At(1, None), &[])?;
        Ok(())
    })
}

fn joins_and_leaves(lab: &Lab, group: &Group) -> Result<()> {
    let (servers, clients) = (At(1, None), At(3, None));
    group.says(lab, At(2, None), Membership::Join)?;
    eventually("a member gets it", LEAVE, || group.reaches(lab, servers, &[2]))?;
    group.reaches(lab, clients, &[]).context("a member in VLAN 10 is none in VLAN 20")?;
    // A trunk's member of one VLAN is none of the other, whichever they are.
    group.says(lab, At(5, Some(20)), Membership::Join)?;
    eventually("a member behind a trunk gets it", LEAVE, || group.reaches(lab, clients, &[5]))?;
    group.reaches(lab, servers, &[2]).context("a member in VLAN 20 is none in VLAN 10")?;
    group.says(lab, At(5, Some(10)), Membership::Join)?;
    eventually("two members get it", LEAVE, || group.reaches(lab, servers, &[2, 5]))?;
    let shown = lab.show("mdb")?;
    let address = group.address.to_string();
    let members = shown.iter().filter(|row| row["group"] == address.as_str()).count();
    ensure!(members == 3, "`corten show mdb` has {members} of three members of {address}: {shown:?}");
    for (leaver, left) in [(At(2, None), &[5][..]), (At(5, Some(10)), &[])] {
        group.says(lab, leaver, Membership::Leave)?;
        eventually("who leaves gets it no longer", LEAVE, || group.reaches(lab, servers, left))?;
    }
    group.reaches(lab, clients, &[5]).context("who left VLAN 10 is still a member in VLAN 20")
}

fn static_members(lab: &Lab, _: &Run) -> Result<String> {
    let document = querying(lab)
        + "\n[[mdb]]\ngroup = \"239.1.1.1\"\nvlan = 20\nports = [\"swp4\"]\n\
           \n[[mdb]]\ngroup = \"ff05::1:1\"\nvlan = 20\nports = [\"swp4\", \"swp6\"]\n";
    with_document(lab, &document, || {
        let rows = lab.show("mdb")?;
        let shown = |group: &str, port: &str| {
            rows.iter().any(|row| row["group"] == group && row["port"] == port && row["vlan_id"] == 20)
        };
        ensure!(shown("239.1.1.1", "swp4") && shown("ff05::1:1", "swp6"), "{rows:?}");
        for (group, members) in Group::both(1)?.iter().zip([&[4][..], &[4, 6]]) {
            eventually("the group goes to its members", TRUST, || group.reaches(lab, At(3, None), members))?;
            group.reaches(lab, At(1, None), &[]).context("in a VLAN without members")?;
            // No host can resign for a static member.
            group.says(lab, At(4, None), Membership::Leave)?;
            group.says(lab, At(2, None), Membership::Join)?;
            eventually("a member that joins", LEAVE, || group.reaches(lab, At(1, None), &[2]))?;
            group.says(lab, At(2, None), Membership::Leave)?;
            eventually("and leaves", LEAVE, || group.reaches(lab, At(1, None), &[]))?;
            group.reaches(lab, At(3, None), members).context("after a leave of a static member")?;
        }
        Ok(())
    })
}

fn without_snooping(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.clone() + "\n[bridge]\nigmp-snooping = false\n";
    with_document(lab, &document, || {
        for group in Group::both(4)? {
            group.says(lab, At(2, None), Membership::Join)?;
            group.reaches(lab, At(1, None), &[2, 5, 6])?;
        }
        Ok(())
    })
}

/// The questions for members that leave a port from now on, of one family, with a tag or without.
fn questions(lab: &Lab, port: u16, tag: Option<u16>, ethertype: u16) -> Result<Capture> {
    // Asked by an older version, hosts would tell no sources any more: IGMPv3 and MLDv2.
    let newest = if ethertype == ETHERTYPE_IPV4 { 3 } else { 2 };
    let wanted = move |view: View<'_>| {
        view.ethertype == ethertype
            && view.vlan_id == tag
            && query_version(ethertype, view.payload) == Some(newest)
    };
    Ok(lab.vm.wire(port)?.capture_if(move |bytes| View::parse(bytes).is_some_and(wanted)))
}

/// The questions at these ports from now on, of both families, each with what it is.
fn listen(lab: &Lab, ports: &[At]) -> Result<Vec<(String, Capture)>> {
    let mut captures = Vec::new();
    for &At(port, tag) in ports {
        for ethertype in [ETHERTYPE_IPV4, ETHERTYPE_IPV6] {
            let what = format!("question of type {ethertype:#06x} with tag {tag:?} on swp{port}");
            captures.push((what, questions(lab, port, tag, ethertype)?));
        }
    }
    Ok(captures)
}

/// Waits until both families are asked at these ports.
fn asked(captures: &[(String, Capture)]) -> Result<()> {
    captures.iter().try_for_each(|(what, capture)| capture.wait_for(what, QUESTIONS, |_| true).map(drop))
}

fn asks_in_each_vlan(lab: &Lab, _: &Run) -> Result<String> {
    let but_clients = querying(lab).replace("name = \"clients\"\n", "name = \"clients\"\nquerier = false\n");
    // In a VLAN without a section of its own, and in one that has one. The first question comes at once.
    let wanted = listen(lab, &[At(9, None), At(1, None), At(6, None), At(5, Some(10))])?;
    let unwanted = listen(lab, &[At(3, None), At(5, Some(20)), At(6, Some(20))])?;
    with_document(lab, &but_clients, || {
        asked(&wanted)?;
        let shown = lab.show("vlans")?;
        let asking = shown.iter().filter(|row| row["querier"] == true).map(|row| row["id"].to_string());
        let asking: Vec<String> = asking.collect();
        ensure!(asking == ["10", "50", "60"], "`corten show vlans` has queriers of {asking:?}");
        for group in Group::both(5)? {
            group.reaches(lab, At(3, None), &[4, 5, 6]).context("where nobody asks")?;
            eventually("a group without members goes nowhere", TRUST, || {
                group.reaches(lab, At(1, None), &[])
            })?;
        }
        for (what, capture) in &unwanted {
            ensure!(capture.drain().is_empty(), "VLAN 20 was asked for members: {what}");
        }
        Ok(())
    })?;
    // The other way round: in one VLAN alone.
    let clients_only = lab.document.replace("name = \"clients\"\n", "name = \"clients\"\nquerier = true\n");
    let wanted = listen(lab, &[At(5, Some(20))])?;
    with_document(lab, &clients_only, || {
        asked(&wanted)?;
        for group in Group::both(5)? {
            eventually("a group without members goes nowhere", TRUST, || {
                group.reaches(lab, At(3, None), &[])
            })?;
            group.reaches(lab, At(1, None), &[2, 5, 6]).context("where nobody asks")?;
        }
        Ok(())
    })
}

/// More than the kernel's own table takes before it turns snooping off for all.
const JOINS: u32 = 4200;
/// As many as a port may have if the document says nothing.
const MOST_GROUPS: usize = 1024;

fn joins_without_end(lab: &Lab, _: &Run) -> Result<String> {
    let group = Group::new("239.1.1.8", "10.0.10.150")?;
    let document = querying(lab) + "\n[[mdb]]\ngroup = \"239.1.1.8\"\nvlan = 10\nports = [\"swp2\"]\n";
    with_document(lab, &document, || {
        eventually("the group goes to its member alone", TRUST, || group.reaches(lab, At(1, None), &[2]))?;
        for number in 0..JOINS {
            let [_, _, high, low] = number.to_be_bytes();
            let address = IpAddr::from([239, 100, high, low]);
            let frame = membership(Mac::of_host(1), "10.0.10.101".parse()?, address, Membership::Join)?;
            ensure!(lab.vm.wire(1)?.send(&frame.build()), "the machine did not take a frame on swp1");
        }
        // Behind them: once this has come out, the bridge has heard them all.
        speak(lab, At(1, None), Mac::of_host(1))?;
        let snooping = lab.vm.run("cat /sys/class/net/bridge/bridge/multicast_snooping")?;
        ensure!(snooping.trim() == "1", "snooping was turned off");
        let joined =
            lab.show("mdb")?.iter().filter(|row| row["port"] == "swp1" && row["kind"] == "learned").count();
        ensure!(joined == MOST_GROUPS, "swp1 is in {joined} groups");
        group.reaches(lab, At(1, None), &[2]).context("after a host joined without end")?;
        // Another port has its own share.
        let other = Group::new("239.1.1.9", "10.0.10.150")?;
        other.says(lab, At(6, None), Membership::Join)?;
        eventually("another port's host gets its group", LEAVE, || other.reaches(lab, At(1, None), &[6]))?;
        // And an operator's change is taken.
        lab.apply_ok(&document.replace("ports = [\"swp2\"]", "ports = [\"swp2\", \"swp6\"]"))
    })
}

fn querier_of_one_vlan(lab: &Lab, _: &Run) -> Result<String> {
    // The bridge remembers who asked for as long as it has the VLAN.
    let document = changed(lab, "vlan.access = 50\n", "vlan.access = 77\n")?;
    with_document(lab, &document, || prunes_alone(lab))
}

fn prunes_alone(lab: &Lab) -> Result<()> {
    let groups = Group::both(6)?;
    for group in &groups {
        group.reaches(lab, At(9, None), &[10]).context("before anybody asks")?;
        let question = query(Mac::of_host(9), group.source).build();
        ensure!(lab.vm.wire(9)?.send(&question), "the machine did not take a frame on swp9");
    }
    for group in &groups {
        eventually("a group without members goes nowhere", TRUST, || group.reaches(lab, At(9, None), &[]))?;
        group.reaches(lab, At(10, None), &[9]).context("whoever asks gets all groups")?;
        group.says(lab, At(10, None), Membership::Join)?;
        eventually("a member gets it", LEAVE, || group.reaches(lab, At(9, None), &[10]))?;
        group.says(lab, At(10, None), Membership::Leave)?;
        group.reaches(lab, At(1, None), &[2, 5, 6]).context("where nobody asked")?;
        group.reaches(lab, At(3, None), &[4, 5, 6]).context("where nobody asked")?;
    }
    Ok(())
}

/// The kernel does so, and tells nobody, when its table of groups is full.
fn snooping_comes_back(lab: &Lab, _: &Run) -> Result<String> {
    const SWITCH: &str = "/sys/class/net/bridge/bridge/multicast_snooping";
    with_document(lab, &querying(lab), || {
        lab.vm.run(&format!("echo 0 >{SWITCH}"))?;
        let [group, _] = Group::both(17)?;
        eventually("snooping is on again", LEAVE, || {
            group.says(lab, At(2, None), Membership::Join)?;
            let on = lab.vm.run(&format!("cat {SWITCH}"))?;
            ensure!(on.trim() == "1", "it is {on}");
            Ok(())
        })?;
        group.says(lab, At(2, None), Membership::Leave)
    })
}
