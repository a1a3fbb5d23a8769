//! `[drift]`: what becomes of changes made behind the switch's back.

use super::model::{Drift, DriftSection};
use super::reader::{Reader, Section};

/// Reads `[drift]`.
pub(super) fn read<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> Drift {
    let section = reader.take(root, "drift").and_then(|node| reader.section(&node, "drift"));
    let Some(section) = section else {
        return Drift::default();
    };
    let mut drift = Drift { place: section.place, ..Drift::default() };
    for (key, what) in DriftSection::ALL {
        let node = reader.take(&section, key);
        let report = node.and_then(|node| reader.choice(&node, &[("repair", false), ("report", true)]));
        if report == Some(true) {
            drift.report_only.insert(what);
        }
    }
    reader.finish(&section);
    drift
}
