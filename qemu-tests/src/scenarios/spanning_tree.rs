//! The kernel's spanning tree beside another root: what the protocol learned is state and no configuration.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use qemu_tests::frame::Mac;
use qemu_tests::waiting::pause;

use super::frames::{At, cross, frame};
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 2] = [
    Scenario::new(
        "another root's spanning tree timers are no drift, and its frames hold up no change",
        Topology::Switch,
        foreign_root,
    )
    .waits()
    .takes(30),
    Scenario::new(
        "addresses are learned as soon as the spanning tree is turned off amid a topology change",
        Topology::Switch,
        learns_after_stp,
    )
    .waits()
    .takes(70),
];

const SOON: Duration = Duration::from_secs(20);
/// Why a port forwards nothing that the spanning tree keeps from it.
const DISCARDING: &str = "the spanning tree keeps it from forwarding";
/// Listening and learning take the forward delay each (IEEE 802.1D-1998, table 8-3).
pub(super) const FORWARDING: Duration = Duration::from_secs(60);
/// A root sends its configuration every hello time, 1 s here.
const HELLO: Duration = Duration::from_secs(1);

/// Where bridges listen (IEEE 802.1D-1998, table 7-9).
const BRIDGE_GROUP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0];

/// A configuration BPDU of a root that is better than any switch by default: priority 4096, hello time 1 s, maximum
/// age and forward delay 20 s each.
fn root_bpdu() -> Vec<u8> {
    let seconds = |seconds: u16| (seconds * 256).to_be_bytes();
    let bridge = [&[0x10, 0][..], &Mac::of_host(901).0].concat();
    let mut bpdu = vec![0, 0, 0, 0, 0];
    bpdu.extend(&bridge);
    bpdu.extend([0; 4]);
    bpdu.extend(&bridge);
    bpdu.extend([0x80, 1]);
    for time in [0, 20, 1, 20] {
        bpdu.extend(seconds(time));
    }
    let mut bytes = [&BRIDGE_GROUP[..], &Mac::of_host(901).0].concat();
    // IEEE 802.3 length, then the LLC of the spanning tree.
    bytes.extend((bpdu.len() as u16 + 3).to_be_bytes());
    bytes.extend([0x42, 0x42, 0x03]);
    bytes.extend(bpdu);
    bytes.resize(60, 0);
    bytes
}

/// Does something while another bridge on swp1 says that it is the root.
fn beside_another_root(lab: &Lab, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (done, bpdu) = (AtomicBool::new(false), root_bpdu());
    let wire = lab.vm.wire(1)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                wire.send(&bpdu);
                pause(HELLO / 2);
            }
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        outcome
    })
}

fn with_stp(lab: &Lab) -> String {
    lab.document.clone() + "\n[bridge]\nstp = true\n"
}

/// Has the link of a port go down and come up: the spanning tree keeps the port from forwarding for twice the forward
/// delay then, and the port says so. Ports that forward when it is turned on go on forwarding.
pub(super) fn come_up(lab: &Lab, port: u16) -> Result<()> {
    lab.replug(port)?;
    lab.port_says(&format!("swp{port}"), DISCARDING)
}

fn foreign_root(lab: &Lab, _: &Run) -> Result<String> {
    let document = with_stp(lab);
    lab.restoring(|| {
        beside_another_root(lab, || {
            lab.apply_ok(&document)?;
            eventually("the switch takes the other for the root", SOON, || {
                let root = lab.vm.run("cat /sys/class/net/bridge/bridge/root_id")?;
                ensure!(root.trim().starts_with("1000."), "the root is {root}");
                let delay = lab.vm.run("cat /sys/class/net/bridge/bridge/forward_delay")?;
                ensure!(delay.trim() == "2000", "the root's forward delay is not taken: {delay}");
                Ok(())
            })?;
            let described = document.replace("description = \"clients\"", "description = \"racks\"");
            ensure!(described != document, "the lab has no port to describe");
            lab.apply_ok(&described)?;
            lab.apply_ok(&document.replace("stp = true", "stp = true\npriority = 8192\nageing-time = 120"))?;
            lab.vm.run("corten rollback --no-confirm")?;
            lab.vm.run("systemctl restart netd.service")?;
            lab.wait_for_netd(SOON)?;
            // Several looks at the kernel.
            pause(Duration::from_secs(3));
            lab.is_well()?;
            let log = lab
                .vm
                .run("journalctl --boot --no-pager --unit netd.service --grep 'forward delay' || true")?;
            ensure!(!log.contains("set forward delay"), "netd fought for its own forward delay: {log}");
            // Off, while the other is still there.
            lab.apply_ok(&lab.document)
        })?;
        lab.is_well()
    })?;
    eventually("swp1 reaches swp2 again", SOON, || cross(lab, At(1, None), At(2, None), Mac::BROADCAST))?;
    Ok(String::new())
}

fn learns_after_stp(lab: &Lab, _: &Run) -> Result<String> {
    lab.restoring(|| {
        lab.apply_ok(&with_stp(lab))?;
        let fought = || {
            lab.vm.run("journalctl --boot --no-pager --unit netd.service --grep 'set ageing time' || true")
        };
        let before = fought()?;
        come_up(lab, 1)?;
        // A port that begins to forward changes the topology.
        eventually("swp1 forwards", FORWARDING, || cross(lab, At(1, None), At(2, None), Mac::BROADCAST))?;
        eventually("the topology changes", SOON, || {
            let changes = lab.vm.run("cat /sys/class/net/bridge/bridge/topology_change")?;
            ensure!(changes.trim() == "1", "it does not");
            Ok(())
        })?;
        // As the root the kernel ages addresses faster meanwhile (IEEE 802.1D-1998, 8.3.5): that is no drift.
        pause(Duration::from_secs(2));
        let after = fought()?;
        ensure!(after == before, "netd fought for its own ageing time: {after}");
        lab.apply_ok(&lab.document)?;
        // Both are known, so that their frames go to each other alone.
        let [one, two] = [Mac::of_host(911), Mac::of_host(912)];
        for (port, mac) in [(1, one), (2, two)] {
            lab.vm.wire(port)?.send(&frame(mac, Mac::BROADCAST, None, &fresh_payload("here")));
        }
        let payload = fresh_payload("known");
        let [there, elsewhere] =
            [lab.vm.wire(2)?.capture_text(&payload), lab.vm.wire(5)?.capture_text(&payload)];
        lab.vm.wire(1)?.send(&frame(one, two, None, &payload));
        there.wait_for("the frame to a learned address", SOON, |view| view.carries(&payload))?;
        cross(lab, At(1, None), At(5, Some(10)), Mac::BROADCAST)?;
        ensure!(elsewhere.drain().is_empty(), "a frame to a learned address was flooded");
        Ok(())
    })?;
    Ok(String::new())
}
