//! Documents as descriptors: a text of any size travels over the bus as a message of a few bytes, and its size is
//! known, or bounded, before one byte of it is read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Largest document a user may have checked or compared who may only look, in bytes.
pub const VIEWER_DOCUMENT_BYTES: usize = 8 * 1024 * 1024;
/// Largest document of an administrator, in bytes.
pub const ADMIN_DOCUMENT_BYTES: usize = 128 * 1024 * 1024;
/// How long the other end of a pipe may take for a document.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a document was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is longer than its sender's may be.
    #[error("the document is longer than {limit} bytes, the most your role allows")]
    TooLong {
        /// The bound in bytes.
        limit: usize,
    },
    /// It is no text.
    #[error("the document is not UTF-8 text (byte {0} is none)")]
    NoText(usize),
    /// Reading another kind of file might take for ever.
    #[error("a document travels as a memfd, a pipe or a socket, and this is none")]
    Kind,
    /// A pipe was not written and closed in time.
    #[error("the document was not written within {} s", READ_TIMEOUT.as_secs())]
    Late,
    /// The descriptor does not read.
    #[error("reading the document: {0}")]
    Io(#[from] io::Error),
}

impl From<nix::Error> for ReadError {
    fn from(error: nix::Error) -> ReadError {
        ReadError::Io(error.into())
    }
}

/// A sealed memfd with a text: nobody can change it any more.
///
/// # Errors
/// When there is no memory or descriptor for it.
pub fn of_text(text: &str) -> io::Result<OwnedFd> {
    let memory = memfd_create(c"document", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(memory);
    file.write_all(text.as_bytes())?;
    let seals =
        SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// The text behind a descriptor, of at most `limit` bytes. Blocks: a pipe for at most [`READ_TIMEOUT`].
///
/// # Errors
/// Why it was not read; no more than `limit` bytes were held.
pub fn read_text(descriptor: OwnedFd, limit: usize) -> Result<String, ReadError> {
    let file = File::from(descriptor);
    let kind = file.metadata()?;
    let bytes = if kind.is_file() {
        // Only files of memory have seals: one of a disk, or of a file system in user space, may keep its reader.
        fcntl(&file, FcntlArg::F_GET_SEALS).map_err(|_| ReadError::Kind)?;
        read_memory(&file, kind.len(), limit)?
    } else if kind.file_type().is_fifo() || kind.file_type().is_socket() {
        read_pipe(file, limit)?
    } else {
        return Err(ReadError::Kind);
    };
    String::from_utf8(bytes).map_err(|error| ReadError::NoText(error.utf8_error().valid_up_to()))
}

/// Reads a memfd from its start, wherever its writer stopped. It may shrink or grow meanwhile, unless it is sealed.
fn read_memory(file: &File, length: u64, limit: usize) -> Result<Vec<u8>, ReadError> {
    let length = usize::try_from(length).ok().filter(|length| *length <= limit);
    let length = length.ok_or(ReadError::TooLong { limit })?;
    let mut bytes = vec![0; length];
    let mut read = 0;
    while read < length {
        match file.read_at(&mut bytes[read..], read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

fn read_pipe(mut file: File, limit: usize) -> Result<Vec<u8>, ReadError> {
    let deadline = Instant::now() + READ_TIMEOUT;
    let mut bytes = Vec::new();
    let mut portion = vec![0; 64 * 1024];
    loop {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(ReadError::Late)?;
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(ReadError::Late),
            Ok(_) => {}
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match file.read(&mut portion) {
            Ok(0) => return Ok(bytes),
            Ok(count) if bytes.len() + count > limit => return Err(ReadError::TooLong { limit }),
            Ok(count) => bytes.extend_from_slice(&portion[..count]),
            // Somebody else read what was there.
            Err(error) if [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock].contains(&error.kind()) => {
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_descriptor_reads_back_and_cannot_be_changed() {
        for text in ["", "version = 1\n", "ü".repeat(100_000).as_str()] {
            let descriptor = of_text(text).unwrap();
            let mut again = File::from(descriptor.try_clone().unwrap());
            assert_eq!(read_text(descriptor, 1 << 20).unwrap(), text);
            assert!(again.write_all(b"x").is_err(), "it is sealed");
        }
    }

    #[test]
    fn document_descriptor_is_refused_by_its_size_before_it_is_read() {
        // A file of memory may claim any size without taking it.
        let memory = File::from(memfd_create(c"huge", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        memory.set_len(1 << 40).unwrap();
        assert!(matches!(read_text(memory.into(), 1000), Err(ReadError::TooLong { limit: 1000 })));
        assert!(matches!(read_text(of_text("12345").unwrap(), 4), Err(ReadError::TooLong { .. })));
        assert_eq!(read_text(of_text("1234").unwrap(), 4).unwrap(), "1234");
    }

    #[test]
    fn document_descriptor_of_a_pipe_is_bounded_as_well() {
        let (reader, mut writer) = io::pipe().unwrap();
        let endless = std::thread::spawn(move || while writer.write_all(&[b'['; 4096]).is_ok() {});
        assert!(matches!(read_text(reader.into(), 100_000), Err(ReadError::TooLong { .. })));
        endless.join().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"version = 1\n").unwrap();
        drop(writer);
        assert_eq!(read_text(reader.into(), 100).unwrap(), "version = 1\n");
    }

    #[test]
    fn document_descriptor_of_another_kind_is_refused() {
        let file = File::open("/proc/self/status").unwrap();
        assert!(matches!(read_text(file.into(), 1 << 20), Err(ReadError::Kind)));
        let device = File::open("/dev/zero").unwrap();
        assert!(matches!(read_text(device.into(), 1 << 20), Err(ReadError::Kind)));
        let binary = File::from(memfd_create(c"binary", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        binary.write_at(&[b'a', 0xff], 0).unwrap();
        assert!(matches!(read_text(binary.into(), 100), Err(ReadError::NoText(1))));
    }
}
