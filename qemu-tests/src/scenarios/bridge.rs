//! The bridge's own rules: what it learns, forgets and fixes, what is too large, what stays on its link.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::frame::{Frame, Mac};

use super::frames::{At, cross, frame};
use super::objects::{changed, with_document};
use super::reach::{ports_reached, ports_reached_before, ports_reached_by, reaches, speak};
use super::spanning_tree::{FORWARDING, come_up};
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 11] = [
    Scenario::new("a frame never leaves by the port it came in by", Topology::Switch, never_back),
    Scenario::new("an address that moves takes its frames along", Topology::Switch, moving),
    Scenario::new("an address that is silent for the ageing time is forgotten", Topology::Switch, ageing)
        .waits()
        .takes(19),
    Scenario::new(
        "a static address stays at its port whoever else claims it",
        Topology::Switch,
        static_address_stays,
    )
    .takes(24),
    Scenario::new(
        "a jumbo frame passes where both ports allow it, and a larger one nowhere",
        Topology::Switch,
        jumbo_frames,
    ),
    Scenario::new(
        "frames to the switch's own address in a VLAN end there",
        Topology::Switch,
        own_address_is_an_end,
    ),
    Scenario::new(
        "frames of a subinterface never enter the bridge, and the bridge's never leave by it",
        Topology::Switch,
        subinterface_is_apart,
    ),
    Scenario::new(
        "frames to reserved groups stay on their link unless the port opts in",
        Topology::Switch,
        reserved_groups,
    ),
    Scenario::new(
        "frames to reserved groups cross trunks without a native VLAN, and no other untagged frame does",
        Topology::Switch,
        reserved_groups_on_trunks,
    )
    .takes(15),
    Scenario::new(
        "beside a spanning tree reserved groups cross trunks, but for its own frames",
        Topology::Switch,
        reserved_groups_beside_stp,
    )
    .waits()
    .takes(60),
    Scenario::new(
        "a host that speaks from addresses without end fills the table to its limit and no further",
        Topology::Switch,
        addresses_without_end,
    ),
];

const SOON: Duration = Duration::from_secs(20);
/// Least ageing time that a document may ask for.
const AGEING_S: u64 = 10;
/// Largest MTU of a port, and the header of an untagged frame, in bytes.
const JUMBO_BYTES: usize = 9216;
const HEADER_BYTES: usize = 14;

/// A station that exists only in a test.
fn station(number: u16) -> Mac {
    Mac::of_host(500 + number)
}

fn never_back(lab: &Lab, _: &Run) -> Result<String> {
    let (here, there) = (station(1), station(2));
    for destination in [Mac::BROADCAST, station(3), Mac([0x01, 0x00, 0x5e, 0x7f, 0, 1])] {
        reaches(lab, At(1, None), here, destination, &[2, 5, 6])?;
        // On a trunk not with another tag either: of two VLANs, it is one link.
        reaches(lab, At(5, Some(10)), there, destination, &[1, 2, 6])?;
        reaches(lab, At(5, Some(20)), there, destination, &[3, 4, 6])?;
    }
    // Not even to an address that was learned there.
    speak(lab, At(2, None), here)?;
    reaches(lab, At(2, None), station(4), here, &[])
        .context("to an address behind the port it came in by")?;
    Ok(String::new())
}

fn moving(lab: &Lab, _: &Run) -> Result<String> {
    let nomad = station(10);
    for (at, elsewhere) in [
        (At(1, None), At(6, None)),
        (At(2, None), At(1, None)),
        (At(5, Some(10)), At(2, None)),
        (At(1, None), At(5, Some(10))),
    ] {
        speak(lab, at, nomad)?;
        reaches(lab, elsewhere, station(11), nomad, &[at.0])?;
        // In another VLAN the address is another's.
        reaches(lab, At(3, None), station(12), nomad, &[4, 5, 6])?;
    }
    Ok(String::new())
}

fn learned(lab: &Lab, mac: Mac) -> Result<bool> {
    let mac = mac.to_string();
    Ok(lab.show("fdb")?.iter().any(|row| row["mac"] == mac.as_str() && row["vlan_id"] == 10))
}

fn ageing(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.clone() + &format!("\n[bridge]\nageing-time = {AGEING_S}\n");
    let quiet = station(20);
    with_document(lab, &document, || {
        let mut spoke = Instant::now();
        eventually("swp1 is learned on", SOON, || {
            spoke = Instant::now();
            speak(lab, At(1, None), quiet)?;
            reaches(lab, At(2, None), station(21), quiet, &[1])
        })?;
        ensure!(learned(lab, quiet)?, "`corten show fdb` lacks {quiet}");
        // The bridge looks for old entries from time to time, at most one ageing time late.
        eventually("the address is forgotten", Duration::from_secs(3 * AGEING_S), || {
            ensure!(!learned(lab, quiet)?, "`corten show fdb` still has {quiet}");
            Ok(())
        })?;
        let remembered = spoke.elapsed();
        ensure!(
            remembered >= Duration::from_secs(AGEING_S),
            "it was forgotten {} ms after it spoke",
            remembered.as_millis()
        );
        reaches(lab, At(2, None), station(21), quiet, &[1, 5, 6]).context("once it is forgotten")
    })
}

fn static_address_stays(lab: &Lab, _: &Run) -> Result<String> {
    let fixed = station(30);
    let document =
        lab.document.clone() + &format!("\n[[fdb]]\nmac = \"{fixed}\"\nvlan = 10\nport = \"swp1\"\n");
    // Learned elsewhere before it is fixed, and claimed elsewhere afterwards.
    speak(lab, At(2, None), fixed)?;
    reaches(lab, At(6, None), station(31), fixed, &[2])?;
    with_document(lab, &document, || {
        eventually("the VLAN carries frames", SOON, || {
            ports_reached(lab, At(2, None), station(31), Mac::BROADCAST).map(drop)
        })?;
        for claims in [At(2, None), At(5, Some(10)), At(6, None)] {
            speak(lab, claims, fixed)?;
            let from = if claims.0 == 2 { At(6, None) } else { At(2, None) };
            reaches(lab, from, station(31), fixed, &[1])
                .with_context(|| format!("claimed by somebody on swp{}", claims.0))?;
        }
        let mac = fixed.to_string();
        let rows = lab.show("fdb")?;
        let row = rows.iter().find(|row| row["mac"] == mac.as_str()).context("the entry is not shown")?;
        ensure!(row["kind"] == "static" && row["port"] == "swp1", "the entry is shown as {row}");
        Ok(())
    })?;
    // Learned again when it is fixed no longer.
    speak(lab, At(2, None), fixed)?;
    reaches(lab, At(6, None), station(31), fixed, &[2])?;
    Ok(String::new())
}

/// A frame of this many bytes.
fn sized(source: Mac, destination: Mac, payload: &str, bytes: usize) -> Vec<u8> {
    let mut frame = frame(source, destination, None, payload);
    frame.resize(bytes, b'j');
    frame
}

fn jumbo_frames(lab: &Lab, _: &Run) -> Result<String> {
    let document = changed(
        lab,
        "[ports.\"swp[1-2]\"]\nvlan.access = 10\n",
        &format!("[ports.\"swp[1-2]\"]\nvlan.access = 10\nmtu = {JUMBO_BYTES}\n"),
    )?;
    // Where nothing is said, 1500 bytes are the most, and room for a tag whether there is one or not.
    for (bytes, ports) in [(1500, &[2, 5, 6][..]), (1504, &[2, 5, 6]), (1505, &[]), (JUMBO_BYTES, &[])] {
        largest(lab, bytes + HEADER_BYTES, ports)?;
    }
    with_document(lab, &document, || {
        eventually("the VLAN carries frames", SOON, || {
            ports_reached(lab, At(1, None), station(40), Mac::BROADCAST).map(drop)
        })?;
        let payload = fresh_payload("jumbo");
        let capture = lab.vm.wire(2)?.capture_text(&payload);
        let sent = sized(station(40), Mac::BROADCAST, &payload, JUMBO_BYTES + HEADER_BYTES);
        ensure!(lab.vm.wire(1)?.send(&sent), "the machine did not take a frame of {} bytes", sent.len());
        let came = capture.wait_for("jumbo frame", SOON, |view| view.carries(&payload))?;
        ensure!(*came.bytes == *sent, "a frame of {} bytes was changed on its way", sent.len());
        // The other ports of the VLAN have the default MTU; a tag's worth more than the largest is too much.
        largest(lab, JUMBO_BYTES + HEADER_BYTES, &[2])?;
        largest(lab, JUMBO_BYTES + HEADER_BYTES + 5, &[])
    })
}

/// Checks where a broadcast of this size goes from swp1.
fn largest(lab: &Lab, bytes: usize, ports: &[u16]) -> Result<()> {
    let reached =
        ports_reached_by(lab, At(1, None), |payload| Ok(sized(station(40), Mac::BROADCAST, payload, bytes)))?;
    ensure!(
        reached.iter().eq(ports),
        "a frame of {bytes} bytes reached ports {reached:?} instead of {ports:?}"
    );
    Ok(())
}

/// The hardware address of an interface of the switch.
pub(super) fn mac_of(lab: &Lab, interface: &str) -> Result<Mac> {
    lab.vm.run(&format!("cat /sys/class/net/{interface}/address"))?.trim().parse()
}

fn own_address_is_an_end(lab: &Lab, _: &Run) -> Result<String> {
    let switch = mac_of(lab, "vlan10")?;
    for from in [At(1, None), At(5, Some(10)), At(6, None)] {
        reaches(lab, from, Mac::of_host(from.0), switch, &[])?;
    }
    // It is an end that answers.
    let member = lab.member(1, 10)?;
    member.ping_all_answered("10.0.10.1".parse()?, 3)?;
    member.ping_all_answered("2001:db8:10::1".parse()?, 3)?;
    // Nobody takes its address away by claiming it.
    speak(lab, At(2, None), switch)?;
    reaches(lab, At(1, None), Mac::of_host(1), switch, &[])?;
    member.ping_all_answered("10.0.10.1".parse()?, 3)?;
    Ok(String::new())
}

fn subinterface_is_apart(lab: &Lab, _: &Run) -> Result<String> {
    // The tag of a VLAN that the bridge carries, on a port outside of it.
    let document = changed(
        lab,
        "[ports.swp11]\ndescription = \"pulled\"\nvlan.access = 60\n",
        "[ports.swp11]\ndescription = \"parent\"\n\n[subinterfaces.\"swp11.10\"]\naddresses = [\"10.0.111.1/24\"]\n",
    )?;
    with_document(lab, &document, || {
        let host = lab.host(11, |config| config.vlan(10).address("10.0.111.2/24"))?;
        host.ping_until_answered("10.0.111.1".parse()?, SOON)?;
        eventually("the VLAN carries frames", SOON, || {
            reaches(lab, At(1, None), station(50), Mac::BROADCAST, &[2, 5, 6])
        })?;
        for destination in [Mac::BROADCAST, Mac::of_host(1), station(51)] {
            let build = |payload: &str| Ok(frame(station(52), destination, Some(10), payload));
            let fence = || host.ping_all_answered("10.0.111.1".parse()?, 1).map(drop);
            let reached = ports_reached_before(lab, At(11, None), build, fence)?;
            ensure!(reached.is_empty(), "a frame of the subinterface to {destination} left by {reached:?}");
        }
        Ok(())
    })
}

/// Most addresses, and how many a host speaks from.
const MOST_LEARNED: usize = 100;
const SPOKEN: u16 = 400;

fn addresses_without_end(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.clone() + &format!("\n[bridge]\nmost-learned = {MOST_LEARNED}\n");
    with_document(lab, &document, || {
        let flood = |number: u16| Mac([0x06, 0, 0, 1, (number >> 8) as u8, number as u8]);
        for number in 0..SPOKEN {
            let itself = frame(flood(number), flood(number), None, "here");
            ensure!(lab.vm.wire(1)?.send(&itself), "the machine did not take a frame on swp1");
        }
        // Behind them: once this has come out, the bridge has heard them all.
        ports_reached(lab, At(1, None), station(70), Mac::BROADCAST)?;
        let learned = lab.show("fdb")?.iter().filter(|row| row["kind"] == "learned").count();
        ensure!(learned <= MOST_LEARNED, "{learned} addresses are learned");
        ensure!(learned > MOST_LEARNED / 2, "only {learned} addresses are learned");
        // Frames to those that found no room go to all.
        reaches(lab, At(2, None), station(71), flood(SPOKEN - 1), &[1, 5, 6])
    })
}

/// The last byte of groups that IEEE 802.1Q reserves (table 8-1), with what speaks to them.
const SPANNING_TREE: u8 = 0x00;
const LLDP: u8 = 0x0e;
const EAPOL: u8 = 0x03;

fn reserved(last: u8) -> Mac {
    Mac([0x01, 0x80, 0xc2, 0x00, 0x00, last])
}

fn reserved_groups(lab: &Lab, _: &Run) -> Result<String> {
    let from_swp1 = |last: u8, ports: &[u16]| reaches(lab, At(1, None), station(60), reserved(last), ports);
    // The spanning tree's own frames pass while none runs here: other bridges must see a loop.
    from_swp1(SPANNING_TREE, &[2, 5, 6])?;
    for last in 0x01..=0x0f {
        from_swp1(last, &[])?;
    }
    let document = changed(
        lab,
        "[ports.\"swp[1-2]\"]\nvlan.access = 10\n",
        "[ports.\"swp[1-2]\"]\nvlan.access = 10\nforward-reserved = [\"lldp\", \"eapol\"]\n",
    )?;
    with_document(lab, &document, || {
        eventually("what the port opts in for is forwarded", SOON, || from_swp1(LLDP, &[2, 5, 6]))?;
        from_swp1(EAPOL, &[2, 5, 6])?;
        for last in (0x01..=0x0f).filter(|last| ![LLDP, EAPOL].contains(last)) {
            from_swp1(last, &[])?;
        }
        // A port that does not opt in keeps its own.
        for last in [LLDP, EAPOL] {
            reaches(lab, At(6, None), station(60), reserved(last), &[])?;
        }
        Ok(())
    })?;
    from_swp1(LLDP, &[])?;
    // With the spanning tree, its frames are the switch's own.
    let document = lab.document.clone() + "\n[bridge]\nstp = true\n";
    lab.with_document(&document, || spanning_tree_frames(lab))?;
    eventually("frames cross again", SOON, || from_swp1(SPANNING_TREE, &[2, 5, 6]))?;
    Ok(String::new())
}

/// Checks that no BPDU crosses, with the switch's own as witnesses that the spanning tree runs.
fn spanning_tree_frames(lab: &Lab) -> Result<()> {
    let payload = fresh_payload("bpdu");
    let (out, own) = (lab.vm.wire(2)?.capture_text(&payload), lab.vm.wire(2)?.capture());
    let bytes = Frame::new(station(60), reserved(SPANNING_TREE)).payload(&payload).build();
    let deadline = Instant::now() + SOON;
    let mut seen = 0;
    while seen < 2 {
        lab.vm.wire(1)?.send(&bytes);
        let Some(captured) = own.next_before(deadline) else { bail!("the switch sends no BPDU on swp2") };
        seen += usize::from(
            captured
                .view()
                .is_some_and(|view| view.destination == reserved(SPANNING_TREE) && !view.carries(&payload)),
        );
    }
    ensure!(out.drain().is_empty(), "a BPDU crossed a bridge that runs the spanning tree itself");
    Ok(())
}

/// The lab's document with trunks of VLANs 50 to 52 that have no native VLAN: swp9, swp10 and a LAG of swp11. `with` is
/// what else swp9 and swp10 are told.
fn trunks(lab: &Lab, with: &str) -> Result<String> {
    let access = "[ports.\"swp[9-10]\"]\nvlan.access = 50\n";
    let document = changed(lab, access, &format!("[ports.\"swp[9-10]\"]\nvlan.trunk = [\"50-52\"]\n{with}"))?;
    let single = "[ports.swp11]\ndescription = \"pulled\"\nvlan.access = 60\n\n";
    ensure!(document.contains(single), "the lab's document lacks swp11");
    Ok(document.replace(single, "")
        + "\n[lags.trunk]\nmembers = [\"swp11\"]\nmode = \"static\"\nvlan.trunk = [\"50-52\"]\n")
}

/// A frame to a reserved group as it is on the wire: of the spanning tree with the LLC header of IEEE 802.1D, 9.2.
fn to_group(last: u8, tag: Option<(u16, u8)>, text: &str) -> Vec<u8> {
    let frame = Frame::new(station(61), reserved(last));
    let frame = tag.map_or(frame.clone(), |(vlan_id, priority)| frame.tag(vlan_id, priority));
    if last != SPANNING_TREE {
        return frame.payload(text).build();
    }
    let payload = [&[0x42, 0x42, 0x03][..], text.as_bytes()].concat();
    frame.ethertype(payload.len() as u16).payload(payload).build()
}

/// Ports out of which a frame comes that goes in at one of the trunks, each time with its tag.
fn comes_out(lab: &Lab, from: u16, build: impl FnOnce(&str) -> Vec<u8>) -> Result<Vec<(u16, Option<u16>)>> {
    let payload = fresh_payload("trunk");
    let watched: Vec<(u16, _)> =
        (1..=12).map(|port| Ok((port, lab.vm.wire(port)?.capture_text(&payload)))).collect::<Result<_>>()?;
    ensure!(lab.vm.wire(from)?.send(&build(&payload)), "the machine did not take a frame on swp{from}");
    // A broadcast on the same way overtakes nothing.
    let end = fresh_payload("end");
    let others: Vec<u16> = [9, 10, 11].into_iter().filter(|port| *port != from).collect();
    let ends: Vec<_> =
        others.iter().map(|port| Ok(lab.vm.wire(*port)?.capture_text(&end))).collect::<Result<_>>()?;
    lab.vm.wire(from)?.send(&frame(Mac::of_host(from), Mac::BROADCAST, Some(50), &end));
    for capture in &ends {
        capture.wait_for("the frame after the frame", SOON, |view| view.carries(&end))?;
    }
    let mut out = Vec::new();
    for (port, capture) in &watched {
        for captured in capture.drain() {
            out.push((*port, captured.view().context("a captured frame is too short")?.vlan_id));
        }
    }
    Ok(out)
}

/// Checks out of which ports a frame to a reserved group comes, and with which tags.
fn goes(
    lab: &Lab,
    from: u16,
    last: u8,
    tag: Option<(u16, u8)>,
    expected: &[(u16, Option<u16>)],
) -> Result<()> {
    let found = comes_out(lab, from, |text| to_group(last, tag, text))?;
    ensure!(
        found == expected,
        "a frame to {} with tag {tag:?} on swp{from} came out of {found:?} instead of {expected:?}",
        reserved(last)
    );
    Ok(())
}

fn reserved_groups_on_trunks(lab: &Lab, _: &Run) -> Result<String> {
    let untagged = |ports: [u16; 2]| ports.map(|port| (port, None));
    with_document(lab, &trunks(lab, "")?, || {
        eventually("the trunks carry VLAN 50", SOON, || goes(lab, 9, LLDP, None, &[]))?;
        // Bridges at the ends of trunks find loops: what they say goes from each to each, as they say it, once.
        for (from, others) in [(9, [10, 11]), (10, [9, 11]), (11, [9, 10])] {
            goes(lab, from, SPANNING_TREE, None, &untagged(others))?;
            for last in 0x01..=0x0f {
                goes(lab, from, last, None, &[])?;
            }
        }
        // A tag that says a priority alone is none; one of a VLAN stays.
        goes(lab, 9, SPANNING_TREE, Some((0, 5)), &untagged([10, 11]))?;
        goes(lab, 9, SPANNING_TREE, Some((51, 0)), &[(10, Some(51)), (11, Some(51))])?;
        let found = comes_out(lab, 9, |text| frame(station(61), Mac::BROADCAST, None, text))?;
        ensure!(
            found.is_empty(),
            "an untagged broadcast on a trunk without a native VLAN came out of {found:?}"
        );
        // Somebody takes the filters away; the shell's own tc(8) knows no `clsact`.
        lab.vm.run("/usr/sbin/tc qdisc del dev swp9 clsact")?;
        eventually("netd puts the filters back", SOON, || {
            goes(lab, 9, SPANNING_TREE, None, &untagged([10, 11]))?;
            goes(lab, 10, SPANNING_TREE, None, &untagged([9, 11]))
        })
    })?;
    with_document(lab, &trunks(lab, "forward-reserved = [\"lldp\", \"lacp\"]\n")?, || {
        const LACP: u8 = 0x02;
        for last in [LLDP, LACP] {
            eventually("what the port opts in for is forwarded", SOON, || {
                goes(lab, 9, last, None, &untagged([10, 11]))
            })?;
            // The LAG does not opt in.
            goes(lab, 11, last, None, &[])?;
        }
        goes(lab, 9, EAPOL, None, &[])
    })?;
    // Beside an access port of the lowest VLAN, and one of another.
    let mixed = trunks(lab, "")?.replace(
        "[ports.\"swp[9-10]\"]\n",
        "[ports.swp10]\nvlan.access = 50\n\n[ports.swp12]\nvlan.access = 51\n\n[ports.swp9]\n",
    );
    with_document(lab, &mixed, || {
        eventually("the trunks carry VLAN 50", SOON, || goes(lab, 9, LLDP, None, &[]))?;
        goes(lab, 9, SPANNING_TREE, None, &untagged([10, 11]))?;
        let payload = fresh_payload("access");
        let trunk = lab.vm.wire(9)?.capture_text(&payload);
        for (from, tag) in [(10, None), (12, Some(51))] {
            eventually(&format!("a frame from swp{from} leaves the trunk with tag {tag:?}"), SOON, || {
                lab.vm.wire(from)?.send(&to_group(SPANNING_TREE, None, &payload));
                let came =
                    trunk.wait_for("the frame", Duration::from_secs(2), |view| view.carries(&payload))?;
                let vlan_id = came.view().context("a captured frame is too short")?.vlan_id;
                trunk.drain();
                ensure!(vlan_id == tag, "it left with tag {vlan_id:?}");
                Ok(())
            })?;
        }
        Ok(())
    })?;
    Ok(String::new())
}

fn reserved_groups_beside_stp(lab: &Lab, _: &Run) -> Result<String> {
    let document = trunks(lab, "forward-reserved = [\"lldp\"]\n")? + "\n[bridge]\nstp = true\n";
    let untagged = [(10, None), (11, None)];
    lab.with_document(&document, || {
        // Nothing goes in or out by a port that does not forward yet, these frames neither.
        come_up(lab, 10)?;
        let payload = fresh_payload("early");
        let early = [9, 10].map(|port| lab.vm.wire(port).map(|wire| wire.capture_text(&payload)));
        for port in [9, 10] {
            let frame = to_group(LLDP, None, &payload);
            ensure!(lab.vm.wire(port)?.send(&frame), "the machine did not take a frame on swp{port}");
        }
        eventually("swp10 forwards", FORWARDING, || {
            cross(lab, At(9, Some(50)), At(10, Some(50)), Mac::BROADCAST)
        })?;
        cross(lab, At(10, Some(50)), At(9, Some(50)), Mac::BROADCAST)?;
        for capture in early {
            ensure!(capture?.drain().is_empty(), "a frame crossed a port that did not forward yet");
        }
        eventually("what the port opts in for is forwarded", SOON, || goes(lab, 9, LLDP, None, &untagged))?;
        goes(lab, 9, SPANNING_TREE, None, &[])
    })?;
    eventually("frames cross again", SOON, || cross(lab, At(9, None), At(10, None), Mac::BROADCAST))?;
    Ok(String::new())
}
