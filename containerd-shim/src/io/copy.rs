//! Moves bytes between descriptors without blocking.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::{Errno, ioctl_fionread, read, write};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::debug;

use super::target::Sink;
use crate::error::{Context, Result};

const CHUNK_BYTES: usize = 16 * 1024;

/// Copies a process's output until its end.
pub fn spawn_output(source: OwnedFd, sink: Sink) -> Result<JoinHandle<()>> {
    let source = watch(source, Interest::READABLE)?;
    Ok(tokio::spawn(async move {
        if let Err(error) = copy_output(&source, &sink).await {
            debug!("output: {error}");
        }
        drop(source);
        wait_until_read(&sink).await;
    }))
}

/// Copies to a process's input until its end, or until `close` is notified and what was written up to then
/// is passed on.
pub fn spawn_input(source: OwnedFd, destination: OwnedFd, close: Arc<Notify>) -> Result<JoinHandle<()>> {
    let source = watch(source, Interest::READABLE)?;
    let destination = watch(destination, Interest::WRITABLE)?;
    Ok(tokio::spawn(async move {
        if let Err(error) = copy_input(&source, &destination, &close).await {
            debug!("input: {error}");
        }
    }))
}

fn watch(fd: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>> {
    crate::sys::watch(fd, interest).context(|| "watch a stream".to_owned())
}

/// What a read brought.
enum Chunk {
    /// The bytes that could not be passed on at once.
    Rest(Vec<u8>),
    End,
    NothingYet,
}

/// One read, handed to `pass_on`, which answers how much it took. The buffer lives on the stack: an idle
/// stream costs no memory.
fn read_chunk(
    source: &OwnedFd,
    pass_on: impl FnOnce(&[u8]) -> std::io::Result<usize>,
) -> std::io::Result<Chunk> {
    let mut buffer = [0u8; CHUNK_BYTES];
    loop {
        return match read(source, &mut buffer) {
            // A terminal whose other side was closed answers EIO.
            Ok(0) | Err(Errno::IO) => Ok(Chunk::End),
            Ok(count) => {
                let taken = pass_on(&buffer[..count])?;
                Ok(Chunk::Rest(buffer[taken..count].to_vec()))
            }
            Err(Errno::AGAIN) => Ok(Chunk::NothingYet),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

/// Writes what fits, which may be nothing.
fn write_some(fd: impl AsFd, bytes: &[u8]) -> std::io::Result<usize> {
    match write(fd, bytes) {
        Ok(count) => Ok(count),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

async fn write_all(fd: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = fd.writable().await?;
        match write_some(fd, bytes)? {
            0 => ready.clear_ready(),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

async fn copy_output(source: &AsyncFd<OwnedFd>, sink: &Sink) -> std::io::Result<()> {
    loop {
        let mut ready = source.readable().await?;
        let chunk = read_chunk(source.get_ref(), |bytes| match sink {
            Sink::Fifo(fifo) => write_some(fifo, bytes),
            Sink::File(file) => (&mut &*file).write_all(bytes).map(|()| bytes.len()),
            Sink::Nowhere => Ok(bytes.len()),
        })?;
        match (chunk, sink) {
            (Chunk::End, _) => return Ok(()),
            (Chunk::NothingYet, _) => ready.clear_ready(),
            (Chunk::Rest(rest), Sink::Fifo(fifo)) => write_all(fifo, &rest).await?,
            (Chunk::Rest(_), _) => {}
        }
    }
}

/// Holds a FIFO open until its reader has taken everything: a FIFO that nobody has open loses its content,
/// and the client may open it later than a short process ends. Nothing tells when a FIFO was emptied, so
/// this looks again and again; the process's deletion ends it.
async fn wait_until_read(sink: &Sink) {
    let Sink::Fifo(fifo) = sink else { return };
    let mut pause = Duration::from_millis(1);
    while ioctl_fionread(fifo).is_ok_and(|unread| unread > 0) {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(250));
    }
}

async fn copy_input(
    source: &AsyncFd<OwnedFd>,
    destination: &AsyncFd<OwnedFd>,
    close: &Notify,
) -> std::io::Result<()> {
    let mut closing = false;
    loop {
        // A FIFO that no writer has opened yet is not readable (and reads as ended), so wait first.
        let mut ready = tokio::select! {
            ready = source.readable(), if !closing => Some(ready?),
            () = close.notified(), if !closing => { closing = true; None }
            () = std::future::ready(()), if closing => None,
        };
        match read_chunk(source.get_ref(), |bytes| write_some(destination, bytes))? {
            Chunk::End => return Ok(()),
            Chunk::Rest(rest) => write_all(destination, &rest).await?,
            Chunk::NothingYet if closing => return Ok(()),
            Chunk::NothingYet => {
                if let Some(ready) = &mut ready {
                    ready.clear_ready();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;
    use crate::io::target::Target;

    struct Fifo {
        _folder: tempfile::TempDir,
        path: std::path::PathBuf,
    }

    fn fifo() -> Fifo {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        Fifo { _folder: folder, path }
    }

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
    }

    async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), future)
            .await
            .unwrap_or_else(|_| panic!("no {what} within 10 s"))
    }

    #[tokio::test]
    async fn output_written_before_a_reader_comes_is_not_lost() {
        let fifo = fifo();
        let (reader, writer) = pipe();
        let sink = Target::Fifo(fifo.path.clone()).open_sink().unwrap().unwrap();
        let task = spawn_output(reader, sink).unwrap();
        write(&writer, b"early").unwrap();
        drop(writer);
        let path = fifo.path.clone();
        // The reader opens once the process has long ended.
        let text = within(
            "text",
            tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
                text
            }),
        )
        .await;
        assert_eq!(text.unwrap(), "early");
        within("end of copying", task).await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_leaves_does_not_break_the_process() {
        let fifo = fifo();
        let (reader, writer) = pipe();
        let sink = Target::Fifo(fifo.path.clone()).open_sink().unwrap().unwrap();
        let task = spawn_output(reader, sink).unwrap();
        drop(std::fs::File::open(&fifo.path).unwrap());
        write(&writer, b"still here").unwrap();
        let mut back = std::fs::File::open(&fifo.path).unwrap();
        let mut buffer = [0; 10];
        within("text", tokio::task::spawn_blocking(move || back.read_exact(&mut buffer).map(|()| buffer)))
            .await
            .unwrap()
            .unwrap();
        drop(writer);
        within("end of copying", task).await.unwrap();
    }

    #[tokio::test]
    async fn much_output_crosses_a_slow_reader_unchanged() {
        let fifo = fifo();
        let (reader, writer) = pipe();
        let sink = Target::Fifo(fifo.path.clone()).open_sink().unwrap().unwrap();
        let task = spawn_output(reader, sink).unwrap();
        let path = fifo.path.clone();
        let received = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            std::fs::File::open(path).unwrap().read_to_end(&mut all).unwrap();
            all
        });
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let writer = watch(writer, Interest::WRITABLE).unwrap();
        within("write", write_all(&writer, &sent)).await.unwrap();
        drop(writer);
        assert_eq!(within("read", received).await.unwrap(), sent);
        within("end of copying", task).await.unwrap();
    }

    #[tokio::test]
    async fn closing_input_passes_on_what_was_written_first() {
        let fifo = fifo();
        let (reader, writer) = pipe();
        let source = Target::Fifo(fifo.path.clone()).open_source(false).unwrap().unwrap();
        let client = std::fs::File::options().write(true).open(&fifo.path).unwrap();
        let close = Arc::new(Notify::new());
        (&client).write_all(b"last words").unwrap();
        close.notify_one();
        let task = spawn_input(source, writer, close).unwrap();
        within("end of input", task).await.unwrap();
        let mut text = String::new();
        std::fs::File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "last words");
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_the_input() {
        let fifo = fifo();
        let (_reader, writer) = pipe();
        let source = Target::Fifo(fifo.path.clone()).open_source(false).unwrap().unwrap();
        let task = spawn_input(source, writer, Arc::new(Notify::new())).unwrap();
        tokio::task::yield_now().await;
        assert!(!task.is_finished(), "input ended before any client came");
        drop(std::fs::File::options().write(true).open(&fifo.path).unwrap());
        within("end of input", task).await.unwrap();
    }
}
