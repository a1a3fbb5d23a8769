//! The way to netd: its proxies on the system bus, tables read to the end, errors sorted by what the
//! user can do about them.

use std::io::{BufReader, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use netd_api::alarm::Alarm;
use netd_api::bus::{self, Config1Proxy, State1Proxy};
use netd_api::comparison::Comparison;
use netd_api::descriptor::{self, ADMIN_DOCUMENT_BYTES};
use netd_api::diagnostic::Diagnostic;
use netd_api::events::Events1Proxy;
use netd_api::generation::{ChangeOptions, Generation, Status};
use netd_api::state::{Discard, FdbEntry, Interface, Lag, Pending, Port, Vlan};
use netd_api::table::{End, Filter, Rows, TableName};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use zbus::fdo;

/// How long the bus may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long netd may take to say what it is doing.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// Rows of a table that are read ahead.
const ROWS_AHEAD: usize = 1000;

/// Why a call of netd failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No bus, no netd on it, or no answer in time.
    #[error("netd is not reachable: {0}")]
    Unreachable(String),
    /// The caller's role does not allow this call.
    #[error("not allowed: {0}")]
    Denied(String),
    /// The document is not valid.
    #[error("the document is not valid: {0}")]
    Invalid(String),
    /// The running configuration moved on.
    #[error("{0}")]
    Conflict(String),
    /// The kernel or a driver refused; the change was undone.
    #[error("refused, and undone: {0}")]
    Refused(String),
    /// Nothing by that name.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else is changing the switch, or has a change that waits for its confirmation.
    #[error("{0}")]
    Locked(String),
    /// Something else.
    #[error("{0}")]
    Failed(String),
    /// Whoever reads standard output has gone: no failure.
    #[error("nobody reads standard output")]
    ReaderGone,
}

/// A connection to netd.
#[derive(Clone)]
pub struct Netd {
    /// How long netd may let a call or a row wait.
    patience: Duration,
    config: Config1Proxy<'static>,
    state: State1Proxy<'static>,
    events: Events1Proxy<'static>,
}

impl Netd {
    /// Connects to the system bus (`DBUS_SYSTEM_BUS_ADDRESS` where set). Each later call gives up after
    /// `call_timeout`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when there is no bus. That netd is on it shows with the first call.
    pub async fn connect(call_timeout: Duration) -> Result<Netd, Error> {
        let connecting = async {
            let connection = zbus::connection::Builder::system().method_timeout(call_timeout).build().await?;
            Ok::<_, zbus::Error>(Netd {
                patience: call_timeout,
                config: Config1Proxy::new(&connection).await?,
                state: State1Proxy::new(&connection).await?,
                events: Events1Proxy::new(&connection).await?,
            })
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(netd)) => Ok(netd),
            Ok(Err(error)) => Err(Error::Unreachable(format!("the system bus: {}", describe(&error)))),
            Err(_) => Err(Error::Unreachable("the system bus does not answer".into())),
        }
    }

    /// What a document would be refused for on this switch; nothing when it could be applied.
    pub async fn validate(&self, document: &str) -> Result<Vec<Diagnostic>, Error> {
        Ok(self.config.validate(sent(document)?).await?)
    }

    /// What applying a document would do to the network, a line each step.
    pub async fn diff(&self, document: &str) -> Result<Vec<String>, Error> {
        Ok(self.config.diff(sent(document)?).await?)
    }

    /// Applies a document and answers the new generation. With a `confirm_timeout_s` other than 0 it must be
    /// confirmed in that time.
    pub async fn apply(
        &self,
        document: &str,
        base_generation: u64,
        confirm_timeout_s: u32,
        options: ChangeOptions,
    ) -> Result<u64, Error> {
        Ok(self.config.apply(sent(document)?, base_generation, confirm_timeout_s, options).await?)
    }

    /// Confirms the generation that waits for it, and answers which one that is.
    pub async fn confirm(&self, options: ChangeOptions) -> Result<u64, Error> {
        Ok(self.config.confirm(options).await?)
    }

    /// Takes back what waits, and answers what runs now. When nothing waits, nothing is changed.
    pub async fn take_back(&self, options: ChangeOptions) -> Result<u64, Error> {
        Ok(self.config.take_back(options).await?)
    }

    /// Goes back to a generation, and answers what runs now. With a `confirm_timeout_s` other than 0 it must be
    /// confirmed in that time.
    pub async fn roll_back(
        &self,
        generation: u64,
        confirm_timeout_s: u32,
        options: ChangeOptions,
    ) -> Result<u64, Error> {
        let confirm_timeout_s = (confirm_timeout_s != 0).then_some(confirm_timeout_s);
        Ok(self.config.roll_back(generation, ChangeOptions { confirm_timeout_s, ..options }).await?)
    }

    /// The document of a generation, 0 for the running one, and which one that is.
    pub async fn document(&self, generation: u64) -> Result<(String, u64), Error> {
        let (document, generation) = self.config.get(generation).await?;
        let text = descriptor::read_text(document.into(), ADMIN_DOCUMENT_BYTES);
        Ok((text.map_err(|error| Error::Failed(error.to_string()))?, generation))
    }

    /// All generations, the newest first.
    pub async fn history(&self) -> Result<Vec<Generation>, Error> {
        Ok(self.config.history().await?)
    }

    /// What netd is doing to the network at this moment, in words; empty for nothing, or where it does not say.
    pub async fn progress(&self) -> String {
        let answer = tokio::time::timeout(PROGRESS_TIMEOUT, self.config.progress()).await;
        answer.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// What runs, and what is wrong with it.
    pub async fn status(&self) -> Result<Status, Error> {
        Ok(self.config.status().await?)
    }

    /// All ports.
    pub async fn ports(&self) -> Result<Vec<Port>, Error> {
        Ok(self.state.ports().await?)
    }

    /// All LAGs.
    pub async fn lags(&self) -> Result<Vec<Lag>, Error> {
        Ok(self.state.lags().await?)
    }

    /// All interfaces that are no ports.
    pub async fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        Ok(self.state.interfaces().await?)
    }

    /// All VLANs.
    pub async fn vlans(&self) -> Result<Vec<Vlan>, Error> {
        Ok(self.state.vlans().await?)
    }

    /// What the change that waits for its confirmation did to the network.
    pub async fn comparison(&self) -> Result<Comparison, Error> {
        Ok(self.state.comparison().await?)
    }

    /// What is not in operation yet, as others decide that.
    pub async fn pending(&self) -> Result<Vec<Pending>, Error> {
        Ok(self.state.pending().await?)
    }

    /// Hands the rows of a table that fit a filter to `each`, one after the other, as netd reads them from the kernel.
    /// Answers how many entries of the switch's own the filter left out.
    pub async fn rows<T: DeserializeOwned + Send + 'static>(
        &self,
        table: TableName,
        filter: &Filter,
        mut each: impl FnMut(T) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let stream = UnixStream::from(OwnedFd::from(self.state.table(table.as_str(), filter).await?));
        stream.set_read_timeout(Some(self.patience)).map_err(|error| Error::Failed(error.to_string()))?;
        let (sender, mut receiver) = mpsc::channel(ROWS_AHEAD);
        let reading = tokio::task::spawn_blocking(move || -> std::io::Result<u64> {
            let mut rows = Rows::<_, T>::new(BufReader::with_capacity(64 * 1024, stream));
            for row in &mut rows {
                // Nobody wants more rows.
                if sender.blocking_send(row?).is_err() {
                    return Ok(0);
                }
            }
            match rows.end() {
                Some(End::Complete { local, .. }) => Ok(*local),
                _ => Ok(0),
            }
        });
        while let Some(row) = receiver.recv().await {
            each(row)?;
        }
        let read = reading.await.map_err(|error| Error::Failed(error.to_string()))?;
        read.map_err(|error: std::io::Error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Error::Unreachable("it does not answer".to_owned())
            }
            _ => Error::Failed(format!(
                "the table of {}: {}",
                table.as_str(),
                crate::text::clean(&error.to_string())
            )),
        })
    }

    /// All rows of a table that fit a filter.
    pub async fn table<T: DeserializeOwned + Send + 'static>(
        &self,
        table: TableName,
        filter: &Filter,
    ) -> Result<Vec<T>, Error> {
        let mut rows = Vec::new();
        self.rows(table, filter, |row| {
            rows.push(row);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// What ports discarded.
    pub async fn discards(&self, ports: Vec<String>) -> Result<Vec<Discard>, Error> {
        let filter = Filter { interfaces: Some(ports), ..Filter::default() };
        match self.table(TableName::Discards, &filter).await {
            // A netd of before tells of none.
            Err(Error::Invalid(_) | Error::Failed(_)) => Ok(Vec::new()),
            discards => discards,
        }
    }

    /// A stream of events as JSON lines after a number that counts in `boot_id`; for an empty one, how things stand, then
    /// what happens. The links of `ports` are looked at closely meanwhile.
    pub async fn events(&self, boot_id: &str, after: u64, ports: &[String]) -> Result<UnixStream, Error> {
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        Ok(UnixStream::from(OwnedFd::from(self.events.watch(boot_id, after, &ports).await?)))
    }

    /// What is wrong, the worst first.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        self.table(TableName::Alarms, &Filter::default()).await
    }

    /// The whole forwarding database.
    pub async fn fdb(&self) -> Result<Vec<FdbEntry>, Error> {
        self.table(TableName::Fdb, &Filter::default()).await
    }
}

/// A document as it travels.
fn sent(document: &str) -> Result<zbus::OwnedFd, Error> {
    let sent = descriptor::of_text(document);
    Ok(sent.map_err(|error| Error::Failed(format!("cannot send the document: {error}")))?.into())
}

/// What comes with a change: the key this session was opened with is recorded beside the user.
pub fn options(comment: Option<String>, force: bool) -> ChangeOptions {
    ChangeOptions {
        comment,
        key_fingerprint: crate::login::key_fingerprint(),
        force: force.then_some(true),
        ..ChangeOptions::default()
    }
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Error {
        let text = describe(&error);
        match &error {
            zbus::Error::MethodError(name, ..) => match name.as_str() {
                bus::error::INVALID => Error::Invalid(text),
                bus::error::CONFLICT => Error::Conflict(text),
                bus::error::REFUSED => Error::Refused(text),
                bus::error::DENIED => Error::Denied(text),
                bus::error::NOT_FOUND => Error::NotFound(text),
                bus::error::LOCKED => Error::Locked(text),
                _ => Error::Failed(text),
            },
            zbus::Error::FDO(fdo) => match **fdo {
                fdo::Error::AccessDenied(_) | fdo::Error::AuthFailed(_) => Error::Denied(text),
                fdo::Error::ServiceUnknown(_)
                | fdo::Error::NameHasNoOwner(_)
                | fdo::Error::NoReply(_)
                | fdo::Error::NoServer(_)
                | fdo::Error::Disconnected(_)
                | fdo::Error::Timeout(_)
                | fdo::Error::TimedOut(_) => Error::Unreachable(text),
                _ => Error::Failed(text),
            },
            zbus::Error::InputOutput(_) | zbus::Error::Connection(..) | zbus::Error::Handshake(_) => {
                Error::Unreachable(text)
            }
            _ => Error::Failed(text),
        }
    }
}

/// What an error says, without the names of D-Bus around it. It may hold several lines.
fn describe(error: &zbus::Error) -> String {
    let text = match error {
        zbus::Error::MethodError(name, text, _) => text.clone().unwrap_or_else(|| name.to_string()),
        zbus::Error::FDO(fdo) => match &**fdo {
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => "it is not running".into(),
            fdo::Error::AccessDenied(_) => "the system bus refuses this call to your role".into(),
            fdo::Error::NoReply(_) | fdo::Error::Timeout(_) | fdo::Error::TimedOut(_) => {
                "it does not answer".into()
            }
            fdo::Error::Disconnected(_) => "the system bus closed the connection".into(),
            other => other.to_string(),
        },
        zbus::Error::InputOutput(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            "it does not answer".into()
        }
        zbus::Error::InputOutput(error) => error.to_string(),
        zbus::Error::Connection(error, _) => error.to_string(),
        other => other.to_string(),
    };
    crate::text::clean_lines(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_to_do_about_them() {
        let of = |error: fdo::Error| Error::from(zbus::Error::from(error));
        assert!(matches!(of(fdo::Error::ServiceUnknown(String::new())), Error::Unreachable(_)));
        assert!(matches!(of(fdo::Error::AccessDenied(String::new())), Error::Denied(_)));
        assert!(matches!(of(fdo::Error::Failed("x".into())), Error::Failed(_)));
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let late = Error::from(zbus::Error::InputOutput(late.into()));
        assert_eq!(late.to_string(), "netd is not reachable: it does not answer");
    }
}
