//! What a port discarded, and why: a line for each reason.

use netd_api::state::{DISCARD_REASONS, Discard};

use crate::look::Tone;
use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[Column::text("DISCARDED"), Column::number("FRAMES"), Column::text("COUNTED BY")];

/// The table of one port. What nobody counts is not 0.
pub fn table(rows: &[Discard]) -> Table {
    let mut table = Table::new(COLUMNS);
    for row in rows {
        let frames = match row.frames {
            Some(frames) => frames.to_string().into(),
            None => Cell::new("not counted", Tone::Quiet),
        };
        let counted_by = row.counted_by.as_deref().unwrap_or_default();
        // A trap counts for the whole ASIC.
        let asic = if counted_by.starts_with("trap ") { "ASIC " } else { "" };
        let counted_by = format!("{asic}{}", text::or_dash(counted_by));
        table.push([meaning(row).into(), frames, counted_by.into()]);
    }
    table
}

/// What a reason means; one that this program does not know, as netd calls it.
fn meaning(row: &Discard) -> String {
    let known = DISCARD_REASONS.iter().find(|(direction, reason, _)| {
        (*direction, *reason) == (row.direction.as_str(), row.reason.as_str())
    });
    let meaning = known.map_or_else(|| text::clean(&row.reason), |(.., meaning)| (*meaning).to_owned());
    format!("{}: {meaning}", text::clean(&row.direction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;

    #[test]
    fn discards_that_nobody_counts_are_not_counted() {
        let row = |direction: &str, reason: &str, counted: Option<(u64, &str)>| Discard {
            port: "swp1".to_owned(),
            direction: direction.to_owned(),
            reason: reason.to_owned(),
            frames: counted.map(|(frames, _)| frames),
            counted_by: counted.map(|(_, by)| by.to_owned()),
        };
        let rows = [
            row("in", "vlan", None),
            row("in", "untagged", Some((12, "trap vlan_tag_mismatch"))),
            row("in", "too-long", Some((3, "driver"))),
            row("in", "other", Some((0, "kernel"))),
            row("out", "too-long", Some((7, "trap mtu_value_is_too_small"))),
            row("out", "of-tomorrow", None),
        ];
        let shown = table(&rows).render(Some(80), Look::PLAIN);
        assert!(shown.lines().all(|line| text::width(line) <= 80), "{shown}");
        insta::assert_snapshot!(shown);
    }
}
