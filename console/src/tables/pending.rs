//! What is not in operation yet, as others than the switch decide it: a line each.

use netd_api::state::Pending;

use crate::text;

/// [`lines`] as they are printed.
pub fn text(rows: &[Pending], most: usize, others: bool) -> String {
    lines(rows, most, others).into_iter().map(|line| line + "\n").collect()
}

/// Lines for a person: those that the last change was about, at most `most` of them, and how many others there are.
/// Nothing where the change has nothing pending and `others` are not asked for, or are none.
fn lines(rows: &[Pending], most: usize, others: bool) -> Vec<String> {
    let (changed, rest): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.changed);
    let mut lines = Vec::new();
    if !changed.is_empty() {
        lines.push("Pending, as others than the switch decide it:".to_owned());
        let columns = changed.iter().take(most).map(|row| text::width(&text::clean(&row.object))).max();
        for row in changed.iter().take(most) {
            let (object, reason) = (text::clean(&row.object), text::clean(&row.reason));
            let padding = " ".repeat(columns.unwrap_or(0).saturating_sub(text::width(&object)));
            let of_lag = match row.lag.as_str() {
                "" => String::new(),
                lag => format!("in {}: ", text::clean(lag)),
            };
            lines.push(format!("  {object}{padding}  {of_lag}{reason}"));
        }
        if changed.len() > most {
            lines.push(format!("  and {} more: show pending", changed.len() - most));
        }
    }
    if others && !rest.is_empty() {
        let (what, are) = if rest.len() == 1 { ("interface", "waits") } else { ("interfaces", "wait") };
        lines.push(format!(
            "{} {what} that the last change was not about {are} as well: show ports, show lags",
            rest.len()
        ));
    }
    lines
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A row; those of a member of a LAG name it.
    pub fn row(object: &str, lag: &str, reason: &str, changed: bool) -> Pending {
        let kind = if lag.is_empty() { "front-panel" } else { "lag-member" };
        Pending { object: object.into(), kind: kind.into(), lag: lag.into(), reason: reason.into(), changed }
    }

    #[test]
    fn what_the_change_was_about_is_named_and_others_are_counted() {
        let rows = [
            row("swp3", "", "no carrier", true),
            row("swp7", "uplink", "hears no LACP partner", true),
            row("swp9", "", "no carrier", false),
            row("vlan10", "", "no port of VLAN 10 has a carrier and forwards", true),
        ];
        insta::assert_snapshot!(lines(&rows, 10, true).join("\n"), @r"
        Pending, as others than the switch decide it:
          swp3    no carrier
          swp7    in uplink: hears no LACP partner
          vlan10  no port of VLAN 10 has a carrier and forwards
        1 interface that the last change was not about waits as well: show ports, show lags
        ");
        insta::assert_snapshot!(lines(&rows, 1, false).join("\n"), @r"
        Pending, as others than the switch decide it:
          swp3  no carrier
          and 2 more: show pending
        ");
        assert_eq!(lines(&rows[2..3], 10, false), [""; 0], "an apply is no occasion to tell of it");
        assert_eq!(lines(&rows[2..3], 10, true).len(), 1);
        assert_eq!(lines(&[], 10, true), [""; 0]);
    }

    #[test]
    fn hostile_names_do_no_harm() {
        let shown = lines(&[row("swp1\x1b[2J", "up\x1b", "no\n\x1b", true)], 10, true).join("\n");
        assert!(!shown.contains('\x1b') && shown.lines().count() == 2, "{shown:?}");
    }
}
