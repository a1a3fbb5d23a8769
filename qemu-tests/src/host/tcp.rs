//! TCP between hosts: transfers with a content check, and attempts to connect.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use super::{Host, Stack, Step, endpoint_address};
use crate::random::Random;

/// Size of each socket's send and of its receive buffer.
const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes handed to or taken from a socket at a time; a multiple of eight, as [`Random::fill`] wants it.
const CHUNK_BYTES: usize = 16 * 1024;

/// What came of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The other side accepted.
    Open,
    /// The other side answered with a reset.
    Refused,
    /// Nobody answered.
    Silent,
}

/// A finished transfer.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Payload bytes, all compared with what was sent.
    pub bytes: u64,
    /// From the first SYN to the last byte.
    pub duration: Duration,
}

impl Host {
    /// Sends `bytes` of noise made from `seed` to `server`, which is reached at `address` and listens on
    /// `port`, and checks every byte there.
    pub fn transfer(
        &self,
        server: &Host,
        address: IpAddr,
        port: u16,
        bytes: u64,
        seed: u64,
        timeout: Duration,
    ) -> Result<Transfer> {
        let started = Instant::now();
        let deadline = started + timeout;
        let listener = server.with(|stack| stack.listen(port))?;
        let outcome = std::thread::scope(|scope| {
            let receiving = scope.spawn(|| server.receive(listener, bytes, seed, deadline));
            let sent = self.send(SocketAddr::new(address, port), bytes, seed, deadline);
            let received = match receiving.join() {
                Ok(received) => received,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            // What the receiver saw explains more than that the sender could not go on.
            received.and(sent)
        });
        server.with(|stack| stack.sockets.remove(listener));
        outcome.map(|()| Transfer { bytes, duration: started.elapsed() })
    }

    /// Tries to connect and closes at once.
    pub fn connect(&self, to: SocketAddr, timeout: Duration) -> Result<Connection> {
        let handle = self.with(|stack| stack.connect(to))?;
        let outcome = self.wait("connection", Instant::now() + timeout, |stack| {
            Ok(match stack.tcp(handle).state() {
                tcp::State::Established | tcp::State::CloseWait => Step::Done(Connection::Open),
                tcp::State::Closed => Step::Done(Connection::Refused),
                _ => Step::Wait,
            })
        });
        self.with(|stack| stack.tcp(handle).abort());
        self.with(|stack| {
            // Lets the reset out before the socket goes.
            stack.poll();
            stack.sockets.remove(handle)
        });
        Ok(outcome.unwrap_or(Connection::Silent))
    }

    /// Fetches `http://address/` and answers the whole response.
    pub fn http_get(&self, address: IpAddr, timeout: Duration) -> Result<String> {
        let handle = self.with(|stack| stack.connect(SocketAddr::new(address, 80)))?;
        let request = format!("GET / HTTP/1.0\r\nHost: {address}\r\n\r\n");
        let (mut asked, mut response) = (false, Vec::new());
        let outcome = self.wait("HTTP response", Instant::now() + timeout, |stack| {
            let socket = stack.tcp(handle);
            if !asked && socket.can_send() {
                socket.send_slice(request.as_bytes())?;
                asked = true;
                return Ok(Step::Worked);
            }
            let before = response.len();
            while socket.can_recv() {
                socket.recv(|bytes| {
                    response.extend_from_slice(bytes);
                    (bytes.len(), ())
                })?;
            }
            Ok(match (asked && !socket.may_recv(), response.len() > before) {
                (true, _) => Step::Done(()),
                (false, true) => Step::Worked,
                (false, false) => Step::Wait,
            })
        });
        self.with(|stack| {
            stack.tcp(handle).close();
            stack.poll();
            stack.sockets.remove(handle)
        });
        outcome?;
        Ok(String::from_utf8_lossy(&response).into_owned())
    }

    fn send(&self, to: SocketAddr, bytes: u64, seed: u64, deadline: Instant) -> Result<()> {
        let handle = self.with(|stack| stack.connect(to))?;
        let mut random = Random::new(seed);
        let mut left = bytes;
        let (mut chunk, mut offset, mut length) = (vec![0; CHUNK_BYTES], 0, 0);
        let outcome = self.wait(&format!("sending {bytes} bytes to {to}"), deadline, |stack| {
            let socket = stack.tcp(handle);
            if socket.state() == tcp::State::Closed {
                bail!("the connection to {to} was reset with {left} of {bytes} bytes to go");
            }
            let mut worked = false;
            while socket.can_send() && (left > 0 || offset < length) {
                if offset == length {
                    length = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
                    offset = 0;
                    random.fill(&mut chunk[..length]);
                    left -= length as u64;
                }
                offset += socket.send_slice(&chunk[offset..length])?;
                worked = true;
            }
            if left == 0 && offset == length && socket.may_send() {
                socket.close();
                return Ok(Step::Worked);
            }
            let finished = matches!(socket.state(), tcp::State::FinWait2 | tcp::State::TimeWait);
            Ok(if finished {
                Step::Done(())
            } else if worked {
                Step::Worked
            } else {
                Step::Wait
            })
        });
        self.with(|stack| stack.sockets.remove(handle));
        outcome
    }

    fn receive(&self, handle: SocketHandle, bytes: u64, seed: u64, deadline: Instant) -> Result<()> {
        let mut check = Check { expected: Random::new(seed), buffer: [0; 8], used: 8, bytes: 0 };
        self.wait(&format!("receiving {bytes} bytes"), deadline, |stack| {
            let socket = stack.tcp(handle);
            let mut worked = false;
            while socket.can_recv() {
                socket.recv(|data| (data.len(), check.feed(data)))??;
                worked = true;
            }
            let ended =
                matches!(socket.state(), tcp::State::CloseWait | tcp::State::LastAck | tcp::State::Closed);
            if ended && socket.recv_queue() == 0 {
                ensure!(check.bytes == bytes, "{} of {bytes} bytes came before the end", check.bytes);
                socket.close();
                return Ok(Step::Done(()));
            }
            Ok(if worked { Step::Worked } else { Step::Wait })
        })
    }
}

/// Compares a stream with the noise it must be.
struct Check {
    expected: Random,
    buffer: [u8; 8],
    used: usize,
    bytes: u64,
}

impl Check {
    fn feed(&mut self, data: &[u8]) -> Result<()> {
        for &byte in data {
            if self.used == self.buffer.len() {
                self.expected.fill(&mut self.buffer);
                self.used = 0;
            }
            ensure!(
                byte == self.buffer[self.used],
                "byte {} is {byte:#04x} and was sent as {:#04x}",
                self.bytes,
                self.buffer[self.used]
            );
            self.used += 1;
            self.bytes += 1;
        }
        Ok(())
    }
}

impl Stack {
    fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut::<tcp::Socket>(handle)
    }

    fn new_tcp() -> tcp::Socket<'static> {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER_BYTES]);
        tcp::Socket::new(buffer(), buffer())
    }

    fn listen(&mut self, port: u16) -> Result<SocketHandle> {
        let mut socket = Self::new_tcp();
        if let Err(error) = socket.listen(port) {
            bail!("cannot listen on port {port}: {error}");
        }
        Ok(self.sockets.add(socket))
    }

    fn connect(&mut self, to: SocketAddr) -> Result<SocketHandle> {
        let port = self.take_port();
        let mut socket = Self::new_tcp();
        if let Err(error) =
            socket.connect(self.interface.context(), (endpoint_address(to.ip()), to.port()), port)
        {
            bail!("cannot connect to {to}: {error}");
        }
        Ok(self.sockets.add(socket))
    }
}
