//! What is wrong, and since when.

use netd_api::alarm::{Alarm, Severity};

use crate::look::{Look, Tone};
use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[
    Column::text("SEV").at_least(4),
    Column::number("SINCE").at_least(5),
    Column::text("OBJECT").at_least(10).cut_to(11),
    Column::text("WHAT").cut_to(20),
    Column::text("TRY").cut_to(22),
];

/// The table of alarms, as netd orders them; `now_s` is the time their age is told at.
pub fn table<'a>(alarms: impl IntoIterator<Item = &'a Alarm>, now_s: u64) -> Table {
    let mut table = Table::new(COLUMNS);
    for alarm in alarms {
        let tone = tone(alarm.severity);
        table.push([
            Cell::new(severity(alarm.severity), tone),
            age(alarm, now_s).into(),
            Cell::new(&alarm.object, tone),
            alarm.text.as_str().into(),
            text::or_dash(&alarm.remedy).into(),
        ]);
    }
    table
}

/// An alarm in lines, with nothing left out.
pub fn in_full(alarm: &Alarm, now_s: u64, columns: usize) -> Vec<String> {
    const NAMES_COLUMNS: usize = 10;
    let since = format!("{} ago, {}", age(alarm, now_s), text::stamp(alarm.since_s));
    let rows = [
        ("Object", alarm.object.as_str()),
        ("What", &alarm.text),
        ("Severity", &alarm.severity.to_string()),
        ("Kind", alarm.kind.as_str()),
        ("Since", &since),
        ("Try", text::or_dash(&alarm.remedy)),
    ];
    let mut lines = Vec::new();
    for (name, value) in rows {
        let wrapped = text::wrap(&text::clean(value), columns.saturating_sub(NAMES_COLUMNS));
        for (index, part) in wrapped.into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            lines.push(format!("{name:NAMES_COLUMNS$}{part}"));
        }
    }
    lines
}

/// What is printed where there are none.
pub fn none(look: Look) -> String {
    look.paint("No alarms.", Tone::Good)
}

fn age(alarm: &Alarm, now_s: u64) -> String {
    text::age(now_s.saturating_sub(alarm.since_s))
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "crit",
        Severity::Warning => "warn",
    }
}

fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Critical => Tone::Bad,
        Severity::Warning => Tone::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::tests::{NOW_S, alarms};

    #[test]
    fn the_table_fits_80_columns() {
        insta::assert_snapshot!(table(&alarms(), NOW_S).render(Some(80), Look::PLAIN));
    }

    #[test]
    fn a_pipe_gets_the_whole_table() {
        let shown = table(&alarms(), NOW_S).render(None, Look::PLAIN);
        for alarm in alarms() {
            assert!(shown.contains(&text::clean(&alarm.text)) && shown.contains(&alarm.remedy), "{shown}");
        }
    }

    #[test]
    fn alarm_in_full_leaves_nothing_out() {
        let alarm = &alarms()[1];
        let lines = in_full(alarm, NOW_S, 40);
        assert!(lines.iter().all(|line| text::width(line) <= 40), "{lines:?}");
        let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>().concat();
        assert!(words(&lines.concat()).contains(&words(&alarm.text)), "{lines:?}");
        assert_eq!(lines[0], "Object    10.0.7.9/24");
    }

    #[test]
    fn alarm_of_the_future_is_new() {
        let table = table(&alarms()[..1], 0).render(None, Look::PLAIN);
        assert!(table.lines().nth(1).unwrap().contains("  0s  "), "{table}");
    }
}
