//! Generations as people name them: by number, or by how far back, `-1`.

use netd_api::generation::{Generation, State};

use crate::client::{Error, Netd};

/// A generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its number.
    Number(u64),
    /// So many back from the running one, of those that ran confirmed and had another document.
    Back(u64),
}

impl Target {
    /// Reads `7` or `-1`.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(text: &str) -> Result<Target, String> {
        let (digits, back) = match text.strip_prefix('-') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match is_number.then(|| digits.parse::<u64>().ok()).flatten().filter(|number| *number > 0) {
            Some(number) if back => Ok(Target::Back(number)),
            Some(number) => Ok(Target::Number(number)),
            None => Err("give the number of a generation, or -1 for the one before".to_owned()),
        }
    }

    /// The number of the generation that is meant.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the history does not go back so far.
    pub async fn resolve(self, netd: &Netd) -> Result<u64, Error> {
        let count = match self {
            Target::Number(number) => return Ok(number),
            Target::Back(count) => count,
        };
        let history = netd.history().await?;
        let (running, number) = netd.document(0).await?;
        let mut left = count;
        let mut kept = Vec::new();
        for generation in candidates(&history, number) {
            if netd.document(generation).await?.0 == running {
                continue;
            }
            kept.push(generation);
            left -= 1;
            if left == 0 {
                return Ok(generation);
            }
        }
        Err(Error::NotFound(none(&history, number, count, &kept)))
    }
}

/// Generations before the running one that ran confirmed, the newest first.
fn candidates(history: &[Generation], running: u64) -> Vec<u64> {
    let ran = |row: &&Generation| match row.state {
        State::Confirmed | State::Startup => true,
        // One that was left by going back to another had been confirmed; one that was taken back never was.
        State::RolledBack => row.reason.contains(" with generation "),
        State::Running | State::Unconfirmed => false,
    };
    history.iter().filter(|row| row.generation < running).filter(ran).map(|row| row.generation).collect()
}

/// What to say when the history does not go back so far.
fn none(history: &[Generation], running: u64, count: u64, kept: &[u64]) -> String {
    if let Some(last) = kept.last() {
        return format!(
            "{count} back is too far: generation {last} is the oldest with another configuration"
        );
    }
    let earlier: Vec<String> = history
        .iter()
        .filter(|row| row.generation != running)
        .map(|row| row.generation.to_string())
        .collect();
    match earlier.is_empty() {
        true => "there is no other generation".to_owned(),
        false => format!(
            "no earlier generation ran confirmed with another configuration; by its number you can go to {}",
            earlier.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_named_by_number_or_by_how_far_back() {
        assert_eq!(Target::parse("7"), Ok(Target::Number(7)));
        assert_eq!(Target::parse("-1"), Ok(Target::Back(1)));
        for text in ["", "-", "0", "-0", "x", "--1", "+1", "1.5", "99999999999999999999"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    fn row(generation: u64, state: State, reason: &str) -> Generation {
        Generation { generation, state, reason: reason.to_owned(), ..Generation::default() }
    }

    #[test]
    fn generations_that_were_taken_back_do_not_count() {
        let history = [
            row(6, State::Running, ""),
            row(5, State::RolledBack, "rolled back by ana with generation 6"),
            row(4, State::RolledBack, "not confirmed in time"),
            row(3, State::RolledBack, "rolled back by ana"),
            row(2, State::Confirmed, ""),
        ];
        assert_eq!(candidates(&history, 6), [5, 2]);
        // While one waits, the one before is what it took the place of.
        let history =
            [row(3, State::Unconfirmed, ""), row(2, State::Startup, ""), row(1, State::Confirmed, "")];
        assert_eq!(candidates(&history, 3), [2, 1]);
    }

    #[test]
    fn what_is_there_is_named_when_the_history_is_too_short() {
        let history = [row(5, State::Running, ""), row(4, State::RolledBack, "not confirmed in time")];
        assert!(none(&history, 5, 1, &[]).ends_with("by its number you can go to 4"));
        assert!(none(&history, 5, 3, &[2]).contains("generation 2 is the oldest"));
        assert_eq!(none(&history[..1], 5, 1, &[]), "there is no other generation");
    }
}
