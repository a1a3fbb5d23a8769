//! The main memory of a machine as a file without a name: it goes with the last process that has it open.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, lseek};

/// Main memory that machines can share or copy on write.
#[derive(Debug)]
pub(super) struct MemoryFile(File);

impl MemoryFile {
    /// Memory of zeros.
    pub(super) fn new(bytes: u64) -> Result<MemoryFile> {
        let file =
            memfd_create(c"corten-machine", MFdFlags::MFD_CLOEXEC).context("no file for main memory")?;
        let file = File::from(file);
        file.set_len(bytes).context("no room for main memory")?;
        Ok(MemoryFile(file))
    }

    /// The path by which QEMU opens it.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// A copy of what is written in it; the rest stays a hole.
    pub(super) fn copy(&self) -> Result<MemoryFile> {
        let length = self.0.metadata().context("cannot see main memory")?.len();
        let copy = MemoryFile::new(length)?;
        let (mut from, mut to) = (&self.0, &copy.0);
        let mut at = 0;
        while let Some(begin) = seek(&self.0, at, Whence::SeekData)? {
            let end = seek(&self.0, begin, Whence::SeekHole)?.unwrap_or(length);
            from.seek(SeekFrom::Start(begin)).context("cannot copy main memory")?;
            to.seek(SeekFrom::Start(begin)).context("cannot copy main memory")?;
            std::io::copy(&mut from.take(end - begin), &mut to).context("cannot copy main memory")?;
            at = end;
        }
        Ok(copy)
    }
}

/// The next data or hole from an offset; `None` past the last.
fn seek(file: &File, from: u64, whence: Whence) -> Result<Option<u64>> {
    match lseek(file, i64::try_from(from)?, whence) {
        Ok(at) => Ok(Some(at.cast_unsigned())),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error).context("cannot look for the written parts of main memory"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn copy_has_what_was_written_and_the_holes() {
        let memory = MemoryFile::new(64 * MIB).unwrap();
        for (at, text) in [(3 * MIB, "low"), (40 * MIB + 5, "high")] {
            (&memory.0).seek(SeekFrom::Start(at)).unwrap();
            (&memory.0).write_all(text.as_bytes()).unwrap();
        }
        let copy = memory.copy().unwrap();
        let bytes = std::fs::read(copy.path()).unwrap();
        assert_eq!(bytes.len() as u64, 64 * MIB);
        assert_eq!(&bytes[3 * MIB as usize..][..3], b"low");
        assert_eq!(&bytes[40 * MIB as usize + 5..][..4], b"high");
        let kept = copy.0.metadata().unwrap().blocks() * 512;
        assert!(kept < 8 * MIB, "the copy takes {kept} bytes");
    }
}
