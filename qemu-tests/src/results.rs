//! What a run of tests tells: a row a test, a group a chain or a test program. Programs read them as JSON.

use serde::{Deserialize, Serialize};

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It showed what its name says.
    Passed,
    /// It did not.
    Failed,
    /// It was not run, for a stated reason.
    Skipped,
}

/// A test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The behaviour it shows.
    pub name: String,
    /// How it ended.
    pub result: Outcome,
    /// How long it took, in seconds; with its machine's start if it was the first on it.
    pub seconds: f64,
    /// What it found, what went wrong, or why it was not run.
    #[serde(default)]
    pub detail: String,
    /// What was said meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Row {
    /// A test that ended so.
    pub fn new(name: &str, result: Outcome, seconds: f64, detail: &str) -> Row {
        Row { name: name.to_owned(), result, seconds, detail: detail.to_owned(), notes: Vec::new() }
    }

    /// A failure that the runner itself tells of.
    pub fn failure(name: &str, detail: &str) -> Row {
        Row::new(name, Outcome::Failed, 0.0, detail)
    }

    /// Whether it failed.
    pub fn failed(&self) -> bool {
        self.result == Outcome::Failed
    }
}

/// What a chain or a test program cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Machines that were booted.
    pub boots: u32,
    /// Machines that were cloned.
    pub clones: u32,
    /// Calls of the agents in the guests.
    pub commands: u64,
    /// Time of this host's processors that the machines took, in seconds.
    pub cpu_s: f64,
    /// How long it waited for something to happen, in seconds.
    pub waited_s: f64,
    /// Tests that ran.
    pub scenarios: usize,
    /// What went otherwise than meant and failed nothing, such as a template that could not be made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Group {
    /// Nothing so far.
    pub fn of(name: &str) -> Group {
        Group { name: name.to_owned(), ..Group::default() }
    }

    /// Adds what another one cost that ran in this one's time.
    pub fn add_cost_of(&mut self, other: &Group) {
        self.boots += other.boots;
        self.clones += other.clones;
        self.commands += other.commands;
        self.cpu_s += other.cpu_s;
        self.waited_s += other.waited_s;
    }
}

/// Groups and tests in the order in which they ended.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Test programs and chains.
    pub groups: Vec<Group>,
    /// Their tests.
    pub tests: Vec<Row>,
}

/// A part of the tests, for people who share them among machines: `2/3` is the second of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl Shard {
    /// All of them.
    pub const WHOLE: Shard = Shard { number: 1, of: 1 };

    /// This part's share.
    pub fn share<T>(self, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        all.into_iter().skip(self.number - 1).step_by(self.of)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts =
            text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Shard { number, of }),
            _ => Err(format!("{text:?} is no part such as 2/3")),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_is_a_number_and_a_count() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, of: 3 }));
        for wrong in ["", "2", "0/3", "4/3", "1/0", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong:?}");
        }
        assert_eq!(Shard { number: 2, of: 3 }.share(1..=8).collect::<Vec<_>>(), [2, 5, 8]);
        assert_eq!(Shard::WHOLE.share(1..=3).count(), 3);
    }
}
