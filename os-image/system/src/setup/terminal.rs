//! The console: line by line, echo on demand, Ctrl-C as a character.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::sys::termios::{
    FlushArg, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcflush, tcgetattr, tcsetattr,
};

/// Ctrl-C, as it arrives when the terminal does not turn it into a signal.
pub const INTERRUPT: u8 = 3;

/// The terminal of standard input; its settings come back when this is dropped.
pub struct Terminal {
    /// Settings found at the start; `None` when standard input is no terminal (a script, a test).
    before: Option<Termios>,
}

impl Terminal {
    /// Takes the terminal: no signals, and Ctrl-C ends a line, so that it reaches the dialog at once.
    pub fn open() -> Result<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Terminal { before: None });
        }
        let before = tcgetattr(stdin.as_fd()).context("cannot read the settings of the terminal")?;
        let mut settings = before.clone();
        settings.local_flags.remove(LocalFlags::ISIG);
        settings.local_flags.insert(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE);
        settings.control_chars[SpecialCharacterIndices::VEOL as usize] = INTERRUPT;
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &settings).context("cannot set up the terminal")?;
        // What was typed before the first question is no answer to it.
        tcflush(stdin.as_fd(), FlushArg::TCIFLUSH).context("cannot set up the terminal")?;
        Ok(Terminal { before: Some(before) })
    }

    /// Shows what is typed, or not.
    pub fn echo(&self, on: bool) -> io::Result<()> {
        if self.before.is_none() {
            return Ok(());
        }
        let stdin = io::stdin();
        let mut settings = tcgetattr(stdin.as_fd())?;
        settings.local_flags.set(LocalFlags::ECHO, on);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &settings)?;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing can be done about a terminal that is gone.
            let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, before);
        }
    }
}
