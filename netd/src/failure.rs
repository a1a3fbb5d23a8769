//! What a caller over D-Bus is told when something does not work: the error names of `netd_api::bus::error`.

use netd_api::diagnostic::Diagnostic;

use crate::kernel::KernelError;

/// A failure, with the name D-Bus gives it.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.corten.Netd1.Error")]
pub enum Failure {
    /// The bus itself failed.
    #[zbus(error)]
    Bus(zbus::Error),
    /// The document or request is not valid.
    Invalid(String),
    /// The running configuration moved on.
    Conflict(String),
    /// The kernel or a driver refused; the change was undone.
    Refused(String),
    /// The caller may not do this.
    Denied(String),
    /// Nothing by that name.
    NotFound(String),
    /// Somebody else is changing the switch, or has a change that waits for its confirmation.
    Locked(String),
    /// The change would lock out administrators and is not forced.
    Lockout(String),
    /// Something else went wrong.
    Failed(String),
}

impl Failure {
    /// A document that is not valid: each diagnostic on its own line.
    pub fn invalid(mistakes: Vec<Diagnostic>) -> Failure {
        let lines: Vec<String> = mistakes.iter().map(Diagnostic::to_string).collect();
        Failure::Invalid(lines.join("\n"))
    }
}

impl Failure {
    /// The words alone, without the name D-Bus gives the failure.
    pub fn words(&self) -> String {
        zbus::DBusError::description(self).unwrap_or("failed").to_owned()
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        Failure::Failed(format!("reading the kernel's state: {error}"))
    }
}
