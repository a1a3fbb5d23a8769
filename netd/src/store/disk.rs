//! The few file operations the store is made of.
//!
//! They are behind [`Disk`] so that a model which loses power after each of them can prove the order in which the
//! engine has them done.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Where the store keeps its files.
pub trait Disk {
    /// What a file holds.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Length of a file in bytes; `None` when there is none.
    fn length(&self, path: &Path) -> Option<u64>;
    /// When a file was last written, in seconds since 1970; 0 when that is not known.
    fn written_s(&self, path: &Path) -> u64;
    /// Names of the files in a folder.
    fn names(&self, folder: &Path) -> Vec<String>;
    /// Makes a folder and those above it.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;
    /// Writes a file anew, for its owner alone. Its content is on the disk afterwards, its name only after
    /// [`Disk::sync`] of the folder.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; one that is gone is no error.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Waits until the names in a folder are on the disk.
    fn sync(&self, folder: &Path) -> io::Result<()>;
}

impl<D: Disk + ?Sized> Disk for Box<D> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        (**self).read(path)
    }

    fn length(&self, path: &Path) -> Option<u64> {
        (**self).length(path)
    }

    fn written_s(&self, path: &Path) -> u64 {
        (**self).written_s(path)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        (**self).names(folder)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        (**self).make_folder(folder)
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        (**self).write(path, content)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        (**self).link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (**self).remove(path)
    }

    fn sync(&self, folder: &Path) -> io::Result<()> {
        (**self).sync(folder)
    }
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Disk for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn length(&self, path: &Path) -> Option<u64> {
        fs::metadata(path).map(|file| file.len()).ok()
    }

    fn written_s(&self, path: &Path) -> u64 {
        let modified = fs::metadata(path).and_then(|file| file.modified()).ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |since| since.as_secs())
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        write_synced(path, content, 0o600)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // A left-over of a crash may have another mode.
    Files.remove(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// The name under which the new content of a file waits beside it.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// What a file holds, if that is not more than so many bytes.
pub fn read_bounded(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > most_bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
    }
    fs::read(path)
}

/// Replaces a file so that readers, and a power cut, meet the old or the new one whole.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let new = beside(path);
    write_synced(&new, content, mode)?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| Files.sync(folder))
}
