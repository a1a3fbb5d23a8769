//! What a command leaves behind: text for its reader and an exit status.

use std::process::ExitCode;

use crate::client;

/// Exit statuses of `corten`, as corten(1) documents them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    #[default]
    Done = 0,
    /// Refused or invalid: a wrong document, a missing right, nothing by that name, an unreadable file.
    Refused = 1,
    /// The command line itself was wrong.
    Usage = 2,
    /// netd could not be reached.
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Text and exit status of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// Exit status.
    pub exit: Exit,
}

impl Outcome {
    /// Success with this on standard output.
    pub fn done(out: String) -> Outcome {
        Outcome { out, ..Outcome::default() }
    }

    /// Failure with this on standard error.
    pub fn failed(exit: Exit, err: String) -> Outcome {
        Outcome { err, exit, ..Outcome::default() }
    }
}

impl From<client::Error> for Outcome {
    fn from(error: client::Error) -> Outcome {
        let exit = match error {
            client::Error::Unreachable(_) => Exit::Unreachable,
            _ => Exit::Refused,
        };
        Outcome::failed(exit, format!("corten: {error}\n"))
    }
}
