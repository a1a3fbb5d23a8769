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
    Column::text("KEY").cut_to(6),
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
        let state = match row.confirm_by_s {
            0 => row.state.to_string(),
            until_s => format!("{} until {}", row.state, text::clock(until_s)),
        };
        let said = [row.comment.as_str(), row.reason.as_str()];
        let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
        table.push([
            row.generation.to_string().into(),
            text::date(row.time_s).into(),
            text::or_dash(&row.user).into(),
            Cell::new(state, tone),
            text::or_dash(&said.join("; ")).into(),
            text::or_dash(row.key_fingerprint.trim_start_matches("SHA256:")).into(),
        ]);
    }
    table
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
        let shown = shown.replace(&text::date(0), "1970-01-01 00:00");
        insta::assert_snapshot!(shown);
    }
}
