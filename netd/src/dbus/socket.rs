//! The socket to the bus, which lets in no message longer than [`MAX_MESSAGE_BYTES`]. zbus would take 128 MiB of each
//! of any number of callers, the length that D-Bus allows. Documents travel as descriptors, so nothing else of netd's
//! is long.
//!
//! A message that is too long loses its body as it comes in: its method finds no arguments, and answers so.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;

/// Longest message netd takes, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// Longest head of one: its fields are names.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Length of a message's fixed head (D-Bus Specification, "Message Format").
const FIXED_BYTES: usize = 16;
/// Descriptors that may come or go at once (SCM_MAX_FD of the kernel).
const MAX_DESCRIPTORS: usize = 253;
/// Bytes of a body that are thrown away at once.
const SKIP_BYTES: usize = 64 * 1024;

/// A connection to the bus, as bytes.
#[derive(Debug)]
pub struct BoundedSocket(UnixStream);

impl BoundedSocket {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(path: &Path) -> io::Result<BoundedSocket> {
        Ok(BoundedSocket(UnixStream::connect(path).await?))
    }
}

impl Socket for BoundedSocket {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let stream = Arc::new(self.0);
        Split::new(
            Reader { stream: stream.clone(), state: State::Handshake { line_start: true } },
            Writer(stream),
        )
    }
}

/// Where in the stream of bytes a reader is.
#[derive(Debug)]
enum State {
    /// Among the lines before the first message, which begin with capital letters, as no message does.
    Handshake { line_start: bool },
    /// In the fixed head of a message, of which so many bytes are here.
    Head { bytes: [u8; FIXED_BYTES], have: usize },
    /// In a message that is handed on: what is left of its fixed head, and behind it; then so many bytes are skipped.
    Message { head: [u8; FIXED_BYTES], handed: usize, left: usize, skip: usize },
    /// In a body that is thrown away.
    Skip { left: usize },
}

impl State {
    fn between() -> State {
        State::Head { bytes: [0; FIXED_BYTES], have: 0 }
    }

    /// What comes behind a fixed head.
    fn behind(mut head: [u8; FIXED_BYTES]) -> io::Result<State> {
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            let number = if head[0] == b'B' { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
            number as usize
        };
        let (body, fields) = (number(4), number(12));
        let fields = fields.next_multiple_of(8);
        if fields > MAX_HEAD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message's head is too long"));
        }
        let (left, skip) = match FIXED_BYTES + fields + body > MAX_MESSAGE_BYTES {
            false => (fields + body, 0),
            true => {
                head[4..8].fill(0);
                (fields, body)
            }
        };
        Ok(State::Message { head, handed: 0, left, skip })
    }
}

/// What comes in.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<UnixStream>,
    state: State,
}

impl Reader {
    /// Reads some bytes, and the descriptors that came with them; none at the end.
    async fn read(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let read = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received =
                recvmsg(&self.stream, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
            let mut descriptors = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    descriptors.extend(rights);
                }
            }
            Ok((received.bytes, descriptors))
        };
        self.stream.async_io(Interest::READABLE, read).await
    }
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        // Those that came with a fixed head go with its first byte.
        let mut descriptors = Vec::new();
        loop {
            match &mut self.state {
                State::Handshake { line_start } => {
                    // Byte by byte, so that none of the first message is taken for a line.
                    let starts = *line_start;
                    let mut byte = [0];
                    let (count, more) = self.read(&mut byte).await?;
                    descriptors.extend(more);
                    if count == 1 && starts && [b'l', b'B'].contains(&byte[0]) {
                        let mut bytes = [0; FIXED_BYTES];
                        bytes[0] = byte[0];
                        self.state = State::Head { bytes, have: 1 };
                        continue;
                    }
                    self.state = State::Handshake { line_start: byte[0] == b'\n' };
                    buffer[..count].copy_from_slice(&byte[..count]);
                    return Ok((count, descriptors));
                }
                State::Head { bytes, have } => {
                    let (mut head, known) = (*bytes, *have);
                    let (count, more) = self.read(&mut head[known..]).await?;
                    descriptors.extend(more);
                    if count == 0 {
                        return Ok((0, descriptors));
                    }
                    self.state = match known + count {
                        FIXED_BYTES => State::behind(head)?,
                        have => State::Head { bytes: head, have },
                    };
                }
                State::Message { head, handed, .. } if *handed < FIXED_BYTES => {
                    let count = buffer.len().min(FIXED_BYTES - *handed);
                    buffer[..count].copy_from_slice(&head[*handed..*handed + count]);
                    *handed += count;
                    return Ok((count, descriptors));
                }
                State::Message { left: 0, skip, .. } => {
                    self.state = if *skip == 0 { State::between() } else { State::Skip { left: *skip } };
                }
                State::Message { left, .. } => {
                    let wanted = buffer.len().min(*left);
                    let (count, more) = self.read(&mut buffer[..wanted]).await?;
                    descriptors.extend(more);
                    if let State::Message { left, .. } = &mut self.state {
                        *left -= count;
                    }
                    return Ok((count, descriptors));
                }
                State::Skip { left: 0 } => self.state = State::between(),
                State::Skip { left } => {
                    let mut thrown = vec![0; SKIP_BYTES.min(*left)];
                    let (count, _) = self.read(&mut thrown).await?;
                    if count == 0 {
                        return Ok((0, descriptors));
                    }
                    if let State::Skip { left } = &mut self.state {
                        *left -= count;
                    }
                }
            }
        }
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

/// What goes out.
#[derive(Debug)]
pub struct Writer(Arc<UnixStream>);

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
            }
            Ok(sendmsg(&self.0, &[IoSlice::new(buffer)], &mut control, SendFlags::NOSIGNAL)?)
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }

    async fn close(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both)?)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// A message with so long a body.
    fn message(body: usize) -> Vec<u8> {
        let mut bytes = vec![b'l', 1, 0, 1];
        bytes.extend((body as u32).to_le_bytes());
        bytes.extend(7_u32.to_le_bytes());
        bytes.extend(5_u32.to_le_bytes());
        bytes.extend(b"field\0\0\0");
        bytes.extend(std::iter::repeat_n(b'x', body));
        bytes
    }

    /// What a reader makes of what a peer writes.
    async fn read(written: Vec<u8>) -> Vec<u8> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || (&theirs).write_all(&written));
        ours.set_nonblocking(true).unwrap();
        let (mut reader, _writer) = BoundedSocket(UnixStream::from_std(ours).unwrap()).split().take();
        let (mut read, mut buffer) = (Vec::new(), vec![0; 4096]);
        loop {
            match reader.recvmsg(&mut buffer).await.unwrap().0 {
                0 => break,
                count => read.extend(&buffer[..count]),
            }
        }
        writer.join().unwrap().unwrap();
        read
    }

    #[tokio::test]
    async fn bus_message_that_is_too_long_loses_its_body_and_the_next_comes_whole() {
        let hello = b"OK 1234deadbeef\r\nAGREE_UNIX_FD\r\n".to_vec();
        let longest = MAX_MESSAGE_BYTES - FIXED_BYTES - 8;
        let sent = [
            hello.clone(),
            message(3),
            message(longest),
            message(longest + 1),
            message(4_000_000),
            message(9),
        ];
        let expected = [hello, message(3), message(longest), message(0), message(0), message(9)];
        assert!(read(sent.concat()).await == expected.concat());
    }

    #[tokio::test]
    async fn bus_message_with_an_endless_head_ends_the_connection() {
        let mut bytes = message(0);
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(State::behind(bytes[..FIXED_BYTES].try_into().unwrap()).is_err());
    }
}
