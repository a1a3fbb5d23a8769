//! Flows, each of packets that are alike, and which way each takes.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qemu_tests::wire::{Capture, Captured};

use crate::lab::{Lab, eventually, fresh_payload};

/// Flows sent to see how they are spread.
pub(super) const FLOWS: u16 = 64;
/// How long packets on their way may take.
const SOON: Duration = Duration::from_secs(5);

/// A packet left twice, which none may at any time.
#[derive(Debug)]
struct LeftTwice {
    flow: u16,
    ports: [u16; 2],
}

impl fmt::Display for LeftTwice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.ports;
        write!(f, "a packet of flow {} left by swp{first} and once more by swp{second}", self.flow)
    }
}

impl Error for LeftTwice {}

/// Waits until a check of flows holds. No packet may leave twice meanwhile: that ends the wait at once.
pub(super) fn settled<T>(what: &str, timeout: Duration, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    eventually(what, timeout, || match check() {
        Err(error) if error.is::<LeftTwice>() => Ok(Err(error)),
        outcome => outcome.map(Ok),
    })?
}

/// By which of the ports each flow leaves, as `send` sends a payload of a flow. All must arrive, each once.
pub(super) fn ways(
    lab: &Lab,
    ports: [u16; 2],
    send: impl Fn(u16, &str) -> Result<()>,
) -> Result<BTreeMap<u16, u16>> {
    let (label, fence) = (fresh_payload("flow"), fresh_payload("fence"));
    let (captures, fences) = (captures(lab, ports, &label)?, captures(lab, ports, &fence)?);
    // Packets of a flow leave one behind the other: where its fence has come out, nothing more of it will.
    for text in [&label, &fence] {
        for flow in 1..=FLOWS {
            send(flow, &format!("{text}{flow:03};"))?;
        }
    }
    let fenced = arrivals(&fences, &fence)?;
    let mut ways = BTreeMap::new();
    for (port, capture) in &captures {
        for captured in capture.drain() {
            let flow = number(&captured, &label)?;
            if let Some(first) = ways.insert(flow, *port) {
                return Err(LeftTwice { flow, ports: [first, *port] }.into());
            }
        }
    }
    let arrived = ways.len().min(fenced.len());
    ensure!(arrived == usize::from(FLOWS), "{arrived} of {FLOWS} flows arrived");
    Ok(ways)
}

fn captures(lab: &Lab, ports: [u16; 2], label: &str) -> Result<Vec<(u16, Capture)>> {
    ports.into_iter().map(|port| Ok((port, lab.vm.wire(port)?.capture_text(label)))).collect()
}

/// The flows that arrive, waiting for all of them.
fn arrivals(captures: &[(u16, Capture)], label: &str) -> Result<BTreeSet<u16>> {
    let (mut arrived, deadline) = (BTreeSet::new(), Instant::now() + SOON);
    while arrived.len() < usize::from(FLOWS) && Instant::now() < deadline {
        for (_, capture) in captures {
            while let Some(captured) = capture.next_before(Instant::now() + Duration::from_millis(10)) {
                arrived.insert(number(&captured, label)?);
            }
        }
    }
    Ok(arrived)
}

/// The number of the flow that a packet is of.
fn number(captured: &Captured, label: &str) -> Result<u16> {
    let text = String::from_utf8_lossy(&captured.bytes);
    let number = text.split(label).nth(1).and_then(|rest| rest.get(..3)?.parse().ok());
    number.context("a flow without a number")
}

/// The ports that flows leave by.
pub(super) fn used(ways: &BTreeMap<u16, u16>) -> BTreeSet<u16> {
    ways.values().copied().collect()
}
