//! A netlink connection for requests: one message, a query, a dump, or a batch.
//!
//! The kernel works through a request inside `sendto`, so waiting for its answer never takes longer than
//! the work itself; the receive time-out only guards against a socket that is not what it seems.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::extack::KernelError;
use super::sender::{Outcomes, Sender};
use super::wire::Message;

const NLMSG_NOOP: u16 = libc::NLMSG_NOOP as u16;
const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;

/// Dumps come in datagrams of at most 32 KiB (`netlink_dump`); answers to single requests are smaller.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Room for the error answers of a whole batch, so that none is lost.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// How long an answer may take. Only a driver that hangs takes this long.
const ANSWER_TIMEOUT_S: i64 = 10;
/// A dump that is interrupted by changes each of so many times has failed: it may lack what was there all the time.
const DUMP_TRIES: u32 = 4;

/// A connection to the kernel's routing family, or to a generic one.
pub struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a connection to the routing family in the network namespace of the caller.
    pub fn open() -> Result<Connection, KernelError> {
        Connection::of_protocol(NETLINK_ROUTE)
    }

    /// Opens a connection to the generic families in the network namespace of the caller.
    pub fn open_generic() -> Result<Connection, KernelError> {
        Connection::of_protocol(NETLINK_GENERIC)
    }

    /// Opens a connection to netfilter in the network namespace of the caller.
    pub fn open_netfilter() -> Result<Connection, KernelError> {
        Connection::of_protocol(NETLINK_NETFILTER)
    }

    fn of_protocol(protocol: isize) -> Result<Connection, KernelError> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        Connection::prepare(socket)
    }

    /// Takes over a socket that was opened elsewhere, for example inside a workload's namespace.
    pub fn adopt(socket: OwnedFd) -> Result<Connection, KernelError> {
        // SAFETY: `into_raw_fd` gives up ownership, so the descriptor has exactly this one owner.
        let socket = unsafe { Socket::from_raw_fd(socket.into_raw_fd()) };
        socket.set_non_blocking(false)?;
        Connection::prepare(socket)
    }

    fn prepare(socket: Socket) -> Result<Connection, KernelError> {
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT_S))?;
        // Forcing needs CAP_NET_ADMIN in the first user namespace; in a test's namespace the limit holds.
        if setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&socket.as_fd(), sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        }
        Ok(Connection { socket, sequence: 0, buffer: Vec::with_capacity(RECEIVE_BYTES) })
    }

    /// The connection's port id: the kernel writes it into the events its requests cause.
    pub fn port_id(&self) -> Result<u32, KernelError> {
        let mut address = SocketAddr::new(0, 0);
        self.socket.get_address(&mut address)?;
        Ok(address.port_number())
    }

    /// Sends one message and waits until the kernel has carried it out.
    pub fn request(&mut self, message: Message) -> Result<(), KernelError> {
        self.batch([message]).pop().unwrap_or(Ok(()))
    }

    /// Sends messages in order and answers how each one fared. The kernel goes on after a message that
    /// fails. No more than one batch of them is held at a time.
    pub fn batch(&mut self, messages: impl IntoIterator<Item = Message>) -> Outcomes {
        let (mut sender, mut outcomes) = (Sender::default(), Outcomes::new());
        for (place, message) in messages.into_iter().enumerate() {
            outcomes.push(Ok(()));
            sender.push(self, place, &message, &mut outcomes);
        }
        sender.flush(self, &mut outcomes);
        outcomes
    }

    /// Sets `count` sequence numbers apart and answers the first.
    pub(super) fn reserve(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// Sends `count` finished messages that bear sequence numbers from `first` on, the last of which asks
    /// for an acknowledgement, and waits for that. Hands the number and the error of each one that failed
    /// to `failed`.
    pub(super) fn exchange(
        &mut self,
        bytes: &[u8],
        first: u32,
        count: u32,
        mut failed: impl FnMut(u32, KernelError),
    ) -> Result<(), KernelError> {
        self.send(bytes)?;
        let mut finished = false;
        while !finished {
            self.receive(|kind, flags, sequence, payload| {
                let index = sequence.wrapping_sub(first);
                if kind == NLMSG_ERROR && index < count {
                    if let Some(error) = KernelError::parse(flags, payload) {
                        failed(index, error);
                    }
                    finished |= index == count - 1;
                }
            })?;
        }
        Ok(())
    }

    /// Sends a query for one object and answers what `read` makes of the answer (message kind, payload);
    /// `None` when there was none it could read.
    pub fn query<T>(
        &mut self,
        query: &Message,
        mut read: impl FnMut(u16, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, KernelError> {
        let expected = self.reserve(1);
        self.send(&query.finish(expected, libc::NLM_F_ACK as u16))?;
        let (mut answer, mut finished) = (None, None);
        loop {
            self.receive(|kind, flags, sequence, payload| match kind {
                _ if sequence != expected => {}
                NLMSG_ERROR => finished = Some(KernelError::parse(flags, payload)),
                _ => answer = read(kind, payload),
            })?;
            match finished {
                Some(Some(error)) => return Err(error),
                Some(None) => return Ok(answer),
                None => {}
            }
        }
    }

    /// Sends a query and collects what `each` makes of the answers (message kind, payload). A dump that
    /// was interrupted by a change is taken again from the start.
    pub fn dump<T>(
        &mut self,
        query: &Message,
        mut each: impl FnMut(u16, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, KernelError> {
        whole(|| {
            let mut rows = Vec::new();
            let interrupted = self.dump_once(query, |kind, payload| {
                rows.extend(each(kind, payload));
                ControlFlow::Continue(())
            })?;
            Ok((rows, interrupted))
        })
    }

    /// Sends a query and shows each answer to `each` as it comes, however many there are: none is kept. Once `each`
    /// breaks off, the rest of the dump is still to come and the connection of no more use.
    ///
    /// # Errors
    /// What the kernel says; `EINTR` when a change interrupted the dump, which cannot be taken again.
    pub fn stream(
        &mut self,
        query: &Message,
        each: impl FnMut(u16, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), KernelError> {
        match self.dump_once(query, each)? {
            true => Err(interrupted()),
            false => Ok(()),
        }
    }

    /// One dump; answers whether a change interrupted it.
    fn dump_once(
        &mut self,
        query: &Message,
        mut each: impl FnMut(u16, &[u8]) -> ControlFlow<()>,
    ) -> Result<bool, KernelError> {
        let expected = self.reserve(1);
        self.send(&query.finish(expected, libc::NLM_F_DUMP as u16))?;
        let mut interrupted = false;
        loop {
            let (mut finished, mut broken_off) = (None, false);
            self.receive(|kind, flags, sequence, payload| {
                if sequence != expected || broken_off {
                    return;
                }
                interrupted |= flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match kind {
                    NLMSG_NOOP => {}
                    NLMSG_DONE => finished = Some(KernelError::parse_done(flags, payload)),
                    NLMSG_ERROR => finished = Some(KernelError::parse(flags, payload)),
                    _ => broken_off = each(kind, payload).is_break(),
                }
            })?;
            match finished {
                _ if broken_off => return Ok(false),
                Some(Some(error)) => return Err(error),
                Some(None) => return Ok(interrupted),
                None => {}
            }
        }
    }

    /// Sends finished messages.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), KernelError> {
        loop {
            match self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(KernelError::from(error)),
            }
        }
    }

    /// Receives one datagram and hands each message in it (kind, flags, sequence, payload) to `each`.
    pub(super) fn receive(&mut self, mut each: impl FnMut(u16, u16, u32, &[u8])) -> Result<(), KernelError> {
        receive_datagram(&self.socket, &mut self.buffer)?;
        for_each_message(&self.buffer, |message| {
            each(message.message_type(), message.flags(), message.sequence_number(), message.payload());
        })
    }
}

/// The rows of a dump that no change interrupted: one that was is never used, since rows may be missing from it that
/// were there all the time (`NLM_F_DUMP_INTR`).
fn whole<T>(mut dump: impl FnMut() -> Result<(Vec<T>, bool), KernelError>) -> Result<Vec<T>, KernelError> {
    for _ in 0..DUMP_TRIES {
        if let (rows, false) = dump()? {
            return Ok(rows);
        }
    }
    Err(interrupted())
}

fn interrupted() -> KernelError {
    KernelError::with_words(Errno::EINTR, "the dump was interrupted by changes again and again")
}

/// Receives one datagram of the kernel into `buffer`. Datagrams of other senders are passed over.
fn receive_datagram(socket: &Socket, buffer: &mut Vec<u8>) -> Result<(), KernelError> {
    loop {
        buffer.clear();
        buffer.reserve(RECEIVE_BYTES);
        match socket.recv_from(buffer, libc::MSG_TRUNC) {
            Ok((length, _)) if length > buffer.len() => return Err(KernelError::from(Errno::EMSGSIZE)),
            Ok((_, sender)) if sender.port_number() == 0 => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let words = format!("the kernel gave no answer within {ANSWER_TIMEOUT_S} s");
                return Err(KernelError::with_words(Errno::ETIMEDOUT, words));
            }
            Err(error) => return Err(KernelError::from(error)),
        }
    }
}

/// Walks the messages of a datagram. A message that does not decode is an error: events may be lost.
pub(super) fn for_each_message(
    mut bytes: &[u8],
    mut each: impl FnMut(NetlinkBuffer<&[u8]>),
) -> Result<(), KernelError> {
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes).map_err(|_| KernelError::from(Errno::EBADMSG))?;
        let length = (message.length() as usize).next_multiple_of(4);
        each(message);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(())
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.socket.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dump_that_was_interrupted_is_taken_again_and_never_used() {
        let mut left = 3;
        let rows = whole(|| {
            left -= 1;
            Ok(if left == 0 { (vec!["swp1", "swp2"], false) } else { (vec!["swp1"], true) })
        });
        assert_eq!(rows.expect("the third is whole"), ["swp1", "swp2"]);
        let mut taken = 0;
        let error = whole(|| {
            taken += 1;
            Ok((vec!["swp1"], true))
        });
        let error = error.expect_err("none is whole");
        assert_eq!(taken, DUMP_TRIES);
        assert!(error.to_string().contains("interrupted by changes again and again"), "{error}");
    }
}
