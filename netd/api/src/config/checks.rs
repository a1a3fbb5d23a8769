//! What the objects of a document have to do with one another.

use std::collections::{BTreeMap, HashMap};

use super::document::shortened;
use super::model::{Config, Place, Route};
use super::next_hops;
use super::reader::Reader;
use super::routes::Written;
use super::surroundings::Surroundings;
use super::{bridging, interfaces, mtu_checks, subinterfaces, vxlans};

/// Checks the objects against one another, and gives the routes with their next hops resolved.
pub(super) fn check(reader: &mut Reader<'_>, config: &Config, routes: &Written<'_>) -> Vec<Route> {
    check_names(reader, config);
    subinterfaces::check(reader, config);
    bridging::check_fdb(reader, config);
    bridging::check_bridge_ports(reader, config);
    bridging::check_queriers(reader, config);
    bridging::check_mdb(reader, config);
    let interfaces = interfaces::interfaces(config);
    let subnets = interfaces::subnets(reader, config, &interfaces);
    interfaces::check_overlaps(reader, &subnets);
    let surroundings = Surroundings::new(config, &interfaces, &subnets);
    check_vrf_references(reader, &surroundings);
    check_neighbours(reader, config, &surroundings);
    let incomplete = reader.addresses_incomplete;
    vxlans::check(reader, config, incomplete, &|address| surroundings.owner(None, address).is_some());
    let resolved = next_hops::resolve(reader, routes, &surroundings);
    mtu_checks::check(reader, config, &interfaces, &resolved, routes);
    resolved
}

fn check_vrf_references(reader: &mut Reader<'_>, surroundings: &Surroundings<'_>) {
    for reference in std::mem::take(&mut reader.vrf_references) {
        if !surroundings.has_vrf(&reference.name) && !reader.is_full() {
            let message = surroundings.explain_vrf(&reference.name);
            reader.wrong(reference.place, &reference.path, message);
        }
    }
}

/// Interfaces with names that the operator chooses share one name space.
fn check_names(reader: &mut Reader<'_>, config: &Config) {
    let vrfs = config.vrfs.iter().map(|(name, vrf)| ("vrfs", "VRF", name, vrf.place));
    let management = config.management.vrf.iter().filter(|vrf| !vrf.defined);
    let management = management.map(|vrf| ("management", "management VRF", &vrf.name, Place::default()));
    let lags = config.lags.iter().map(|(name, lag)| ("lags", "LAG", name, lag.place));
    let vxlans = config.vxlans.iter().map(|(name, vxlan)| ("vxlans", "tunnel", name, vxlan.place));
    let loopbacks =
        config.loopbacks.iter().map(|(name, loopback)| ("loopbacks", "loopback", name, loopback.place));
    let subinterfaces =
        config.subinterfaces.iter().map(|(name, sub)| ("subinterfaces", "subinterface", name, sub.place));
    let all = management.chain(vrfs).chain(lags).chain(vxlans).chain(loopbacks).chain(subinterfaces);
    // The one that comes later in the document is taken for the mistake.
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, _, _, place)| *place);
    let mut known: BTreeMap<&str, (&str, Place)> = BTreeMap::new();
    for (section, kind, name, place) in all {
        if let Some((other, first)) = known.get(name.as_str()) {
            let line = if first.line == 0 { String::new() } else { format!(" of line {}", first.line) };
            let message =
                format!("the {other}{line} has the name `{}` already; choose another", shortened(name));
            reader.wrong(place, &format!("{section}.{name}"), message);
        } else {
            known.insert(name, (kind, place));
        }
    }
}

fn check_neighbours(reader: &mut Reader<'_>, config: &Config, surroundings: &Surroundings<'_>) {
    let mut known: HashMap<_, Place> = HashMap::new();
    let paths = reader.paths_of("neighbours");
    for entry in &config.neighbours {
        if reader.is_full() {
            return;
        }
        let path = paths.get(&entry.place).map_or("neighbours", String::as_str);
        let mut wrong = |key: &str, message: String| {
            let path = format!("{path}{key}");
            let place = super::locate_in(&reader.places, &path).unwrap_or(entry.place);
            reader.wrong(place, &path, message);
        };
        match surroundings.device(&entry.device) {
            None => wrong(".dev", surroundings.explain_device(&entry.device)),
            Some(interface) => {
                let vrf = interface.layer3.vrf.as_deref();
                if let Some(owner) = surroundings.owner(vrf, entry.address) {
                    wrong(".address", format!("{} is the switch's own address, on {owner}", entry.address));
                }
            }
        }
        if let Some(first) = known.insert((entry.address, &entry.device), entry.place) {
            let (address, line) = (entry.address, first.line);
            wrong("", format!("{address} on {} is already given in line {line}", shortened(&entry.device)));
        }
    }
}
