//! Generations of the configuration.

use netd_api::generation::{Generation, State};

use crate::look::Tone;
use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[
    Column::number("GEN"),
    Column::text("TIME"),
    Column::text("USER").cut_to(8),
    Column::text("STATE"),
    Column::text("COMMENT").cut_to(10),
    Column::text("KEY").cut_to(8),
];

/// The table of generations.
pub fn table(generations: &[Generation]) -> Table {
    let mut table = Table::new(COLUMNS);
    for row in generations {
        let tone = match row.state {
            State::Running => Tone::Good,
            State::Unconfirmed => Tone::Bad,
            State::RolledBack => Tone::Quiet,
            State::Startup | State::Confirmed => Tone::Normal,
        };
        let until = match row.confirm_by_s {
            0 => String::new(),
            until_s => format!("until {}", text::clock(until_s)),
        };
        let said = [until.as_str(), &row.comment, &row.reason];
        let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
        table.push([
            row.generation.to_string().into(),
            text::stamp(row.time_s).into(),
            text::or_dash(&row.user).into(),
            Cell::new(row.state.to_string(), tone),
            text::or_dash(&said.join("; ")).into(),
            key(&row.key_fingerprint).into(),
        ]);
    }
    table
}

/// The beginning of a fingerprint: enough to tell the keys of a switch's users apart. `--json` has all of it.
fn key(fingerprint: &str) -> String {
    let short: String = fingerprint.trim_start_matches("SHA256:").chars().take(8).collect();
    text::or_dash(&short).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;

    #[test]
    fn what_became_of_each_generation_is_told() {
        let row = |generation, state, comment: &str, reason: &str| Generation {
            generation,
            user: "ana".into(),
            key_fingerprint: "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA".into(),
            comment: comment.into(),
            state,
            reason: reason.into(),
            ..Generation::default()
        };
        let rows = [
            row(12, State::Unconfirmed, "new uplink", ""),
            row(11, State::RolledBack, "", "not confirmed in time"),
            row(10, State::Startup, "evil \x1b[2J", ""),
            Generation {
                user: String::new(),
                key_fingerprint: String::new(),
                ..row(9, State::Confirmed, "", "")
            },
        ];
        let shown = table(&rows).render(Some(80), Look::PLAIN);
        // Local time differs from place to place.
        assert!(shown.lines().all(|line| text::width(line) <= 80), "{shown}");
        let shown = shown.replace(&text::stamp(0), "1970-01-01 00:00:00 UTC");
        insta::assert_snapshot!(shown);
    }
}
