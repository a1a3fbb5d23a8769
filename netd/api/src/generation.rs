//! Generations: every configuration that was applied, who applied it, and what became of it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zbus::wire::as_variant::optional;
use zbus::zvariant::Type;

/// Longest comment of a change, in characters.
pub const MAX_COMMENT_CHARS: usize = 200;

/// What comes with a change. A dictionary (`a{sv}`) over D-Bus, without the keys that are not set; an unknown
/// key is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(default, deny_unknown_fields)]
#[zvariant(signature = "dict")]
pub struct ChangeOptions {
    /// What the user says about the change, a line of at most [`MAX_COMMENT_CHARS`] characters.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// SHA-256 fingerprint of the SSH key the user came in with, as the client says: refused unless the configuration
    /// has it among the user's keys, but which of them it was cannot be proved.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
    /// Whether it is to be made even if it locks out administrators, see [`crate::access::lockout`].
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
    /// Of a roll-back to an earlier generation: in how many seconds it must be confirmed, as
    /// [`apply`](crate::bus::Config1Proxy::apply) has it; without it, or with 0, it is for good.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub confirm_timeout_s: Option<u32>,
    /// Of a change with a time to confirm it in: whether it confirms itself at the end of that time if nothing is lost
    /// then of what held before it, see [`crate::comparison`]. Refused without such a time.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub if_same: Option<bool>,
}

/// What a generation is now. A string over D-Bus and in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zvariant(signature = "s")]
pub enum State {
    /// It runs, and the switch starts with it.
    Running,
    /// It runs until it is confirmed, rolled back, or its time is up.
    Unconfirmed,
    /// The switch starts with it, but another one runs.
    Startup,
    /// It ran, and others came after it.
    #[default]
    Confirmed,
    /// It was taken back, or never confirmed; the reason tells why.
    RolledBack,
}

impl State {
    /// The text D-Bus and JSON have.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Unconfirmed => "unconfirmed",
            State::Startup => "startup",
            State::Confirmed => "confirmed",
            State::RolledBack => "rolled-back",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A generation of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Generation {
    /// Its number; later ones are greater.
    pub generation: u64,
    /// When it was applied, in seconds since 1970.
    pub time_s: u64,
    /// Who applied it; empty for a startup document somebody wrote to the disk.
    pub user: String,
    /// User id of who applied it.
    pub user_id: u32,
    /// SHA-256 fingerprint of the SSH key the user came in with, as `ssh-keygen -l` prints it; empty when
    /// that is not known.
    pub key_fingerprint: String,
    /// What the user said about it; empty for nothing.
    pub comment: String,
    /// What it is now.
    pub state: State,
    /// Why it was taken back; empty when it was not.
    pub reason: String,
    /// Until when it must be confirmed, in seconds since 1970; 0 when it need not be.
    pub confirm_by_s: u64,
}

/// How the switch is doing. A string over D-Bus and in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zvariant(signature = "s")]
pub enum Health {
    /// Everything is as the running configuration says.
    #[default]
    Ok,
    /// As [`Health::Ok`], and the running configuration waits for its confirmation.
    Unconfirmed,
    /// Not everything is as the running configuration says; what is not, is tried again.
    Degraded,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Health::Ok => "ok",
            Health::Unconfirmed => "unconfirmed",
            Health::Degraded => "degraded",
        })
    }
}

/// What runs, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Status {
    /// In one word.
    pub state: Health,
    /// What is not as it should be, the gravest first.
    pub problems: Vec<String>,
    /// The running generation; 0 when there is none yet.
    pub generation: u64,
    /// Until when it must be confirmed, in seconds since 1970; 0 when it need not be.
    pub confirm_by_s: u64,
    /// Who applied the generation that waits for its confirmation; empty when none does.
    pub user: String,
    /// What whoever asks may do: `admin` or `view`.
    pub role: String,
}

/// The fingerprint of an SSH public key, as `ssh-keygen -l` prints it (`SHA256:…`). `public_key` is a line
/// of a `.pub` file. `None` when it is no such line.
pub fn key_fingerprint(public_key: &str) -> Option<String> {
    let body = public_key.split_whitespace().nth(1)?;
    let blob = STANDARD.decode(body).ok()?;
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_one_ssh_keygen_prints() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ana";
        assert_eq!(
            key_fingerprint(key).as_deref(),
            Some("SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA")
        );
        for other in ["", "ssh-ed25519", "ssh-ed25519 !!! ana"] {
            assert_eq!(key_fingerprint(other), None, "{other}");
        }
    }

    #[test]
    fn options_travel_as_a_dictionary_without_what_is_not_set() {
        use zbus::Variant;
        use zbus::wire::{LE, serialized::Context, to_bytes};
        let context = Context::new(LE, 0);
        let options = ChangeOptions { comment: Some("why".to_owned()), ..ChangeOptions::default() };
        let bytes = to_bytes(context, &options).unwrap();
        let read: std::collections::HashMap<String, Variant<'_>> = bytes.deserialize().unwrap().0;
        assert_eq!(read.keys().collect::<Vec<_>>(), ["comment"]);
        assert_eq!(bytes.deserialize::<ChangeOptions>().unwrap().0, options);
        let empty = to_bytes(context, &ChangeOptions::default()).unwrap();
        assert_eq!(empty.deserialize::<ChangeOptions>().unwrap().0, ChangeOptions::default());
        let unknown = to_bytes(
            context,
            &[("unknown", Variant::from(true))].into_iter().collect::<std::collections::HashMap<_, _>>(),
        );
        assert!(unknown.unwrap().deserialize::<ChangeOptions>().is_err());
        assert_eq!(ChangeOptions::SIGNATURE.to_string(), "a{sv}");
    }

    #[test]
    fn words_are_the_same_on_the_bus_in_json_and_for_people() {
        for state in [State::Running, State::Unconfirmed, State::Startup, State::Confirmed, State::RolledBack]
        {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        for health in [Health::Ok, Health::Unconfirmed, Health::Degraded] {
            assert_eq!(serde_json::to_string(&health).unwrap(), format!("\"{health}\""));
        }
        assert_eq!(State::SIGNATURE.to_string(), "s");
        assert_eq!(Status::SIGNATURE.to_string(), "(sasttss)");
    }
}
