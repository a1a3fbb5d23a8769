//! A netlink connection for requests: one message, a dump, or a batch.
//!
//! The kernel works through a request inside `sendto`, so waiting for its answer never takes longer than
//! the work itself; the receive time-out only guards against a socket that is not what it seems.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::extack::KernelError;
use super::wire::Message;

const NLMSG_NOOP: u16 = libc::NLMSG_NOOP as u16;
const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;

/// Dumps come in datagrams of at most 32 KiB (`netlink_dump`); answers to single requests are smaller.
const RECEIVE_BYTES: usize = 64 * 1024;
/// A batch never exceeds this many bytes; larger ones gain nothing.
const BATCH_BYTES: usize = 32 * 1024;
/// Room for the error answers of a whole batch, so that none is lost.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// How long an answer may take. Only a driver that hangs takes this long.
const ANSWER_TIMEOUT_S: i64 = 10;
/// A dump that keeps being interrupted by changes is taken as it is after this many tries.
const DUMP_TRIES: u32 = 4;

/// A connection to the kernel's routing family.
pub struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a connection in the network namespace of the caller.
    pub fn open() -> Result<Connection, KernelError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
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

    /// Sends one message and waits until the kernel has carried it out.
    pub fn request(&mut self, message: Message) -> Result<(), KernelError> {
        self.batch(vec![message]).pop().unwrap_or(Ok(()))
    }

    /// Sends messages in order and answers how each one fared. The kernel goes on after a message that
    /// fails.
    pub fn batch(&mut self, messages: Vec<Message>) -> Vec<Result<(), KernelError>> {
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut pending = messages.into_iter().peekable();
        while pending.peek().is_some() {
            let first = self.sequence.wrapping_add(1);
            let (mut bytes, mut count) = (Vec::new(), 0u32);
            while let Some(next) =
                pending.next_if(|next| count == 0 || bytes.len() + next.size() <= BATCH_BYTES)
            {
                self.sequence = self.sequence.wrapping_add(1);
                count += 1;
                let last =
                    pending.peek().is_none_or(|after| bytes.len() + next.size() + after.size() > BATCH_BYTES);
                let ack = if last { libc::NLM_F_ACK as u16 } else { 0 };
                bytes.extend(next.finish(self.sequence, ack));
            }
            outcomes.extend(self.send_batch(&bytes, first, count));
        }
        outcomes
    }

    fn send_batch(&mut self, bytes: &[u8], first: u32, count: u32) -> Vec<Result<(), KernelError>> {
        let mut outcomes = vec![Ok(()); count as usize];
        if let Err(error) = self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0) {
            outcomes.fill(Err(KernelError::from(error)));
            return outcomes;
        }
        let last = self.sequence;
        loop {
            let mut finished = false;
            let received = self.receive(|kind, flags, sequence, payload| {
                let index = sequence.wrapping_sub(first);
                if kind == NLMSG_ERROR && index < count {
                    if let Some(error) = KernelError::parse(flags, payload) {
                        outcomes[index as usize] = Err(error);
                    }
                    finished |= sequence == last;
                }
            });
            if let Err(error) = received {
                // Which messages succeeded is unknown now; the caller reads the kernel back.
                outcomes.fill(Err(error));
                return outcomes;
            }
            if finished {
                return outcomes;
            }
        }
    }

    /// Sends a query and hands each answer (message kind, payload) to `each`. A dump that was interrupted
    /// by a change is taken again from the start, so `restart` must forget what it got.
    pub fn dump<T>(
        &mut self,
        query: &Message,
        each: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, KernelError> {
        for attempt in 1..=DUMP_TRIES {
            let (rows, interrupted) = self.dump_once(query.clone(), &each)?;
            if !interrupted || attempt == DUMP_TRIES {
                return Ok(rows);
            }
        }
        Err(KernelError::from(Errno::EINTR))
    }

    fn dump_once<T>(
        &mut self,
        query: Message,
        each: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> Result<(Vec<T>, bool), KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        let expected = self.sequence;
        let bytes = query.finish(expected, libc::NLM_F_DUMP as u16);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        let (mut rows, mut interrupted) = (Vec::new(), false);
        loop {
            let mut finished = None;
            self.receive(|kind, flags, sequence, payload| {
                if sequence != expected {
                    return;
                }
                interrupted |= flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match kind {
                    NLMSG_NOOP => {}
                    NLMSG_DONE => finished = Some(KernelError::parse(0, payload)),
                    NLMSG_ERROR => finished = Some(KernelError::parse(flags, payload)),
                    _ => rows.extend(each(kind, payload)),
                }
            })?;
            match finished {
                Some(Some(error)) => return Err(error),
                Some(None) => return Ok((rows, interrupted)),
                None => {}
            }
        }
    }

    /// Receives one datagram and hands each message in it (kind, flags, sequence, payload) to `each`.
    fn receive(&mut self, mut each: impl FnMut(u16, u16, u32, &[u8])) -> Result<(), KernelError> {
        receive_datagram(&self.socket, &mut self.buffer)?;
        for_each_message(&self.buffer, |message| {
            each(message.message_type(), message.flags(), message.sequence_number(), message.payload());
        })
    }
}

/// Receives one datagram of the kernel into `buffer`. Datagrams of other senders are passed over.
pub(super) fn receive_datagram(socket: &Socket, buffer: &mut Vec<u8>) -> Result<(), KernelError> {
    loop {
        buffer.clear();
        buffer.reserve(RECEIVE_BYTES);
        match socket.recv_from(buffer, libc::MSG_TRUNC) {
            Ok((length, _)) if length > buffer.len() => return Err(KernelError::from(Errno::EMSGSIZE)),
            Ok((_, sender)) if sender.port_number() == 0 => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(KernelError {
                    words: Some(format!("the kernel gave no answer within {ANSWER_TIMEOUT_S} s")),
                    ..KernelError::from(Errno::ETIMEDOUT)
                });
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
