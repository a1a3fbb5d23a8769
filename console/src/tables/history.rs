//! Generations of the configuration.

use netd_api::generation::{Generation, State};

use crate::look::{Look, Tone};
use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[
    Column::number("GEN"),
    Column::text("TIME"),
    Column::text("USER").cut_to(8),
    Column::text("STATE"),
    Column::text("COMMENT"),
];

const COLUMNS_WITH_KEY: &[Column] = &[
    Column::number("GEN"),
    Column::text("TIME"),
    Column::text("USER").cut_to(8),
    Column::text("STATE"),
    Column::text("KEY"),
    Column::text("COMMENT"),
];

/// Columns a comment gets at least, however narrow the terminal is.
const LEAST_COMMENT_COLUMNS: usize = 16;

/// The table of generations, within `limit` columns where there is a limit. Comments go on over further lines: what
/// was said of a change is why one looks here. The keys of users are shown where any is known.
pub fn show(generations: &[Generation], limit: Option<usize>, look: Look) -> String {
    let keys = generations.iter().any(|row| !row.key_fingerprint.is_empty());
    let columns = if keys { COLUMNS_WITH_KEY } else { COLUMNS };
    let bare = table(generations, columns, usize::MAX);
    let widths = bare.widths(None);
    let before: usize = widths.iter().rev().skip(1).map(|width| width + crate::table::GAP).sum();
    let comment_columns =
        limit.map_or(usize::MAX, |limit| limit.saturating_sub(before).max(LEAST_COMMENT_COLUMNS));
    table(generations, columns, comment_columns).render(limit, look)
}

fn table(generations: &[Generation], columns: &'static [Column], comment_columns: usize) -> Table {
    let mut table = Table::new(columns);
    for row in generations {
        let said = text::clean(&said(row));
        let mut lines = match comment_columns {
            usize::MAX => vec![said],
            columns => text::wrap(&said, columns),
        }
        .into_iter();
        let first = lines.next().filter(|line| !line.is_empty()).unwrap_or_else(|| "-".to_owned());
        push(&mut table, row_cells(row), first);
        for line in lines {
            push(&mut table, std::array::from_fn(|_| Cell::default()), line);
        }
    }
    table
}

/// Adds a row; the key's cell is left out where the table has no such column.
fn push(table: &mut Table, [generation, time, user, state, key]: [Cell; 5], comment: String) {
    match table.columns.len() {
        6 => table.push([generation, time, user, state, key, comment.into()]),
        _ => table.push([generation, time, user, state, comment.into()]),
    }
}

fn row_cells(row: &Generation) -> [Cell; 5] {
    let tone = match row.state {
        State::Running => Tone::Good,
        State::Unconfirmed => Tone::Bad,
        State::RolledBack => Tone::Quiet,
        State::Startup | State::Confirmed => Tone::Normal,
    };
    [
        row.generation.to_string().into(),
        text::stamp(row.time_s).into(),
        text::or_dash(&row.user).into(),
        Cell::new(row.state.to_string(), tone),
        key(&row.key_fingerprint).into(),
    ]
}

/// Until when it must be confirmed, what its author said, and why it was taken back.
fn said(row: &Generation) -> String {
    let until = match row.confirm_by_s {
        0 => String::new(),
        until_s => format!("until {}", text::clock(until_s)),
    };
    let said = [until.as_str(), &row.comment, &row.reason];
    said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
}

/// The beginning of a fingerprint: enough to tell the keys of a switch's users apart. `--json` has all of it.
fn key(fingerprint: &str) -> String {
    let short: String = fingerprint.trim_start_matches("SHA256:").chars().take(8).collect();
    text::or_dash(&short).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(generation: u64, state: State, comment: &str, reason: &str) -> Generation {
        Generation {
            generation,
            user: "ana".into(),
            key_fingerprint: "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA".into(),
            comment: comment.into(),
            state,
            reason: reason.into(),
            ..Generation::default()
        }
    }

    /// Local time differs from place to place.
    fn shown(rows: &[Generation]) -> String {
        let shown = show(rows, Some(80), Look::PLAIN);
        assert!(shown.lines().all(|line| text::width(line) <= 80), "{shown}");
        shown.replace(&text::stamp(0), "1970-01-01 00:00:00 UTC")
    }

    #[test]
    fn what_became_of_each_generation_is_told() {
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
        insta::assert_snapshot!(shown(&rows), @r"
        GEN  TIME                     USER  STATE        KEY       COMMENT
         12  1970-01-01 00:00:00 UTC  ana   unconfirmed  ZkAslGjF  new uplink
         11  1970-01-01 00:00:00 UTC  ana   rolled-back  ZkAslGjF  not confirmed in time
         10  1970-01-01 00:00:00 UTC  ana   startup      ZkAslGjF  evil [2J
          9  1970-01-01 00:00:00 UTC  -     confirmed    -         -
        ");
    }

    #[test]
    fn comments_are_whole_and_unknown_keys_take_no_room() {
        let comment = "the uplink of rack 7 goes to spine2, port 12, until the line card of spine1 is there";
        let rows = [Generation { key_fingerprint: String::new(), ..row(12, State::Running, comment, "") }];
        insta::assert_snapshot!(shown(&rows), @r"
        GEN  TIME                     USER  STATE    COMMENT
         12  1970-01-01 00:00:00 UTC  ana   running  the uplink of rack 7 goes to
                                                     spine2, port 12, until the line
                                                     card of spine1 is there
        ");
    }
}
