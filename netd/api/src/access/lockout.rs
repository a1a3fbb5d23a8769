//! Who could not administer the switch any more with a configuration: the mistake that no later command mends.

use std::fmt;

use crate::config::Config;
use crate::config::model::{Role, User};

/// What an administrator would lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lockout {
    /// No administrator is left who could log in.
    Everybody,
    /// The user who asks is no administrator any more.
    Demoted(String),
    /// The user who asks could not log in any more.
    Removed(String),
}

impl fmt::Display for Lockout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lockout::Everybody => f.write_str("no administrator could log in any more"),
            Lockout::Demoted(user) => write!(f, "you, {user}, could not change anything any more"),
            Lockout::Removed(user) => {
                write!(f, "you, {user}, could not log in any more: the document has no [users.{user}]")
            }
        }
    }
}

/// What a user loses when `after` takes the place of `before`; `None` when nothing, or when the user is no
/// administrator of `before`, who has nothing to lose here.
pub fn lockout(before: &Config, after: &Config, user: &str) -> Option<Lockout> {
    if !before.users.get(user).is_some_and(administers) {
        return None;
    }
    if !after.users.values().any(administers) {
        return Some(Lockout::Everybody);
    }
    match after.users.get(user) {
        Some(own) if administers(own) => None,
        Some(_) => Some(Lockout::Demoted(user.to_owned())),
        None => Some(Lockout::Removed(user.to_owned())),
    }
}

/// Whether a user is an administrator who can log in.
fn administers(user: &User) -> bool {
    user.role == Role::Admin && (!user.keys.is_empty() || user.console_password.is_some())
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
        crate::config::parse(&document).expect("a valid document")
    }

    fn words(users: &[(&str, &str)]) -> Option<String> {
        let before = config(&[("ana", "admin"), ("vic", "view")]);
        lockout(&before, &config(users), "ana").map(|lockout| lockout.to_string())
    }

    #[test]
    fn viewer_has_nothing_to_lose() {
        assert_eq!(lockout(&config(&[("ana", "admin"), ("vic", "view")]), &config(&[]), "vic"), None);
    }

    #[test]
    fn lockout_names_what_the_user_loses() {
        assert_eq!(words(&[("ana", "admin")]), None);
        assert_eq!(words(&[]).as_deref(), Some("no administrator could log in any more"));
        assert_eq!(words(&[("bo", "view")]).as_deref(), Some("no administrator could log in any more"));
        let demoted = words(&[("ana", "view"), ("bo", "admin")]);
        assert_eq!(demoted.as_deref(), Some("you, ana, could not change anything any more"));
        assert!(words(&[("bo", "admin")]).is_some_and(|text| text.contains("[users.ana]")));
    }
}
