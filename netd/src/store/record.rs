//! What the store writes beside documents, each record one JSON file.

use netd_api::generation::{self, State};
use serde::{Deserialize, Serialize};

/// Who made a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// User name; empty for what somebody wrote into the startup document.
    pub user: String,
    /// User id.
    pub user_id: u32,
    /// SHA-256 fingerprint of the SSH key the user came in with; empty when that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_fingerprint: String,
}

/// What became of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was, or is, the startup document.
    Confirmed,
    /// It waits for its confirmation; when it is not the one that is waited for, it never got it.
    Unconfirmed,
    /// It was taken back.
    RolledBack,
}

/// A generation: `generations/N.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// When it was applied, in seconds since 1970.
    pub time_s: u64,
    /// Who applied it.
    #[serde(flatten)]
    pub author: Author,
    /// What the author says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was taken back.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The generation whose document it brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
}

impl Meta {
    /// A row of the history. `state` is what the store knows better than the record.
    pub fn row(self, generation: u64, state: State, confirm_by_s: u64) -> generation::Generation {
        generation::Generation {
            generation,
            time_s: self.time_s,
            user: self.author.user,
            user_id: self.author.user_id,
            key_fingerprint: self.author.key_fingerprint,
            comment: self.comment,
            state,
            reason: self.reason,
            confirm_by_s,
        }
    }
}

/// A generation that runs but is not confirmed: `pending.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The generation.
    pub generation: u64,
    /// The last confirmed one, which runs again unless this one is confirmed; 0 when there is none.
    pub previous: u64,
    /// Who applied it.
    #[serde(flatten)]
    pub author: Author,
    /// When, in seconds since 1970.
    pub since_s: u64,
    /// The boot in which the deadline counts.
    pub boot_id: String,
    /// When it is rolled back, in nanoseconds of CLOCK_BOOTTIME.
    pub deadline_ns: u64,
    /// When what there was before it was recorded, by CLOCK_BOOTTIME; `None` when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_ns: Option<u64>,
    /// Whether it confirms itself at that time if nothing is lost then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub if_same: bool,
    /// Whether it does so even if it locks out administrators.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A change that is on its way: `journal.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The generation that is to run.
    pub to: u64,
    /// The one that runs.
    pub from: u64,
    /// The unconfirmed one that ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
    /// The boot in which it began.
    pub boot_id: String,
    /// What the history is to say.
    #[serde(flatten)]
    pub meta: Meta,
}

impl Journal {
    /// Whether the generation is to wait for a confirmation.
    pub fn is_to_be_confirmed(&self) -> bool {
        self.meta.outcome == Outcome::Unconfirmed
    }
}

/// Starts of netd that did not end well: `starts.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// The generation that was to run.
    pub generation: u64,
    /// The boot in which they are counted.
    pub boot_id: String,
    /// How many.
    pub count: u32,
}
