//! What the host and the agent say to each other.
//!
//! An agent that starts says [`HELLO`]. Then the host sends [`Call`]s and the agent [`Reply`]s, each as a frame:
//! encoded by postcard, then by COBS, which leaves no zero in it, and ended by a zero. Calls run beside each other and
//! are answered in the order in which they end. A frame that an agent could not finish, since the guest was reset, is
//! ended by the zero with which the next agent's hello begins, and is garbage.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Name of the virtio serial port, in /sys/class/virtio-ports/*/name.
pub const PORT_NAME: &str = "org.corten.test";
/// What an agent says first. Between its zeros stands nothing that a frame can contain: by its first byte, COBS expects
/// 191 more.
pub const HELLO: [u8; 16] = *b"\0\xc0corten-agent\x03\0";
/// Longest frame, in bytes.
pub const FRAME_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Something that the host wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the host; the replies have it.
    pub id: u64,
    /// What is to be done.
    pub request: Request,
}

/// What the agent can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Run a script by the guest's shell, as root, without input.
    Exec {
        /// The script.
        script: String,
        /// After so long its process group is killed.
        timeout_ms: u64,
    },
    /// Write a file, beside the old one, and put it in its place.
    Put {
        /// Absolute path; folders that are missing are made.
        path: String,
        /// Permissions.
        mode: u32,
        /// What it is to contain.
        #[serde(with = "serde_bytes")]
        content: Vec<u8>,
    },
    /// Read a file.
    Get {
        /// Absolute path.
        path: String,
    },
    /// Set the guest's clock.
    SetClock {
        /// Nanoseconds since the epoch.
        unix_ns: u64,
    },
    /// Wait until a file exists, or until it does not.
    WaitFile {
        /// Absolute path. Its folder must exist.
        path: String,
        /// Whether it is to exist.
        exists: bool,
        /// Longest time to wait.
        timeout_ms: u64,
    },
    /// Wait until a unit of systemd is in one of some states.
    WaitUnit {
        /// Name of the unit, suffix included.
        unit: String,
        /// Values of its ActiveState.
        states: Vec<String>,
        /// Longest time to wait.
        timeout_ms: u64,
    },
    /// Wait until a name on the system bus has an owner.
    WaitName {
        /// The name.
        name: String,
        /// Longest time to wait.
        timeout_ms: u64,
    },
    /// Wait for a message of the system bus. [`Body::Armed`] comes before, once no message is missed any more.
    WaitSignal {
        /// Match rule of the D-Bus specification.
        rule: String,
        /// Longest time to wait.
        timeout_ms: u64,
    },
    /// Kill a process with SIGKILL the moment a file exists. [`Body::Armed`] comes before.
    KillWhen {
        /// Process id.
        pid: u32,
        /// Absolute path. Its folder must exist.
        path: String,
        /// Longest time to wait.
        timeout_ms: u64,
    },
}

/// What the agent says to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// That of the call.
    pub id: u64,
    /// What came of it.
    pub body: Body,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// What is waited for is not missed from now on. More follows.
    Armed,
    /// The call's end: it was done.
    Done(Answer),
    /// The call's end: it was not done, for this reason.
    Failed(String),
}

/// What a call that was done answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A script ended.
    Exited {
        /// Exit status as the shell has it: 128 and the number of the signal that ended it.
        status: i32,
        /// Whether its time was up.
        timed_out: bool,
        /// Standard output and error in the order they were written.
        #[serde(with = "serde_bytes")]
        output: Vec<u8>,
    },
    /// What a file contains.
    Content(#[serde(with = "serde_bytes")] Vec<u8>),
    /// What happened: the state of a unit, or the body of a signal.
    Happened(String),
    /// There is nothing to say.
    Nothing,
}

/// The frame of a message. Fails when it is longer than [`FRAME_LIMIT_BYTES`].
pub fn frame(message: &impl Serialize) -> Result<Vec<u8>, postcard::Error> {
    let bytes = postcard::to_allocvec_cobs(message)?;
    if bytes.len() > FRAME_LIMIT_BYTES {
        return Err(postcard::Error::SerializeBufferFull);
    }
    Ok(bytes)
}

/// Takes frames out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// How far there is no zero.
    searched: usize,
    /// Whether the other end said hello.
    greeted: bool,
    /// Whether the frame that has begun is too long to be kept.
    skips: bool,
}

/// What comes out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<M> {
    /// The other end said hello.
    Hello,
    /// A message.
    Message(M),
    /// A frame that cannot be understood.
    Garbage,
}

impl Frames {
    /// Frames of a stream whose other end has yet to say hello.
    pub fn before_hello() -> Frames {
        Frames::default()
    }

    /// Frames of a stream whose other end is between two frames.
    pub fn in_step() -> Frames {
        Frames { greeted: true, ..Frames::default() }
    }

    /// Takes bytes that came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event that the bytes so far amount to.
    pub fn next_event<M: DeserializeOwned>(&mut self) -> Option<Event<M>> {
        loop {
            let Some(length) = self.bytes[self.searched..].iter().position(|byte| *byte == 0) else {
                self.searched = self.bytes.len();
                if self.searched > FRAME_LIMIT_BYTES {
                    self.skips = true;
                    self.bytes.clear();
                    self.searched = 0;
                }
                return None;
            };
            let end = std::mem::take(&mut self.searched) + length;
            let mut content: Vec<u8> = self.bytes.drain(..=end).collect();
            content.pop();
            if content == HELLO[1..HELLO.len() - 1] {
                (self.greeted, self.skips) = (true, false);
                return Some(Event::Hello);
            }
            let skipped = std::mem::take(&mut self.skips);
            if content.is_empty() && !skipped || !self.greeted {
                continue;
            }
            return Some(match postcard::from_bytes_cobs(&mut content) {
                Ok(message) if !skipped => Event::Message(message),
                _ => Event::Garbage,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(id: u64, text: &str) -> Reply {
        Reply { id, body: Body::Done(Answer::Happened(text.to_owned())) }
    }

    fn all(frames: &mut Frames) -> Vec<Event<Reply>> {
        std::iter::from_fn(|| frames.next_event()).collect()
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = HELLO.to_vec();
        for id in 0..3 {
            stream.extend(frame(&reply(id, &"x".repeat(300 * id as usize))).unwrap());
        }
        for piece in [1, 2, 7, 16, 4096] {
            let (mut frames, mut events) = (Frames::before_hello(), Vec::new());
            for bytes in stream.chunks(piece) {
                frames.feed(bytes);
                events.extend(all(&mut frames));
            }
            assert_eq!(events.len(), 4, "in pieces of {piece}");
            assert_eq!(events[0], Event::Hello);
            assert_eq!(events[3], Event::Message(reply(2, &"x".repeat(600))));
        }
    }

    #[test]
    fn a_hello_ends_a_frame_that_was_cut_off() {
        let whole = frame(&reply(1, "never finished")).unwrap();
        let mut frames = Frames::in_step();
        frames.feed(&whole[..whole.len() / 2]);
        assert_eq!(all(&mut frames), []);
        frames.feed(&HELLO);
        frames.feed(&frame(&reply(2, "of the next agent")).unwrap());
        let heard = [Event::Garbage, Event::Hello, Event::Message(reply(2, "of the next agent"))];
        assert_eq!(all(&mut frames), heard);
    }

    #[test]
    fn nothing_is_understood_before_a_hello() {
        let mut frames = Frames::before_hello();
        frames.feed(&frame(&reply(1, "unheard")).unwrap());
        assert_eq!(all(&mut frames), []);
        frames.feed(&HELLO);
        frames.feed(&frame(&reply(2, "heard")).unwrap());
        assert_eq!(all(&mut frames), [Event::Hello, Event::Message(reply(2, "heard"))]);
    }

    #[test]
    fn garbage_ends_with_its_frame() {
        let mut frames = Frames::in_step();
        frames.feed(&[0xff; 64]);
        frames.feed(&[0]);
        frames.feed(&frame(&reply(2, "heard")).unwrap());
        frames.feed(&vec![1; FRAME_LIMIT_BYTES + 1]);
        assert_eq!(all(&mut frames), [Event::Garbage, Event::Message(reply(2, "heard"))]);
        frames.feed(&[1, 0]);
        frames.feed(&frame(&reply(3, "heard as well")).unwrap());
        assert_eq!(all(&mut frames), [Event::Garbage, Event::Message(reply(3, "heard as well"))]);
    }

    #[test]
    fn content_may_be_any_bytes_a_hello_among_them() {
        let content = [&[0, 0, 0xc0][..], &HELLO, &frame(&reply(1, "inside")).unwrap(), &HELLO].concat();
        let message = Reply { id: 7, body: Body::Done(Answer::Content(content)) };
        let bytes = frame(&message).unwrap();
        let mut frames = Frames::in_step();
        for byte in &bytes[..bytes.len() - 1] {
            frames.feed(&[*byte]);
            assert_eq!(all(&mut frames), []);
        }
        frames.feed(&[0]);
        assert_eq!(all(&mut frames), [Event::Message(message)]);
    }

    #[test]
    fn a_frame_that_is_too_long_is_not_made() {
        let content = Answer::Content(vec![0; FRAME_LIMIT_BYTES]);
        assert!(frame(&Reply { id: 1, body: Body::Done(content) }).is_err());
    }
}
