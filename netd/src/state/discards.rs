//! Frames that ports discarded, and why: where the kernel, a driver or a trap of an ASIC counts them. That nobody
//! counted says nothing of how many there were, so it is never shown as 0.

use netd_api::state::{DISCARD_REASONS, Discard};

use super::View;
use super::query::Query;
use super::stream::{StreamError, Writer};
use crate::kernel::devlink::{DevlinkPort, Ports};
use crate::kernel::devlink_traps::Traps;
use crate::kernel::ethtool::Ethtool;
use crate::kernel::link::LinkRecord;

/// The traps of ASICs that are about one of these reasons (devlink-trap.rst, generic packet traps).
const TRAPS: [(&str, &str, &str); 5] = [
    ("in", "vlan", "ingress_vlan_filter"),
    ("in", "untagged", "vlan_tag_mismatch"),
    ("in", "spanning-tree", "ingress_stp_filter"),
    ("in", "no-port", "port_list_is_empty"),
    ("out", "too-long", "mtu_value_is_too_small"),
];

/// How many, and who counted them.
type Count = (u64, String);

/// Who is asked, as far as there is anybody.
struct Sources {
    ethtool: Option<Ethtool>,
    traps: Option<Traps>,
}

impl View<'_> {
    /// Writes what the ports that are asked for discarded, a row for each reason.
    pub(super) fn write_discards(&self, query: &Query, out: &mut Writer<'_>) -> Result<(), StreamError> {
        let mut sources = Sources { ethtool: Ethtool::open().ok(), traps: Traps::open().ok() };
        // Only an ASIC has traps, and ports that devlink knows.
        let asic_ports = sources.traps.as_ref().and_then(|_| Ports::dump().ok()).unwrap_or_default();
        let mut ports = self.port_links().filter(|(link, ..)| query.takes_interface(&link.name));
        let _ = ports.try_for_each(|(link, ..)| {
            let asic = asic_ports.of(&link.name);
            let rows = rows(link, |direction, reason| sources.count(link, asic, direction, reason));
            rows.iter().try_for_each(|row| out.row(row))
        });
        out.check()
    }
}

/// A row for each reason.
fn rows(link: &LinkRecord, mut count: impl FnMut(&str, &str) -> Option<Count>) -> Vec<Discard> {
    let row = |(direction, reason, _): (&str, &str, &str)| {
        let counted = count(direction, reason);
        Discard {
            port: link.name.clone(),
            direction: direction.to_owned(),
            reason: reason.to_owned(),
            frames: counted.as_ref().map(|(frames, _)| *frames),
            counted_by: counted.map(|(_, by)| by),
        }
    };
    DISCARD_REASONS.into_iter().map(row).collect()
}

/// What the kernel counts of each link by itself, and what only some drivers do: of those 0 says nothing.
fn of_kernel(link: &LinkRecord, direction: &str, reason: &str) -> Option<Count> {
    match (direction, reason) {
        ("in", "other") => Some((link.counters.rx_dropped, "kernel".to_owned())),
        ("out", "other") => Some((link.counters.tx_dropped, "kernel".to_owned())),
        ("in", "too-long") if link.length_errors > 0 => Some((link.length_errors, "driver".to_owned())),
        _ => None,
    }
}

impl Sources {
    /// Asks whoever may count: the port's hardware, the ASIC, the kernel.
    fn count(
        &mut self,
        link: &LinkRecord,
        asic: Option<&DevlinkPort>,
        direction: &str,
        reason: &str,
    ) -> Option<Count> {
        if (direction, reason) == ("in", "too-long")
            && let Some(ethtool) = &mut self.ethtool
            && let Ok(Some(frames)) = ethtool.frames_too_long(link.index)
        {
            return Some((frames, "driver".to_owned()));
        }
        let trap = TRAPS.iter().find(|(way, why, _)| (*way, *why) == (direction, reason));
        if let (Some((.., trap)), Some(traps), Some(asic)) = (trap, &mut self.traps, asic)
            && let Ok(Some(frames)) = traps.count(asic, trap)
        {
            return Some((frames, format!("trap {trap}")));
        }
        of_kernel(link, direction, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::link;

    #[test]
    fn discards_that_nobody_counts_are_unknown_and_never_none() {
        let mut port = link(3, "swp1", "");
        let shown = |port: &LinkRecord| -> Vec<String> {
            let rows = rows(port, |direction, reason| of_kernel(port, direction, reason));
            rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect()
        };
        let row = |direction: &str, reason: &str, frames: &str, by: &str| {
            format!(
                "{{\"port\":\"swp1\",\"direction\":\"{direction}\",\"reason\":\"{reason}\",\"frames\":{frames},\
                 \"counted_by\":{by}}}"
            )
        };
        let rows = shown(&port);
        assert_eq!(rows.len(), DISCARD_REASONS.len());
        for (direction, reason) in [("in", "vlan"), ("in", "too-long"), ("out", "too-long")] {
            assert!(rows.contains(&row(direction, reason, "null", "null")), "{rows:?}");
        }
        // What the kernel counts of every port can be 0.
        assert!(rows.contains(&row("in", "other", "0", "\"kernel\"")), "{rows:?}");
        port.counters.tx_dropped = 4;
        port.length_errors = 2;
        let rows = shown(&port);
        assert!(rows.contains(&row("out", "other", "4", "\"kernel\"")), "{rows:?}");
        assert!(rows.contains(&row("in", "too-long", "2", "\"driver\"")), "{rows:?}");
    }

    #[test]
    fn traps_are_about_reasons_there_are() {
        for (direction, reason, trap) in TRAPS {
            let known = DISCARD_REASONS.iter().any(|(way, why, _)| (*way, *why) == (direction, reason));
            assert!(known, "{trap}");
        }
    }
}
