//! What the objects of a document have to do with one another.

use std::collections::{BTreeMap, HashMap};

use super::document::shortened;
use super::model::{Config, Place, Route};
use super::next_hops::{self, Surroundings, undefined_vrf};
use super::reader::Reader;
use super::routes::Written;
use super::{bridging, interfaces, subinterfaces};

/// Checks the objects against one another, and gives the routes with their next hops resolved.
pub(super) fn check(reader: &mut Reader<'_>, config: &Config, routes: &Written<'_>) -> Vec<Route> {
    check_vrf_references(reader, config);
    check_names(reader, config);
    subinterfaces::check(reader, config);
    bridging::check_fdb(reader, config);
    bridging::check_mdb(reader, config);
    let interfaces = interfaces::interfaces(config);
    let subnets = interfaces::subnets(reader, config, &interfaces);
    interfaces::check_overlaps(reader, &subnets);
    let surroundings = Surroundings::new(config, &interfaces, &subnets);
    check_neighbours(reader, config, &surroundings);
    let incomplete = reader.addresses_incomplete;
    bridging::check_vxlans(reader, config, incomplete, &|address| {
        surroundings.owner(None, address).is_some()
    });
    next_hops::resolve(reader, routes, &surroundings)
}

fn check_vrf_references(reader: &mut Reader<'_>, config: &Config) {
    for reference in std::mem::take(&mut reader.vrf_references) {
        if let Some(message) = undefined_vrf(config, &reference.name) {
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
    for (index, entry) in config.neighbours.iter().enumerate() {
        let path = format!("neighbours[{index}]");
        let mut wrong = |key: &str, message: String| {
            let path = format!("{path}{key}");
            let place = super::locate_in(&reader.places, &path).unwrap_or(entry.place);
            reader.wrong(place, &path, message);
        };
        match surroundings.device(&entry.device) {
            Err(message) => wrong(".dev", message),
            Ok(interface) => {
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
