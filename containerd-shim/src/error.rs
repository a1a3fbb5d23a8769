//! What can go wrong, and which gRPC status containerd is told.

use std::io;

use containerd_shim_protos::ttrpc;
use containerd_shim_protos::ttrpc::Code;

/// Result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error with enough context to act on; containerd shows it to its user as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request, the bundle or an annotation is wrong.
    #[error("{0}")]
    Invalid(String),
    /// No such task or process.
    #[error("{0}")]
    NotFound(String),
    /// The task or process exists already.
    #[error("{0}")]
    Exists(String),
    /// The task or process is not in a state that allows the request.
    #[error("{0}")]
    Precondition(String),
    /// The shim cannot do that, or not on this system.
    #[error("{0}")]
    Unsupported(String),
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, on what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Another program (the OCI runtime, netd, systemd) refused.
    #[error("{what}: {reason}")]
    Failed {
        /// What was attempted.
        what: String,
        /// The other side's words.
        reason: String,
    },
}

impl Error {
    /// Wraps what another program said.
    pub fn failed(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Error::Failed { what: what.into(), reason: reason.to_string() }
    }

    fn code(&self) -> Code {
        match self {
            Error::Invalid(_) => Code::INVALID_ARGUMENT,
            Error::NotFound(_) => Code::NOT_FOUND,
            Error::Exists(_) => Code::ALREADY_EXISTS,
            Error::Precondition(_) => Code::FAILED_PRECONDITION,
            Error::Unsupported(_) => Code::UNIMPLEMENTED,
            Error::Io { .. } | Error::Failed { .. } => Code::UNKNOWN,
        }
    }
}

impl From<Error> for ttrpc::Error {
    fn from(error: Error) -> Self {
        ttrpc::Error::RpcStatus(ttrpc::get_status(error.code(), error.to_string()))
    }
}

/// Adds what was attempted to a system error.
pub trait Context<T> {
    /// Wraps the error; `what` names the attempt and its object.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Io { what: what(), source: error.into() })
    }
}

/// A value from outside, quoted and cut to a length that fits a message.
pub fn shown(value: &str) -> String {
    const MAX_CHARS: usize = 80;
    let mut text: String = value.chars().take(MAX_CHARS).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    format!("{text:?}")
}
