//! Who could not log in any more with a document: the mistake that no later command mends.

use crate::client::{Error, Netd};
use netd_api::config::Config;
use netd_api::config::model::{Role, User};

/// Why a document would lock out whoever asks, or everybody, beside what runs.
///
/// # Errors
/// What netd answers instead of the running document.
pub async fn warning(document: &str, netd: &Netd) -> Result<Option<String>, Error> {
    let Some(user) = login_name() else { return Ok(None) };
    let (before, _) = netd.document(0).await?;
    let parsed = [before.as_str(), document].map(|text| netd_api::config::parse(text).ok());
    Ok(match parsed {
        [Some(before), Some(after)] => of(&before, &after, &user),
        _ => None,
    })
}

/// Why somebody who administers the switch would be locked out; `None` when nobody is, or when who asks, by
/// login name, is no administrator of the running configuration: netd refuses that.
fn of(running: &Config, config: &Config, user: &str) -> Option<String> {
    let can_log_in = |user: &User| !user.keys.is_empty() || user.console_password.is_some();
    let administers = |user: &User| user.role == Role::Admin && can_log_in(user);
    if !running.users.get(user).is_some_and(administers) {
        return None;
    }
    if !config.users.values().any(administers) {
        return Some("no administrator could log in any more".to_owned());
    }
    match config.users.get(user) {
        Some(own) if administers(own) => None,
        Some(_) => Some(format!("you, {user}, could not change anything any more")),
        None => Some(format!("you, {user}, could not log in any more: the document has no [users.{user}]")),
    }
}

/// Login name of whoever runs this; `None` for root, whom no document locks out.
fn login_name() -> Option<String> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    std::env::var("USER").ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn config(users: &[(&str, &str)]) -> Config {
        let mut document = "version = 1\n".to_owned();
        for (name, role) in users {
            document += &format!("[users.{name}]\nrole = \"{role}\"\nkeys = [\"{KEY}\"]\n");
        }
        netd_api::config::parse(&document).expect("a valid document")
    }

    fn warn(users: &[(&str, &str)]) -> Option<String> {
        of(&config(&[("ana", "admin"), ("vic", "view")]), &config(users), "ana")
    }

    #[test]
    fn who_may_change_nothing_is_refused_by_netd() {
        assert_eq!(of(&config(&[("ana", "admin"), ("vic", "view")]), &config(&[]), "vic"), None);
    }

    #[test]
    fn whoever_would_be_locked_out_is_told() {
        assert_eq!(warn(&[("ana", "admin")]), None);
        assert_eq!(warn(&[]).as_deref(), Some("no administrator could log in any more"));
        assert_eq!(warn(&[("bo", "view")]).as_deref(), Some("no administrator could log in any more"));
        let demoted = warn(&[("ana", "view"), ("bo", "admin")]);
        assert_eq!(demoted.as_deref(), Some("you, ana, could not change anything any more"));
        assert!(warn(&[("bo", "admin")]).is_some_and(|text| text.contains("[users.ana]")));
    }
}
