//! What is valid and probably a slip of the finger: told beside a check, a comparison and a change, and never refused.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::config::model::{Place, PortRole};
use crate::diagnostic::Diagnostic;

/// Warnings of a configuration by itself, in document order.
pub fn of(config: &Config) -> Vec<Diagnostic> {
    let carriers = Carriers::of(config);
    let mut warnings = unreachable_interfaces(config, &carriers);
    warnings.extend(lonely_vlans(config, &carriers));
    warnings.sort();
    warnings
}

/// What a change brings that an operator may not have meant: VLANs that nothing had before, and VLANs that lose their
/// last port.
pub fn of_change(before: &Config, after: &Config) -> Vec<String> {
    let (old, new) = (Carriers::of(before), Carriers::of(after));
    let added: Vec<_> = new.untagged.iter().filter(|(id, _)| !before.has_vlan(**id)).collect();
    let lost: Vec<u16> =
        old.untagged.keys().copied().filter(|id| after.vlans.contains_key(id) && !new.carry(*id)).collect();
    let mut said = Vec::new();
    if added.len() > MOST_ALONE {
        said.push(format!("{} VLANs are new: {}", added.len(), list(added.iter().map(|(id, _)| *id))));
    } else {
        said.extend(added.into_iter().map(|(id, ports)| {
            let section = if after.vlans.contains_key(id) { "" } else { " and has no section" };
            format!("VLAN {id} is new{section}: {}", list(ports.keys()))
        }));
    }
    if lost.len() > MOST_ALONE {
        said.push(format!("{} VLANs lose their last port: {}", lost.len(), list(&lost)));
    } else {
        said.extend(lost.into_iter().map(|id| format!("VLAN {id} loses its last port")));
    }
    said
}

/// More than so many are no slip, and told together.
const MOST_ALONE: usize = 3;

/// Which ports, LAGs and tunnels carry VLANs.
struct Carriers<'c> {
    config: &'c Config,
    /// Ports and LAGs by their access or native VLAN, with their places.
    untagged: BTreeMap<u16, BTreeMap<&'c str, Place>>,
}

impl<'c> Carriers<'c> {
    fn of(config: &'c Config) -> Carriers<'c> {
        let mut untagged: BTreeMap<u16, BTreeMap<&str, Place>> = BTreeMap::new();
        for (name, ethernet) in config.ethernets() {
            if let PortRole::Bridged(port) = &ethernet.role
                && let Some(id) = port.vlans.untagged
            {
                let kind = if config.lags.contains_key(name) { "lags" } else { "ports" };
                let place = config.locate(&format!("{kind}.{name}.vlan")).unwrap_or_default();
                untagged.entry(id).or_default().insert(name, place);
            }
        }
        Carriers { config, untagged }
    }

    /// Whether anything carries a VLAN, with a tag or without.
    fn carry(&self, id: u16) -> bool {
        self.untagged.contains_key(&id) || self.tagged(id)
    }

    /// Whether a trunk or a tunnel carries it.
    fn tagged(&self, id: u16) -> bool {
        let trunk = |role: &PortRole| {
            matches!(role, PortRole::Bridged(port)
                if port.vlans.tagged.iter().any(|range| (range.first..=range.last).contains(&id)))
        };
        self.config.ethernets().any(|(_, ethernet)| trunk(&ethernet.role))
            || self.config.vxlans.values().any(|vxlan| vxlan.vlan_id == id)
    }
}

/// VLANs with addresses that no port carries: nobody reaches them there, unless a workload is in one.
fn unreachable_interfaces(config: &Config, carriers: &Carriers<'_>) -> Vec<Diagnostic> {
    let lost =
        config.vlans.iter().filter(|(id, vlan)| !vlan.layer3.addresses.is_empty() && !carriers.carry(**id));
    let warning = |(id, vlan): (&u16, &crate::config::model::Vlan)| Diagnostic {
        line: vlan.place.line,
        column: vlan.place.column,
        path: format!("vlans.{id}"),
        message: format!("VLAN {id} has an address, and no port carries it"),
    };
    lost.map(warning).collect()
}

/// VLANs of a single port, without a section and on no trunk, beside VLANs that have sections: what is in one reaches
/// nothing.
fn lonely_vlans(config: &Config, carriers: &Carriers<'_>) -> Vec<Diagnostic> {
    if config.vlans.is_empty() {
        return Vec::new();
    }
    let lonely = carriers.untagged.iter().filter_map(|(id, ports)| {
        let (name, place) = ports.first_key_value().filter(|_| ports.len() == 1)?;
        (!config.vlans.contains_key(id) && !carriers.tagged(*id)).then_some((id, *name, *place))
    });
    let known: BTreeSet<String> = config.vlans.keys().map(u16::to_string).collect();
    let warning = |(id, name, place): (&u16, &str, Place)| {
        let text = id.to_string();
        let near = known.iter().find(|known| text.contains(known.as_str()) || known.contains(&text));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        Diagnostic {
            line: place.line,
            column: place.column,
            path: format!("ports.{name}.vlan"),
            message: format!("VLAN {id} has no section, and {name} is its only port{near}"),
        }
    };
    lonely.map(warning).collect()
}

fn list<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 5;
    let mut names = names.into_iter();
    let mut shown: Vec<String> = names.by_ref().take(SHOWN).map(|name| name.to_string()).collect();
    let more = names.count();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        crate::config::parse(&format!("version = 1\n{text}")).expect("a valid document")
    }

    const BOTH: &str = "[ports.swp1]\nvlan.access = 30\n[ports.swp2]\nvlan.access = 30\n\
                        [vlans.30]\naddresses = [\"10.0.30.1/24\"]\n";

    #[test]
    fn slip_in_a_vlan_id_is_warned_of() {
        assert_eq!(of(&config(BOTH)), []);
        let slip = BOTH.replacen("access = 30", "access = 230", 1);
        let said: Vec<String> = of(&config(&slip)).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["3:1: ports.swp1.vlan: VLAN 230 has no section, and swp1 is its only port; did you mean 30?"]
        );
        let both = BOTH.replace("access = 30", "access = 300");
        let said: Vec<String> = of(&config(&both)).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["6:8: vlans.30: VLAN 30 has an address, and no port carries it"]);
        assert_eq!(of_change(&config(BOTH), &config(&slip)), ["VLAN 230 is new and has no section: swp1"]);
        let said = of_change(&config(BOTH), &config(&both));
        assert_eq!(said, ["VLAN 300 is new and has no section: swp1, swp2", "VLAN 30 loses its last port"]);
        assert_eq!(of_change(&config(BOTH), &config(BOTH)), [""; 0]);
    }

    #[test]
    fn vlan_on_a_trunk_or_without_any_section_is_no_slip() {
        let trunk = "[ports.swp1]\nvlan.access = 230\n[ports.swp2]\nvlan.trunk = [\"200-300\"]\n[vlans.200]\nname = \"a\"\n";
        assert_eq!(of(&config(trunk)), []);
        assert_eq!(of(&config("[ports.swp1]\nvlan.access = 230\n")), []);
        let near = config(
            "[ports.swp1]\nvlan.access = 301\n[ports.swp2]\nvlan.access = 30\n[vlans.30]\nname = \"a\"\n",
        );
        assert!(of(&near)[0].message.ends_with("did you mean 30?"), "{:?}", of(&near));
    }
}
