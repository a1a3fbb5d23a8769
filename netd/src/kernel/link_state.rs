//! Asking for link states, over and over: the way to see a link go down at once.
//!
//! The kernel delays its own link events by up to a second when another link has just changed
//! (net/core/link_watch.c). Asking makes it look, and act: next hops on the link go, groups shrink.

use nix::libc;

use super::ethtool::{ETHTOOL_MSG_LINKSTATE_GET, FAMILY, device_message, read_link_state};
use super::extack::KernelError;
use super::generic::Family;

/// Asks for the states of links. A round is one system call to ask and one a link to read, and takes no
/// memory while the links are the same.
#[derive(Debug)]
pub struct LinkStates {
    family: Family,
    indexes: Vec<u32>,
    /// One finished request a link, in the order of `indexes`.
    requests: Vec<u8>,
    /// Where each request's sequence number stands.
    places: Vec<usize>,
    states: Vec<(u32, bool)>,
}

impl LinkStates {
    /// Opens a connection, to ask for nothing yet.
    pub fn open() -> Result<LinkStates, KernelError> {
        let family = Family::open(FAMILY)?;
        Ok(LinkStates {
            family,
            indexes: Vec::new(),
            requests: Vec::new(),
            places: Vec::new(),
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
        let count = self.indexes.len();
        if count == 0 {
            return Ok(&self.states);
        }
        let connection = &mut self.family.connection;
        let first = connection.reserve(count as u32);
        for (number, place) in self.places.iter().enumerate() {
            let sequence = first.wrapping_add(number as u32);
            self.requests[place + 8..place + 12].copy_from_slice(&sequence.to_ne_bytes());
        }
        connection.send(&self.requests)?;
        let mut left = count;
        while left > 0 {
            let (indexes, states) = (&self.indexes, &mut self.states);
            connection.receive(|kind, flags, sequence, payload| {
                let Some(index) = indexes.get(sequence.wrapping_sub(first) as usize) else {
                    return;
                };
                left = left.saturating_sub(1);
                let state = if kind == libc::NLMSG_ERROR as u16 {
                    let gone = KernelError::parse(flags, payload).is_some_and(|error| error.is_absent());
                    gone.then_some(false)
                } else {
                    read_link_state(payload)
                };
                states.extend(state.map(|up| (*index, up)));
            })?;
        }
        Ok(&self.states)
    }

    fn prepare(&mut self, indexes: &[u32]) {
        self.indexes = indexes.to_vec();
        self.requests.clear();
        self.places.clear();
        for index in indexes {
            self.places.push(self.requests.len());
            device_message(self.family.id, ETHTOOL_MSG_LINKSTATE_GET, *index)
                .append_to(&mut self.requests, 0);
        }
        self.states = Vec::with_capacity(indexes.len());
    }
}
