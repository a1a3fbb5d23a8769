//! System calls that no safe wrapper covers: waiting for and signalling processes by pidfd with signals
//! beyond the named ones (a container's stop signal may be a real-time signal), peeking at children, and
//! registering a descriptor with the event loop.
//!
//! The only module with `unsafe`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How a process ended, as shells and containerd count: its exit code, or 128 + the signal that killed it.
pub type ExitCode = u32;

fn waitid(kind: libc::idtype_t, id: libc::id_t, flags: libc::c_int) -> io::Result<Option<libc::siginfo_t>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is a valid, writable siginfo_t for the duration of the call.
    let result = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), flags | libc::WEXITED | libc::WNOHANG) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all-zero bytes are a valid siginfo_t, and the kernel overwrote some of them with valid ones.
    let info = unsafe { info.assume_init() };
    // With WNOHANG and nothing to report the kernel leaves si_signo zero (waitid(2)).
    Ok((info.si_signo != 0).then_some(info))
}

/// Reaps the child behind a pidfd. `None` while it runs.
///
/// # Errors
/// `ECHILD` when it is not (or no longer) a child of this process.
pub fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitCode>> {
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(io::Error::other)?;
    let Some(info) = waitid(libc::P_PIDFD, id, 0)? else { return Ok(None) };
    // SAFETY: waitid filled in the SIGCHLD members of the union, which si_status belongs to.
    let status = unsafe { info.si_status() };
    let status = u32::try_from(status).unwrap_or(255);
    Ok(Some(if info.si_code == libc::CLD_EXITED { status } else { 128 + status }))
}

/// Process id of some child that ended and was not reaped yet.
///
/// # Errors
/// The system's; having no children is `None`.
pub fn peek_ended_child() -> io::Result<Option<i32>> {
    match waitid(libc::P_ALL, 0, libc::WNOWAIT) {
        // SAFETY: waitid filled in the SIGCHLD members of the union, which si_pid belongs to.
        Ok(info) => Ok(info.map(|info| unsafe { info.si_pid() })),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reaps a child by process id and forgets how it ended.
pub fn reap_and_forget(pid: i32) {
    if let Ok(id) = libc::id_t::try_from(pid) {
        // Nobody waits for this child; that it is gone already would be just as well.
        let _ = waitid(libc::P_PID, id, 0);
    }
}

/// Sends a signal, real-time signals included.
///
/// # Errors
/// `ESRCH` when the process is gone, `EINVAL` for a number that is no signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: u32) -> io::Result<()> {
    // SAFETY: pidfd_send_signal takes a descriptor, a number, an optional siginfo_t (none here) and flags;
    // it does not touch this process's memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Registers a descriptor with the event loop.
///
/// # Errors
/// It is of a type epoll cannot watch.
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, and stays the same descriptor for as long as the AsyncFd owns it.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    /// Reaped here rather than by the standard library: that is what is tested.
    #[expect(clippy::zombie_processes)]
    fn ended(command: &mut Command, signal: Option<u32>) -> ExitCode {
        let child = command.spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        if let Some(signal) = signal {
            send_signal(pidfd.as_fd(), signal).unwrap();
        }
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
        reap(pidfd.as_fd()).unwrap().unwrap()
    }

    #[test]
    fn exit_codes_are_counted_as_shells_do() {
        assert_eq!(ended(&mut Command::new("/bin/true"), None), 0);
        assert_eq!(ended(Command::new("/bin/sh").args(["-c", "exit 7"]), None), 7);
        assert_eq!(ended(Command::new("/bin/sleep").arg("100"), Some(9)), 137);
        // SIGRTMIN+3, what systemd in a container is stopped with.
        assert_eq!(ended(Command::new("/bin/sleep").arg("100"), Some(37)), 165);
    }
}
