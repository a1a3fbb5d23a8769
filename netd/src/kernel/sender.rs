//! Sending many messages: 32 kB at a time, an acknowledgement asked of the last one only.
//!
//! The kernel works through such a batch in one system call. It goes on after a message that fails, and
//! answers each failure whether asked or not; sequence numbers tell which one it was.

use nix::errno::Errno;
use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, add_flags};
use crate::{turns, watchdog};

/// A batch never exceeds this many bytes; larger ones gain nothing.
const BATCH_BYTES: usize = 32 * 1024;
/// A batch never holds more messages, so that all their errors fit a receive buffer that could not be made
/// larger (each takes 768 bytes of 416 KiB).
const BATCH_MESSAGES: u32 = 512;
/// A batch holds no more messages about links: the kernel may take some tens of milliseconds for each (it waits for
/// all its processors when a link goes), and netd shows that it gets on between batches only.
const BATCH_LINKS: usize = 32;
/// Lengths of attributes are two bytes: what is longer cannot be right.
const MESSAGE_BYTES: usize = u16::MAX as usize;

/// How each of many messages fared.
pub type Outcomes = Vec<Result<(), KernelError>>;

/// Collects messages and sends them when there are enough. [`Sender::flush`] sends the rest.
#[derive(Default)]
pub struct Sender {
    bytes: Vec<u8>,
    /// Where in `bytes` the last message begins.
    last: usize,
    /// Sequence number of the first message.
    first: u32,
    /// For each message, its place among the outcomes.
    places: Vec<usize>,
    /// How many of them are about links.
    links: usize,
}

impl Sender {
    /// Adds a message. When it fails, the error is written to its place in `outcomes`, now or later.
    pub fn push(
        &mut self,
        connection: &mut Connection,
        place: usize,
        message: &Message,
        outcomes: &mut Outcomes,
    ) {
        if message.size() > MESSAGE_BYTES {
            outcomes[place] = Err(KernelError::with_words(
                Errno::EMSGSIZE,
                format!("the request would take {} bytes", message.size()),
            ));
            return;
        }
        if self.bytes.len() + message.size() > BATCH_BYTES
            || self.places.len() == BATCH_MESSAGES as usize
            || self.links == BATCH_LINKS
        {
            self.flush(connection, outcomes);
        }
        if self.places.is_empty() {
            self.first = connection.reserve(BATCH_MESSAGES);
        }
        self.last = self.bytes.len();
        message.append_to(&mut self.bytes, self.first.wrapping_add(self.places.len() as u32));
        self.places.push(place);
        self.links += usize::from(is_about_link(message.kind()));
    }

    /// Sends what was collected and waits until the kernel has worked through it.
    pub fn flush(&mut self, connection: &mut Connection, outcomes: &mut Outcomes) {
        if self.places.is_empty() {
            return;
        }
        add_flags(&mut self.bytes[self.last..], libc::NLM_F_ACK as u16);
        let (first, places) = (self.first, &self.places);
        let turn = (self.links > 0).then(|| turns::LINKS.change());
        let sent = connection.exchange(&self.bytes, first, places.len() as u32, |index, error| {
            outcomes[places[index as usize]] = Err(error);
        });
        drop(turn);
        if let Err(error) = sent {
            // Which messages succeeded is unknown now; the caller reads the kernel back.
            for place in places {
                outcomes[*place] = Err(error.clone());
            }
        }
        self.bytes.clear();
        self.places.clear();
        self.links = 0;
        watchdog::alive();
    }
}

fn is_about_link(kind: u16) -> bool {
    [libc::RTM_NEWLINK, libc::RTM_SETLINK, libc::RTM_DELLINK].contains(&kind)
}
