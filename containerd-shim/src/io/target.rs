//! What containerd names as a stream: a FIFO by path, `file:///path`, or nothing.
//!
//! FIFOs are opened without blocking. An output FIFO is opened for reading and writing (Linux allows it,
//! fifo(7)): that neither waits for a reader nor breaks when the reader leaves.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Context, Error, Result, shown};

/// A parsed stream name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Not connected.
    Nothing,
    /// A FIFO.
    Fifo(PathBuf),
    /// A file that output is appended to.
    File(PathBuf),
}

/// An opened output.
#[derive(Debug)]
pub enum Sink {
    /// A FIFO, registered with the event loop.
    Fifo(AsyncFd<OwnedFd>),
    /// A regular file.
    File(File),
    /// Output is read and thrown away.
    Nowhere,
}

impl Target {
    /// Parses what containerd sent.
    ///
    /// # Errors
    /// Another scheme, or a path that is not absolute.
    pub fn parse(name: &str) -> Result<Self> {
        if name.is_empty() {
            return Ok(Target::Nothing);
        }
        let (path, fifo) = match name.split_once("://") {
            None => (name, true),
            Some(("fifo", path)) => (path, true),
            Some(("file", path)) => (path, false),
            Some((scheme, _)) => {
                return Err(Error::Unsupported(format!(
                    "streams by {}:// are not supported: expected a FIFO's path or file://",
                    scheme.chars().take(20).collect::<String>()
                )));
            }
        };
        if !path.starts_with('/') {
            return Err(Error::Invalid(format!("stream {} is not an absolute path", shown(name))));
        }
        let path = PathBuf::from(path);
        Ok(if fifo { Target::Fifo(path) } else { Target::File(path) })
    }

    /// Opens it for the process to read from. With `keep_open` a writer that leaves is no end of file.
    ///
    /// # Errors
    /// It is not a FIFO, or cannot be opened.
    pub fn open_source(&self, keep_open: bool) -> Result<Option<OwnedFd>> {
        match self {
            Target::Nothing => Ok(None),
            Target::Fifo(path) => {
                let access = if keep_open { OFlags::RDWR } else { OFlags::RDONLY };
                open_fifo(path, access).map(Some)
            }
            Target::File(path) => Err(Error::Invalid(format!(
                "standard input from file {} is not possible: expected a FIFO",
                path.display()
            ))),
        }
    }

    /// Opens it for the process's output.
    ///
    /// # Errors
    /// It is of another type than its name says, or cannot be opened.
    pub fn open_sink(&self) -> Result<Option<Sink>> {
        match self {
            Target::Nothing => Ok(None),
            Target::Fifo(path) => {
                let fifo = open_fifo(path, OFlags::RDWR)?;
                crate::sys::watch(fifo, Interest::WRITABLE)
                    .map(|fifo| Some(Sink::Fifo(fifo)))
                    .context(|| format!("watch {}", path.display()))
            }
            Target::File(path) => File::options()
                .append(true)
                .create(true)
                .open(path)
                .map(|file| Some(Sink::File(file)))
                .context(|| format!("open {}", path.display())),
        }
    }
}

fn open_fifo(path: &Path, access: OFlags) -> Result<OwnedFd> {
    let what = || format!("open FIFO {}", path.display());
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let fifo = open(path, flags, Mode::empty()).context(what)?;
    let kind = FileType::from_raw_mode(fstat(&fifo).context(what)?.st_mode);
    if kind == FileType::Fifo {
        return Ok(fifo);
    }
    Err(Error::Invalid(format!("{} is not a FIFO", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_or_refused() {
        assert_eq!(Target::parse("").unwrap(), Target::Nothing);
        assert_eq!(Target::parse("/run/x").unwrap(), Target::Fifo("/run/x".into()));
        assert_eq!(Target::parse("file:///var/log/x").unwrap(), Target::File("/var/log/x".into()));
        assert!(Target::parse("relative").is_err());
        let error = Target::parse("binary:///bin/logger?x=1").unwrap_err();
        assert!(matches!(&error, Error::Unsupported(text) if text.contains("binary://")));
    }

    #[tokio::test]
    async fn something_that_is_no_fifo_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let target = Target::Fifo(path);
        assert!(target.open_sink().unwrap_err().to_string().contains("not a FIFO"));
        assert!(target.open_source(false).is_err());
        let missing = Target::Fifo(folder.path().join("missing"));
        assert!(missing.open_source(false).unwrap_err().to_string().contains("missing"));
    }
}
