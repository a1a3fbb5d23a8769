//! Routes: a line for each way out.

use netd_api::state::Route;

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

/// The table of routes. The further ways out of an ECMP route follow on lines of their own.
pub fn table(routes: &[Route]) -> Table {
    let mut table = Table::new(COLUMNS);
    for route in routes {
        let mut ways: Vec<[Cell; 2]> = route.next_hops.iter().map(|hop| way(hop, &route.kind)).collect();
        if ways.is_empty() {
            ways.push([route.kind.as_str().into(), "-".into()]);
        }
        for (index, [via, port]) in ways.into_iter().enumerate() {
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
                hardware(route),
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

fn way(hop: &netd_api::state::NextHop, kind: &str) -> [Cell; 2] {
    let via = match (hop.via.as_str(), kind) {
        ("", "local") => "local",
        ("", _) => "connected",
        (via, _) => via,
    };
    let weight = if hop.weight > 1 { format!(" weight {}", hop.weight) } else { String::new() };
    match hop.dead {
        true => [Cell::new(format!("{via}{weight} dead"), Tone::Bad), Cell::new(&hop.device, Tone::Bad)],
        false => [format!("{via}{weight}").into(), hop.device.as_str().into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;
    use crate::tables::tests::routes;

    #[test]
    fn each_way_out_has_a_line() {
        insta::assert_snapshot!(table(&routes()).render(Some(80), Look::PLAIN));
    }
}
