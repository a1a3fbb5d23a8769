//! Routes: a line for each way out.

use std::collections::BTreeSet;

use netd_api::state::{Neighbour, Route};

use crate::look::Tone;
use crate::table::{Cell, Column, Table};

const COLUMNS: &[Column] = &[
    Column::text("PREFIX"),
    Column::text("VIA"),
    Column::text("PORT"),
    Column::text("PROTOCOL"),
    Column::number("METRIC"),
    Column::text("VRF"),
    Column::text("HW"),
];

/// Gateways that do not answer, by interface and address.
#[derive(Clone, Debug, Default)]
pub struct Silent(BTreeSet<(String, String)>);

impl Silent {
    /// Takes in an ARP or ND entry.
    pub fn push(&mut self, entry: Neighbour) {
        if matches!(entry.state.as_str(), "failed" | "incomplete") {
            self.0.insert((entry.device, entry.address));
        }
    }

    fn is(&self, hop: &netd_api::state::NextHop) -> bool {
        !hop.via.is_empty() && self.0.contains(&(hop.device.clone(), hop.via.clone()))
    }
}

/// The table of routes. The further next hops of an ECMP route follow on lines of their own. Whatever the hardware
/// says of a route, packets to a gateway that does not answer go nowhere.
pub fn table(routes: &[Route], silent: &Silent) -> Table {
    let mut table = Table::new(COLUMNS);
    for route in routes {
        let mut next_hops: Vec<[Cell; 2]> =
            route.next_hops.iter().map(|hop| way(hop, &route.kind, silent.is(hop))).collect();
        let all_silent = !route.next_hops.is_empty() && route.next_hops.iter().all(|hop| silent.is(hop));
        if next_hops.is_empty() {
            next_hops.push([route.kind.as_str().into(), "-".into()]);
        }
        for (index, [via, port]) in next_hops.into_iter().enumerate() {
            if index > 0 {
                table.push(["".into(), via, port, "".into(), "".into(), "".into(), "".into()]);
                continue;
            }
            table.push([
                route.prefix.as_str().into(),
                via,
                port,
                route.protocol.as_str().into(),
                route.metric.to_string().into(),
                super::vrf(&route.vrf),
                if all_silent && route.kernel { Cell::new("no answer", Tone::Bad) } else { hardware(route) },
            ]);
        }
    }
    table
}

/// The hardware's answer; one that it should not have given is marked, also where there are no colours.
fn hardware(route: &Route) -> Cell {
    match route.alarm {
        true => Cell::new(format!("ALARM {}", route.hardware), Tone::Bad),
        false => super::hardware(route.kernel, &route.hardware),
    }
}

fn way(hop: &netd_api::state::NextHop, kind: &str, silent: bool) -> [Cell; 2] {
    let via = match (hop.via.as_str(), kind) {
        ("", "local") => "local",
        ("", _) => "connected",
        (via, _) => via,
    };
    let weight = if hop.weight > 1 { format!(" weight {}", hop.weight) } else { String::new() };
    let fault = match (hop.dead, silent) {
        (true, _) => " dead",
        (false, true) => " no answer",
        (false, false) => "",
    };
    match fault.is_empty() {
        false => [Cell::new(format!("{via}{weight}{fault}"), Tone::Bad), Cell::new(&hop.device, Tone::Bad)],
        true => [format!("{via}{weight}").into(), hop.device.as_str().into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;
    use crate::tables::tests::routes;

    #[test]
    fn route_by_a_gateway_that_does_not_answer_is_not_called_offloaded() {
        let neighbour = |address: &str, state: &str| Neighbour {
            address: address.into(),
            device: "vlan10".into(),
            state: state.into(),
            ..Neighbour::default()
        };
        let route = Route { next_hops: routes()[0].next_hops[..1].to_vec(), ..routes()[0].clone() };
        let shown = |state| {
            let mut silent = Silent::default();
            silent.push(neighbour("10.0.10.253", state));
            table(std::slice::from_ref(&route), &silent).render(Some(80), Look::PLAIN)
        };
        for state in ["failed", "incomplete"] {
            let shown = shown(state);
            assert!(shown.contains("10.0.10.253 no answer") && !shown.contains("offloaded"), "{shown}");
        }
        assert!(shown("stale").contains("offloaded"));
    }

    #[test]
    fn each_way_out_has_a_line() {
        insta::assert_snapshot!(table(&routes(), &Silent::default()).render(Some(80), Look::PLAIN));
    }
}
