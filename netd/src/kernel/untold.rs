//! What netd set on ports and their drivers do not tell: many know no speed and duplex without a carrier, and of
//! a port that negotiates they tell what came of it, not what was asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Action, LINK_MODES, Network, Setting, Settings, Value};

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
        // Who negotiates anew forgets what was set before; so does who sets speed or duplex, which go together.
        let anew = |setting: Setting| LINK_MODES.contains(&setting) && setting != Setting::Fec;
        for (link, ..) in sets.clone().filter(|(_, setting, _)| anew(*setting)) {
            self.0.remove(link);
        }
        for (link, setting, value) in sets.filter(|(_, setting, _)| setting.is_told_with_carrier()) {
            self.0.entry(link.clone()).or_default().insert(setting, value.clone());
        }
    }

    /// Forgets a link that is gone: one of its name that comes is another. Answers whether it was known.
    pub fn forget(&mut self, link: &str) -> bool {
        self.0.remove(link).is_some()
    }

    /// Adds what the drivers did not tell. Of ports that negotiate, speed and duplex are those that were asked for;
    /// what they offer otherwise was changed by somebody else.
    pub fn complete(&mut self, network: &mut Network) {
        for (name, link) in &mut network.links {
            let mut known = self.0.get_mut(name);
            if link.settings.get(&Setting::Autoneg).is_some_and(Value::is_on) {
                link.settings.retain(|setting, _| !setting.is_told_with_carrier());
                if let (Some(known), Some(offer)) = (&mut known, link.settings.get(&Setting::Advertised)) {
                    known.entry(Setting::Advertised).or_insert_with(|| offer.clone());
                }
                known = known.filter(|known| {
                    known.get(&Setting::Advertised) == link.settings.get(&Setting::Advertised)
                });
            }
            for (setting, value) in known.into_iter().flat_map(|known| known.iter()) {
                link.settings.entry(*setting).or_insert_with(|| value.clone());
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

    fn told(untold: &mut Untold, setting: Setting, by_driver: Option<Value>) -> Option<Value> {
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
        assert_eq!(told(&mut untold, Setting::Speed, None), Some(Value::from(1000_u32)));
        assert_eq!(told(&mut untold, Setting::Speed, Some(Value::from(10_u32))), Some(Value::from(10_u32)));
        assert_eq!(told(&mut untold, Setting::Mtu, None), None);
        untold.note([set(Setting::Autoneg, true)].iter());
        assert_eq!(told(&mut untold, Setting::Speed, None), None);
        untold.note([set(Setting::Speed, 100_u32)].iter());
        assert!(untold.forget("swp1") && !untold.forget("swp1"));
        assert_eq!(untold, Untold::default());
    }

    #[test]
    fn a_port_that_negotiates_has_what_was_asked_of_it_while_it_offers_that() {
        let (gigabit, hundred) = (Value::from(1000_u32), Value::from(100_u32));
        let mut untold = Untold::default();
        let speed = |untold: &mut Untold, offer: &str| {
            let mut link = Link::new(LinkKind::Hardware);
            link.set(Setting::Autoneg, true);
            link.set(Setting::Speed, gigabit.clone());
            link.set(Setting::Advertised, offer);
            let mut network = Network::default();
            network.links.insert("swp1".to_owned(), link);
            untold.complete(&mut network);
            network.links["swp1"].settings.get(&Setting::Speed).cloned()
        };
        assert_eq!(speed(&mut untold, "0x2f"), None, "nothing was asked of it");
        untold.note([set(Setting::Speed, 100_u32)].iter());
        assert_eq!(speed(&mut untold, "0xc"), Some(hundred.clone()));
        assert_eq!(speed(&mut untold, "0x2f"), None, "somebody else has it offer more");
        assert_eq!(speed(&mut untold, "0xc"), Some(hundred));
        untold.note([set(Setting::Advertised, "0x2f")].iter());
        assert_eq!(speed(&mut untold, "0x2f"), None, "it offers what it did");
    }
}
