//! What to know before a document runs: who is locked out, whether this session ends, what is probably a slip.

use netd_api::access::lockout::{Lockout, lockout};
use netd_api::access::session::{self, Session};
use netd_api::config::{self, Config};
use netd_api::generation::State;
use netd_api::warnings;

use crate::client::{Error, Netd};

/// Where sshd tells both ends of a session (ssh(1)).
const SSH_CONNECTION: &str = "SSH_CONNECTION";

/// What a document brings with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Risks {
    /// Whom it locks out.
    pub lockout: Option<String>,
    /// Why this session may end.
    pub cut: Option<String>,
    /// What is valid and probably not meant.
    pub slips: Vec<String>,
}

impl Risks {
    /// All of them, the gravest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lockout.iter().chain(&self.cut).chain(&self.slips).map(String::as_str)
    }
}

/// Looks for the risks of a document that takes the place of what runs.
///
/// # Errors
/// What netd answers instead of the documents it has.
pub async fn of(document: &str, netd: &Netd) -> Result<Risks, Error> {
    let Ok(after) = config::parse(document) else { return Ok(Risks::default()) };
    let (running, _) = netd.document(0).await?;
    // Who may only look gets no hashes, and a document without them is not read.
    let running = config::parse(&running).ok();
    let confirmed = confirmed(netd).await?;
    let before = confirmed.as_ref().or(running.as_ref());
    let mut slips: Vec<String> = warnings::of(&after)
        .into_iter()
        .map(|slip| format!("line {}: {}", slip.line, slip.message))
        .collect();
    if let Some(running) = &running {
        slips.extend(warnings::of_change(running, &after));
    }
    Ok(Risks {
        lockout: before.and_then(|before| locked_out(before, &after)),
        cut: running.as_ref().and_then(|running| session::cut(running, &after, &session()?)),
        slips,
    })
}

/// Whom confirming what waits locks out; `None` for nobody, or when nothing waits.
///
/// # Errors
/// What netd answers instead of the documents it has.
pub async fn of_confirming(netd: &Netd) -> Result<Option<String>, Error> {
    let Some(before) = confirmed(netd).await? else { return Ok(None) };
    let (running, _) = netd.document(0).await?;
    Ok(config::parse(&running).ok().and_then(|after| locked_out(&before, &after)))
}

/// The configuration that runs again unless what waits is confirmed; `None` when nothing waits.
async fn confirmed(netd: &Netd) -> Result<Option<Config>, Error> {
    if netd.status().await?.confirm_by_s == 0 {
        return Ok(None);
    }
    let history = netd.history().await?;
    let Some(startup) = history.iter().find(|row| row.state == State::Startup) else { return Ok(None) };
    let (document, _) = netd.document(startup.generation).await?;
    Ok(config::parse(&document).ok())
}

fn locked_out(before: &Config, after: &Config) -> Option<String> {
    lockout(before, after, &user()?).as_ref().map(Lockout::to_string)
}

/// Login name of whoever runs this; `None` for root, whom no document locks out.
pub fn user() -> Option<String> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    std::env::var("USER").ok().filter(|name| !name.is_empty())
}

/// The SSH session this runs in.
fn session() -> Option<Session> {
    Session::parse(&std::env::var(SSH_CONNECTION).ok()?)
}
