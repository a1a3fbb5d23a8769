//! What netd set on ports and their drivers do not tell: many know no speed and duplex without a carrier.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Action, Network, Setting, Settings};

/// Settings by link, as they were last set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Untold(BTreeMap<String, Settings>);

impl Untold {
    /// Takes note of actions that were carried out together.
    pub fn note<'a>(&mut self, done: impl Iterator<Item = &'a Action> + Clone) {
        let sets = done.filter_map(|action| match action {
            Action::Set { link, setting, value, .. } => Some((link, *setting, value)),
            _ => None,
        });
        // Who negotiates anew forgets what was set before.
        for (link, ..) in sets.clone().filter(|(_, setting, _)| *setting == Setting::Autoneg) {
            self.0.remove(link);
        }
        for (link, setting, value) in sets.filter(|(_, setting, _)| setting.is_speed_or_duplex()) {
            self.0.entry(link.clone()).or_default().insert(setting, value.clone());
        }
    }

    /// Settings by link.
    pub fn settings(&self) -> &BTreeMap<String, Settings> {
        &self.0
    }

    /// Forgets a link that is gone: one of its name that comes is another. Answers whether it was known.
    pub fn forget(&mut self, link: &str) -> bool {
        self.0.remove(link).is_some()
    }

    /// Adds what the drivers did not tell. What a driver was to forget and tells again is its own. A port that
    /// tells its offer has nothing untold.
    pub fn complete(&self, network: &mut Network) {
        for (name, settings) in &self.0 {
            if let Some(link) = network.links.get_mut(name).filter(|link| link.offer.is_empty()) {
                for (setting, value) in settings {
                    let known = link.settings.entry(*setting).or_insert_with(|| value.clone());
                    if value.is_unknown() {
                        known.clone_from(value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Link, LinkKind, Value};

    fn set(setting: Setting, value: impl Into<Value>) -> Action {
        let (link, kind) = ("swp1".to_owned(), LinkKind::Hardware);
        Action::Set { link, kind, setting, value: value.into(), raise: false }
    }

    fn told(untold: &Untold, setting: Setting, by_driver: Option<Value>) -> Option<Value> {
        let mut link = Link::new(LinkKind::Hardware);
        link.settings.extend(by_driver.map(|value| (setting, value)));
        let mut network = Network::default();
        network.links.insert("swp1".to_owned(), link);
        untold.complete(&mut network);
        network.links["swp1"].settings.get(&setting).cloned()
    }

    #[test]
    fn what_was_set_is_known_until_the_driver_tells_or_the_port_negotiates_anew() {
        let mut untold = Untold::default();
        untold.note(
            [set(Setting::Mtu, 9000_u32), set(Setting::Speed, 1000_u32), set(Setting::Autoneg, false)].iter(),
        );
        assert_eq!(told(&untold, Setting::Speed, None), Some(Value::from(1000_u32)));
        assert_eq!(told(&untold, Setting::Speed, Some(Value::from(10_u32))), Some(Value::from(10_u32)));
        assert_eq!(told(&untold, Setting::Mtu, None), None);
        untold.note([set(Setting::Autoneg, true)].iter());
        assert_eq!(told(&untold, Setting::Speed, None), None);
        untold.note([set(Setting::Speed, Value::unknown())].iter());
        assert_eq!(told(&untold, Setting::Speed, Some(Value::from(10_u32))), Some(Value::unknown()));
        untold.note([set(Setting::Speed, 100_u32)].iter());
        assert!(untold.forget("swp1") && !untold.forget("swp1"));
        assert_eq!(untold, Untold::default());
    }
}
