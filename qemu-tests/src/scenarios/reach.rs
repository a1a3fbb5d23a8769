//! Where a frame comes out.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use qemu_tests::frame::Mac;
use qemu_tests::wire::Capture;

use super::frames::{At, frame};
use crate::lab::{Lab, fresh_payload};

/// How long a frame may take to cross.
const SOON: Duration = Duration::from_secs(5);
/// Ports of the lab.
pub(super) const PORTS: u16 = 12;

/// Ports in the same VLAN as a place, in the lab's own document.
fn fellows(at: At) -> &'static [u16] {
    match at {
        At(1 | 2, None) | At(5, Some(10)) | At(6, None) => &[1, 2, 5, 6],
        At(3 | 4, None) | At(5 | 6, Some(20)) => &[3, 4, 5, 6],
        At(9 | 10, None) => &[9, 10],
        _ => &[],
    }
}

/// Ports out of which a frame with these addresses comes that goes in at a place.
pub(super) fn ports_reached(lab: &Lab, from: At, source: Mac, destination: Mac) -> Result<BTreeSet<u16>> {
    ports_reached_by(lab, from, |payload| Ok(frame(source, destination, from.1, payload)))
}

/// The same for a frame of one's own making that carries the payload.
pub(super) fn ports_reached_by(
    lab: &Lab,
    from: At,
    build: impl FnOnce(&str) -> Result<Vec<u8>>,
) -> Result<BTreeSet<u16>> {
    let fellows = fellows(from).iter().filter(|port| **port != from.0);
    ports_reached_before(lab, from, build, || {
        let end = fresh_payload("end");
        let ends: Vec<Capture> =
            fellows.map(|&port| Ok(lab.vm.wire(port)?.capture_text(&end))).collect::<Result<_>>()?;
        ensure!(!ends.is_empty(), "swp{} has no fellow, so a port's silence shows nothing", from.0);
        // A broadcast on the same way overtakes nothing: where it has come out, so has what went before.
        let broadcast = frame(Mac::of_host(from.0), Mac::BROADCAST, from.1, &end);
        ensure!(lab.vm.wire(from.0)?.send(&broadcast), "the machine did not take a frame on swp{}", from.0);
        for capture in &ends {
            capture.wait_for("the frame after the frame", SOON, |view| view.carries(&end))?;
        }
        Ok(())
    })
}

/// The same, until `fence` has passed behind it.
pub(super) fn ports_reached_before(
    lab: &Lab,
    from: At,
    build: impl FnOnce(&str) -> Result<Vec<u8>>,
    fence: impl FnOnce() -> Result<()>,
) -> Result<BTreeSet<u16>> {
    let payload = fresh_payload("reach");
    let watched: Vec<(u16, Capture)> = (1..=PORTS)
        .map(|port| Ok((port, lab.vm.wire(port)?.capture_text(&payload))))
        .collect::<Result<_>>()?;
    let sent = lab.vm.wire(from.0)?.send(&build(&payload)?);
    ensure!(sent, "the machine did not take a frame on swp{}", from.0);
    fence()?;
    Ok(watched.iter().filter(|(_, capture)| !capture.drain().is_empty()).map(|(port, _)| *port).collect())
}

/// Checks out of which ports a frame comes.
pub(super) fn reaches(lab: &Lab, from: At, source: Mac, destination: Mac, ports: &[u16]) -> Result<()> {
    let reached = ports_reached(lab, from, source, destination)?;
    ensure!(
        reached.iter().eq(ports),
        "a frame from {source} on swp{} to {destination} came out of ports {reached:?} instead of {ports:?}",
        from.0
    );
    Ok(())
}

/// Lets a station be heard, so that its address is learned: by a frame to itself, which ends where it came from.
pub(super) fn speak(lab: &Lab, at: At, station: Mac) -> Result<()> {
    // Ports take turns as they like: only what came after on the same one tells that it was heard.
    ports_reached(lab, at, station, station).map(drop)
}
