//! Flows, each of packets that are alike, and which way each takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, fresh_payload};

/// Flows sent to see how they are spread.
pub(super) const FLOWS: u16 = 64;

/// By which of the ports each flow leaves, as `send` sends a payload of a flow. All must arrive, each once.
pub(super) fn ways(
    lab: &Lab,
    ports: [u16; 2],
    send: impl Fn(u16, &str) -> Result<()>,
) -> Result<BTreeMap<u16, u16>> {
    let label = fresh_payload("flow");
    let captures = ports
        .into_iter()
        .map(|port| Ok((port, lab.vm.wire(port)?.capture_text(&label))))
        .collect::<Result<Vec<_>>>()?;
    for flow in 1..=FLOWS {
        send(flow, &format!("{label}{flow:03};"))?;
    }
    let mut ways = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while ways.len() < usize::from(FLOWS) {
        ensure!(Instant::now() < deadline, "{} of {FLOWS} flows arrived", ways.len());
        for (port, capture) in &captures {
            while let Some(captured) = capture.next_before(Instant::now() + Duration::from_millis(10)) {
                let text = String::from_utf8_lossy(&captured.bytes).into_owned();
                let number = text.split(&label).nth(1).and_then(|rest| rest.get(..3)?.parse().ok());
                let twice = ways.insert(number.context("a flow without a number")?, *port);
                ensure!(twice.is_none(), "a frame left twice");
            }
        }
    }
    Ok(ways)
}

/// The ports that flows leave by.
pub(super) fn used(ways: &BTreeMap<u16, u16>) -> BTreeSet<u16> {
    ways.values().copied().collect()
}
