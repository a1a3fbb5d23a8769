//! Which routes are meant for the hardware. Pure.

use crate::plan::{Network, NextHopObject, Route, RouteTarget};

/// Whether a wanted route of which the hardware says `hardware` (`trapped`, `failed`, …) should be in it and is
/// not. Packets may well be trapped where only the processor can send them on: by links for which
/// `is_software` holds, or as an answer that nothing is reachable.
pub fn is_alarm(
    desired: &Network,
    route: &Route,
    hardware: &str,
    is_software: impl Fn(&str) -> bool,
) -> bool {
    match hardware {
        "failed" => true,
        "trapped" => match devices(desired, &route.target) {
            Some(devices) => devices.is_empty() || !devices.into_iter().all(is_software),
            None => false,
        },
        _ => false,
    }
}

/// The links packets leave by; `None` where they are answered instead.
fn devices<'a>(desired: &'a Network, target: &'a RouteTarget) -> Option<Vec<&'a str>> {
    let object = |id| desired.next_hops.get(id).and_then(NextHopObject::device);
    Some(match target {
        RouteTarget::Unreachable => return None,
        RouteTarget::Blackhole => Vec::new(),
        RouteTarget::NextHops(hops) => hops.iter().map(|hop| hop.device.as_str()).collect(),
        RouteTarget::Object(id) => match desired.next_hops.get(id) {
            Some(NextHopObject::Group(members)) => members.iter().filter_map(|(id, _)| object(id)).collect(),
            _ => object(id).into_iter().collect(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{NextHop, NextHopId, RouteKey};

    fn alarms(desired: &Network, target: RouteTarget) -> [bool; 4] {
        let key = RouteKey { table: 254, prefix: "10.0.0.0/8".parse().expect("a prefix"), metric: 0 };
        let route = Route { key, target };
        ["offloaded", "software", "trapped", "failed"]
            .map(|hardware| is_alarm(desired, &route, hardware, |device| device == "mgmt0"))
    }

    #[test]
    fn what_only_the_processor_can_send_on_may_be_trapped_but_nothing_may_fail() {
        let hop = |device: &str| NextHop { via: None, device: device.to_owned(), weight: 1, on_link: false };
        let (asic, software) = (hop("swp1"), hop("mgmt0"));
        let mut network = Network::default();
        let id = |number| NextHopId(NextHopId::FIRST + number);
        for (number, device) in [(1, "swp1"), (2, "mgmt0")] {
            let single =
                NextHopObject::Single { via: None, device: device.to_owned(), on_link: false, v6: false };
            network.next_hops.insert(id(number), single);
        }
        network.next_hops.insert(id(3), NextHopObject::Group(vec![(id(1), 1), (id(2), 1)]));
        let both = [false, false, true, true];
        let failed_only = [false, false, false, true];
        for (target, expected) in [
            (RouteTarget::inline(vec![asic.clone()]), both),
            (RouteTarget::inline(vec![asic, software.clone()]), both),
            (RouteTarget::inline(vec![software]), failed_only),
            (RouteTarget::Object(id(1)), both),
            (RouteTarget::Object(id(2)), failed_only),
            (RouteTarget::Object(id(3)), both),
            (RouteTarget::Blackhole, both),
            (RouteTarget::Unreachable, failed_only),
        ] {
            assert_eq!(alarms(&network, target.clone()), expected, "{target}");
        }
    }
}
