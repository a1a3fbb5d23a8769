//! Asking for link states, over and over: the way to see a link go down at once.
//!
//! The kernel delays its own link events by up to a second when another link has just changed
//! (net/core/link_watch.c). Asking makes it look, and act: next hops on the link go, groups shrink.

use std::collections::HashMap;

use nix::libc;

use super::ethtool::{ETHTOOL_MSG_LINKSTATE_GET, FAMILY, device_message, read_index, read_link_state};
use super::extack::KernelError;
use super::generic::{Family, message};

/// Asking for one link of many costs as much as getting this many in a dump of all: measured on veth pairs.
const ONE_COSTS_AS_MUCH_AS: usize = 4;

/// Asks for the states of links, and takes no memory for it while the links are the same.
#[derive(Debug)]
pub struct LinkStates {
    family: Family,
    /// The links to ask for, in order.
    indexes: Vec<u32>,
    /// Where each of them stands there.
    places: HashMap<u32, usize>,
    /// A finished request for each of them, all of one length.
    requests: Vec<u8>,
    /// A finished request for all links there are.
    dump: Vec<u8>,
    /// How many there were last time; 0 before the first.
    links: usize,
    /// Which of `indexes` the answers told of.
    told: Vec<bool>,
    states: Vec<(u32, bool)>,
}

impl LinkStates {
    /// Opens a connection, to ask for nothing yet.
    pub fn open() -> Result<LinkStates, KernelError> {
        let family = Family::open(FAMILY)?;
        // The header stays empty: all devices.
        let dump = message(family.id, ETHTOOL_MSG_LINKSTATE_GET, 1).nest(1, |header| header);
        Ok(LinkStates {
            dump: dump.finish(0, libc::NLM_F_DUMP as u16),
            family,
            indexes: Vec::new(),
            places: HashMap::new(),
            requests: Vec::new(),
            links: 0,
            told: Vec::new(),
            states: Vec::new(),
        })
    }

    /// Asks for the states of these links, by index, and answers (index, whether it has a link). Links that
    /// are gone have none; those whose driver does not say are left out.
    pub fn ask(&mut self, indexes: &[u32]) -> Result<&[(u32, bool)], KernelError> {
        if self.indexes != indexes {
            self.prepare(indexes);
        }
        self.states.clear();
        if self.indexes.is_empty() {
            return Ok(&self.states);
        }
        if self.indexes.len() * ONE_COSTS_AS_MUCH_AS > self.links {
            self.ask_for_all()?;
        } else {
            self.ask_for_each()?;
        }
        Ok(&self.states)
    }

    fn prepare(&mut self, indexes: &[u32]) {
        self.indexes = indexes.to_vec();
        self.places = indexes.iter().enumerate().map(|(place, index)| (*index, place)).collect();
        self.requests.clear();
        for index in indexes {
            device_message(self.family.id, ETHTOOL_MSG_LINKSTATE_GET, *index)
                .append_to(&mut self.requests, 0);
        }
        self.told = vec![false; indexes.len()];
        self.states = Vec::with_capacity(indexes.len());
        // Whether all are cheaper to have is seen anew.
        self.links = 0;
    }

    fn ask_for_all(&mut self) -> Result<(), KernelError> {
        let LinkStates { family, indexes, places, told, states, dump, links, .. } = self;
        let expected = family.connection.reserve(1);
        set_sequence(dump, expected);
        family.connection.send(dump)?;
        told.fill(false);
        *links = 0;
        let mut finished = None;
        while finished.is_none() {
            family.connection.receive(|kind, flags, sequence, payload| {
                match i32::from(kind) {
                    _ if sequence != expected => {}
                    libc::NLMSG_DONE => finished = Some(KernelError::parse_done(flags, payload)),
                    libc::NLMSG_ERROR => finished = Some(KernelError::parse(flags, payload)),
                    _ => {
                        *links += 1;
                        let index = read_index(payload);
                        if let Some(place) = places.get(&index) {
                            told[*place] = true;
                            states.extend(read_link_state(payload).map(|up| (index, up)));
                        }
                    }
                };
            })?;
        }
        if let Some(Some(error)) = finished {
            return Err(error);
        }
        let gone = indexes.iter().zip(told).filter(|(_, told)| !**told);
        states.extend(gone.map(|(index, _)| (*index, false)));
        Ok(())
    }

    fn ask_for_each(&mut self) -> Result<(), KernelError> {
        let LinkStates { family, indexes, requests, states, .. } = self;
        let first = family.connection.reserve(indexes.len() as u32);
        let length = requests.len() / indexes.len();
        for (request, number) in requests.chunks_exact_mut(length).zip(0..) {
            set_sequence(request, first.wrapping_add(number));
        }
        family.connection.send(requests)?;
        let mut left = indexes.len();
        while left > 0 {
            family.connection.receive(|kind, flags, sequence, payload| {
                let Some(index) = indexes.get(sequence.wrapping_sub(first) as usize) else {
                    return;
                };
                left = left.saturating_sub(1);
                let state = if i32::from(kind) == libc::NLMSG_ERROR {
                    let gone = KernelError::parse(flags, payload).is_some_and(|error| error.is_absent());
                    gone.then_some(false)
                } else {
                    read_link_state(payload)
                };
                states.extend(state.map(|up| (*index, up)));
            })?;
        }
        Ok(())
    }
}

/// Gives a finished request another sequence number.
fn set_sequence(request: &mut [u8], sequence: u32) {
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
}
