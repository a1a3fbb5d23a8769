//! What netd set and nobody reports: many drivers know no speed and duplex without a carrier, and below another root
//! of the spanning tree the kernel shows the root's timers in place of the bridge's own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Action, Network, Setting, Settings, Value};

/// Settings by link, as they were last set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unreported(BTreeMap<String, Settings>);

impl Unreported {
    /// Takes note of actions that were carried out together.
    pub fn note<'a>(&mut self, done: impl Iterator<Item = &'a Action> + Clone) {
        for action in done.clone() {
            if let Action::CreateLink { name, settings, .. } = action {
                self.0.remove(name);
                settings.iter().for_each(|(setting, value)| self.note_setting(name, *setting, value));
            }
        }
        let sets = done.filter_map(|action| match action {
            Action::Set { link, setting, value, .. } => Some((link, *setting, value)),
            _ => None,
        });
        // Who negotiates anew forgets what was set before.
        for (link, ..) in sets.clone().filter(|(_, setting, _)| *setting == Setting::Autoneg) {
            self.0.remove(link);
        }
        sets.for_each(|(link, setting, value)| self.note_setting(link, setting, value));
    }

    fn note_setting(&mut self, link: &str, setting: Setting, value: &Value) {
        if setting.is_sometimes_unreported() {
            self.0.entry(link.to_owned()).or_default().insert(setting, value.clone());
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

    /// Adds what was not reported. What a driver was to forget and reports again is its own. A port that
    /// reports the modes it advertises has nothing unreported.
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
    use crate::plan::{Link, LinkKind};

    fn set(setting: Setting, value: impl Into<Value>) -> Action {
        let (link, kind) = ("swp1".to_owned(), LinkKind::Hardware);
        Action::Set { link, kind, setting, value: value.into(), raise: false }
    }

    fn told(unreported: &Unreported, setting: Setting, by_driver: Option<Value>) -> Option<Value> {
        let mut link = Link::new(LinkKind::Hardware);
        link.settings.extend(by_driver.map(|value| (setting, value)));
        let mut network = Network::default();
        network.links.insert("swp1".to_owned(), link);
        unreported.complete(&mut network);
        network.links["swp1"].settings.get(&setting).cloned()
    }

    #[test]
    fn bridge_timers_are_those_that_were_set_while_another_root_rules() {
        let mut unreported = Unreported::default();
        let timers =
            [(Setting::ForwardDelay, Value::from(1500_u32)), (Setting::Priority, Value::from(7_u32))];
        let create = |settings: Settings| Action::CreateLink {
            name: "bridge".to_owned(),
            kind: LinkKind::Bridge,
            settings,
        };
        unreported.note([create(timers.clone().into())].iter());
        let [delay, _] = timers;
        assert_eq!(unreported.settings()["bridge"], [delay].into());
        unreported.note([create(Settings::new())].iter());
        assert!(unreported.settings().get("bridge").is_none_or(Settings::is_empty));
    }

    #[test]
    fn what_was_set_is_known_until_the_driver_tells_or_the_port_negotiates_anew() {
        let mut unreported = Unreported::default();
        unreported.note(
            [set(Setting::Mtu, 9000_u32), set(Setting::Speed, 1000_u32), set(Setting::Autoneg, false)].iter(),
        );
        assert_eq!(told(&unreported, Setting::Speed, None), Some(Value::from(1000_u32)));
        assert_eq!(told(&unreported, Setting::Speed, Some(Value::from(10_u32))), Some(Value::from(10_u32)));
        assert_eq!(told(&unreported, Setting::Mtu, None), None);
        unreported.note([set(Setting::Autoneg, true)].iter());
        assert_eq!(told(&unreported, Setting::Speed, None), None);
        unreported.note([set(Setting::Speed, Value::unknown())].iter());
        assert_eq!(told(&unreported, Setting::Speed, Some(Value::from(10_u32))), Some(Value::unknown()));
        unreported.note([set(Setting::Speed, 100_u32)].iter());
        assert!(unreported.forget("swp1") && !unreported.forget("swp1"));
        assert_eq!(unreported, Unreported::default());
    }
}
