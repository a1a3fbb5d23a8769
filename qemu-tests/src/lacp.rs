//! A partner that speaks LACP (IEEE 802.1AX-2020, clause 6): the far end of a LAG.
//!
//! It follows what the switch says: each LACPDU is answered by one that repeats the switch's own view and
//! agrees to aggregate. That is all it takes to bring the members of the switch's LAG up.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::frame::{Frame, Mac};
use crate::sync::lock;
use crate::wire::{Capture, Captured, Wire};

/// Ethertype and group address of the slow protocols, and the subtype of LACP among them.
const ETHERTYPE_SLOW: u16 = 0x8809;
const SLOW_PROTOCOLS: Mac = Mac([0x01, 0x80, 0xc2, 0x00, 0x00, 0x02]);
const SUBTYPE_LACP: u8 = 1;
/// Where the sender's own information stands in an LACPDU, behind the Ethernet header: its state is last.
const ACTOR: std::ops::Range<usize> = 4..19;
const STATE: usize = 14;
/// Length of an LACPDU behind the Ethernet header.
const LACPDU_BYTES: usize = 110;
/// State of an agreeing member: active, short time-out, aggregatable, in sync, collecting, distributing.
const AGREED: u8 = 0b0011_1111;
/// How often the partner speaks of its own accord: as often as short time-outs want.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a look at a wire takes at most.
const LOOK: Duration = Duration::from_millis(20);

/// A partner on some wires; it falls silent when dropped.
pub struct Partner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    silent: Mutex<BTreeSet<usize>>,
    agreed: Mutex<BTreeSet<usize>>,
}

struct Member {
    wire: Wire,
    capture: Capture,
    /// What the switch last said of itself on this wire.
    switch: Option<Vec<u8>>,
    due: Instant,
}

impl Partner {
    /// Starts a partner whose members are these wires, in this order.
    pub fn start(wires: &[Wire], system: Mac) -> Result<Partner> {
        let is_lacp = |bytes: &[u8]| bytes.get(12..15) == Some(&[0x88, 0x09, SUBTYPE_LACP]);
        let mut members: Vec<Member> = wires
            .iter()
            .map(|wire| Member {
                wire: wire.clone(),
                capture: wire.capture_if(is_lacp),
                switch: None,
                due: Instant::now(),
            })
            .collect();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            silent: Mutex::default(),
            agreed: Mutex::default(),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("lacp".to_owned()).spawn(move || {
            while !for_thread.stop.load(Ordering::Relaxed) {
                for (index, member) in members.iter_mut().enumerate() {
                    member.turn(index, system, &for_thread);
                }
            }
        });
        Ok(Partner { shared, thread: Some(thread.context("cannot start an LACP partner")?) })
    }

    /// Falls silent on a member, by its place among the wires, or speaks again. The carrier stays.
    pub fn silence(&self, member: usize, silent: bool) {
        let mut members = lock(&self.shared.silent);
        if silent {
            members.insert(member);
        } else {
            members.remove(&member);
        }
    }

    /// The members over which the switch said last that it sends and receives frames.
    pub fn agreed(&self) -> BTreeSet<usize> {
        lock(&self.shared.agreed).clone()
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Member {
    fn turn(&mut self, index: usize, system: Mac, shared: &Shared) {
        let heard = self.capture.next_before(Instant::now() + LOOK);
        let said = heard.as_ref().and_then(actor);
        if let Some(said) = &said {
            // Collecting and distributing: both bits.
            let both = said[STATE] & 0b0011_0000 == 0b0011_0000;
            let mut agreed = lock(&shared.agreed);
            let _ = if both { agreed.insert(index) } else { agreed.remove(&index) };
        }
        let answer = said.is_some();
        self.switch = said.or(self.switch.take());
        if !(answer || Instant::now() >= self.due) || lock(&shared.silent).contains(&index) {
            return;
        }
        self.due = Instant::now() + INTERVAL;
        if let Some(switch) = &self.switch {
            // Lost where the link is pulled: then nobody shall hear it.
            self.wire.try_send(&lacpdu(index, system, switch));
        }
    }
}

/// What the sender of an LACPDU says of itself.
fn actor(captured: &Captured) -> Option<Vec<u8>> {
    Some(captured.view()?.payload.get(ACTOR)?.to_vec())
}

fn lacpdu(index: usize, system: Mac, switch: &[u8]) -> Vec<u8> {
    let port = (index + 1) as u8;
    let mut bytes = vec![SUBTYPE_LACP, 1, 1, 20];
    // Actor: system priority, system, key, port priority, port, state.
    bytes.extend([0x80, 0]);
    bytes.extend(system.0);
    bytes.extend([0, 1, 0, 0xff, 0, port, AGREED, 0, 0, 0]);
    // Partner: what the switch said, word for word.
    bytes.extend([2, 20]);
    bytes.extend(switch);
    bytes.extend([0, 0, 0]);
    // Collector: no delay. Then the terminator.
    bytes.extend([3, 16]);
    bytes.resize(LACPDU_BYTES, 0);
    let mut source = system;
    source.0[5] = source.0[5].wrapping_add(port);
    Frame::new(source, SLOW_PROTOCOLS).ethertype(ETHERTYPE_SLOW).payload(bytes).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partner_repeats_what_the_switch_said_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (switch, far) = Wire::pair(folder.path()).unwrap();
        let answers = switch.capture();
        let partner = Partner::start(&[far], Mac::of_host(700)).unwrap();
        let first = lacpdu(4, Mac::of_host(1), &[0; 15]);
        assert!(switch.send(&first));
        let answer = answers
            .wait_for("answer", Duration::from_secs(5), |view| view.ethertype == ETHERTYPE_SLOW)
            .unwrap();
        let (said, heard) = (&first[14..][ACTOR], &answer.bytes[14..][24..39]);
        assert_eq!(answer.bytes.len(), 14 + LACPDU_BYTES);
        assert_eq!(heard, said);
        assert_eq!(partner.agreed(), BTreeSet::from([0]));
    }
}
