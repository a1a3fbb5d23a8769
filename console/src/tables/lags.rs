//! LAGs: one line each, then one for each member.

use netd_api::state::{Lag, LagMember};

use crate::look::Tone;
use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[
    Column::text("LAG"),
    Column::text("MEMBER"),
    Column::text("STATE"),
    Column::text("MODE"),
    Column::text("HASH"),
    Column::text("MIN"),
    Column::text("PARTNER"),
];

/// The table of LAGs: each with its mode and partner, then its members with their state.
pub fn table(lags: &[Lag]) -> Table {
    let mut table = Table::new(COLUMNS);
    for lag in lags {
        let (state, tone) = state(lag);
        let mode = match lag.lacp_rate.as_str() {
            "" => lag.mode.clone(),
            rate => format!("{} {rate}", lag.mode),
        };
        table.push([
            lag.name.as_str().into(),
            format!("{}/{} active", active(lag), lag.members.len()).into(),
            Cell::new(state, tone),
            mode.into(),
            lag.hash.as_str().into(),
            lag.min_links.to_string().into(),
            partner(lag),
        ]);
        for member in &lag.members {
            let (state, tone) = member_state(member);
            table.push([
                "".into(),
                member.port.as_str().into(),
                Cell::new(state, tone),
                "".into(),
                "".into(),
                "".into(),
                lacp_state(lag, member).into(),
            ]);
        }
    }
    table
}

/// A line for each member that no frames go through, with why: too long for a column.
pub fn reasons(lags: &[Lag]) -> String {
    let members = lags.iter().flat_map(|lag| &lag.members).filter(|member| !member.reason.is_empty());
    members
        .map(|member| format!("{}: {}\n", text::clean(&member.port), text::clean(&member.reason)))
        .collect()
}

/// Members frames go through.
fn active(lag: &Lag) -> usize {
    lag.members.iter().filter(|member| member.active).count()
}

/// A LAG's state. One that negotiates and hears nobody is not well, even where its links are up.
fn state(lag: &Lag) -> (String, Tone) {
    let admin = if lag.admin_up { "up" } else { "down" };
    let oper = text::oper_state(&lag.oper_state);
    let tone = match oper {
        "up" if lag.mode == "lacp" && lag.partner.is_empty() => Tone::Bad,
        "up" => Tone::Good,
        _ if lag.wanted => Tone::Bad,
        _ => Tone::Quiet,
    };
    (format!("{admin}/{oper}"), tone)
}

fn partner(lag: &Lag) -> Cell {
    match (lag.mode.as_str(), lag.partner.as_str()) {
        ("lacp", "") => Cell::new("no partner", Tone::Bad),
        (_, "") => "-".into(),
        (_, partner) => partner.into(),
    }
}

fn member_state(member: &LagMember) -> (&'static str, Tone) {
    match (member.active, member.link_up) {
        (true, _) => ("active", Tone::Good),
        (false, true) => ("standby", Tone::Bad),
        (false, false) => ("no link", Tone::Bad),
    }
}

/// How far this side came with its partner (IEEE 802.1AX): a member that distributes does all the rest as well.
fn lacp_state(lag: &Lag, member: &LagMember) -> &'static str {
    let has = |name: &str| member.actor_state.iter().any(|state| state == name);
    if lag.mode != "lacp" {
        return "-";
    }
    if has("expired") {
        return "expired";
    }
    if has("defaulted") || member.partner_state.is_empty() {
        return "hears nobody";
    }
    let come = ["distributing", "collecting", "synchronized"].into_iter().find(|name| has(name));
    come.unwrap_or("not in sync")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;

    fn states(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn member(port: &str, active: bool) -> LagMember {
        let good = ["activity", "aggregatable", "synchronized", "collecting", "distributing"];
        LagMember {
            port: port.to_owned(),
            link_up: true,
            active,
            aggregator: 1,
            actor_state: if active { states(&good) } else { states(&["activity", "defaulted"]) },
            partner_state: if active { states(&good) } else { Vec::new() },
            ..LagMember::default()
        }
    }

    fn lag(name: &str, partner: &str, members: Vec<LagMember>) -> Lag {
        Lag {
            name: name.to_owned(),
            mode: "lacp".to_owned(),
            lacp_rate: "slow".to_owned(),
            hash: "layer3+4".to_owned(),
            min_links: 1,
            admin_up: true,
            oper_state: "up".to_owned(),
            partner: partner.to_owned(),
            members,
            wanted: true,
            ..Lag::default()
        }
    }

    #[test]
    fn members_partner_and_lacp_state_fit_80_columns() {
        let rows = [
            lag("core", "02:00:5e:00:53:99", vec![member("swp1", true), member("swp2", true)]),
            lag(
                "uplink",
                "",
                vec![member("swp5", false), LagMember { link_up: false, ..member("swp6", false) }],
            ),
            Lag { mode: "static".to_owned(), lacp_rate: String::new(), ..lag("plain", "", vec![]) },
        ];
        let shown = table(&rows).render(Some(80), Look::PLAIN);
        assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn members_that_carry_nothing_say_why_below_the_table() {
        let silent = LagMember { reason: "hears no LACP partner\u{9b}".to_owned(), ..member("swp5", false) };
        let lags = [lag("uplink", "", vec![member("swp1", true), silent])];
        assert_eq!(reasons(&lags), "swp5: hears no LACP partner\n");
    }

    #[test]
    fn a_lag_that_hears_no_partner_is_not_shown_as_well() {
        assert_eq!(state(&lag("uplink", "", vec![])).1, Tone::Bad);
        assert_eq!(state(&lag("uplink", "02:00:5e:00:53:99", vec![])).1, Tone::Good);
    }
}
