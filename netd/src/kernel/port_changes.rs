//! Changes of ports that go through ethtool, put together by port: a driver must hear at once that
//! negotiation is off and which speed holds instead.

use std::collections::BTreeMap;

use netd_api::config::model::Fec;

use super::ethtool::{Ethtool, LinkModes};
use super::extack::KernelError;
use super::names::Names;
use super::sender::Outcomes;

/// What is to be changed, each with its places among the outcomes.
#[derive(Default)]
pub(super) struct PortChanges<'a> {
    modes: BTreeMap<&'a str, (LinkModes, Vec<usize>)>,
    fec: Vec<(&'a str, Fec, usize)>,
}

impl<'a> PortChanges<'a> {
    /// Adds a change of speed, duplex or negotiation.
    pub fn add_modes(&mut self, place: usize, link: &'a str, modes: LinkModes) {
        let (merged, places) = self.modes.entry(link).or_default();
        merged.merge(modes);
        places.push(place);
    }

    /// Adds a change of error correction.
    pub fn add_fec(&mut self, place: usize, link: &'a str, fec: Fec) {
        self.fec.push((link, fec, place));
    }

    /// Makes the changes. An error is written to all places it concerns.
    pub fn carry_out(self, names: &mut Names, outcomes: &mut Outcomes) {
        if self.modes.is_empty() && self.fec.is_empty() {
            return;
        }
        let mut ethtool = Ethtool::open();
        let mut with = |link: &str, change: &dyn Fn(&mut Ethtool, u32) -> Result<(), KernelError>| {
            let ethtool = ethtool.as_mut().map_err(|error| error.clone())?;
            change(ethtool, names.index(link)?)
        };
        for (link, (modes, places)) in self.modes {
            let outcome = with(link, &|ethtool, index| ethtool.set_link_modes(index, &modes));
            for place in places {
                outcomes[place] = outcome.clone();
            }
        }
        for (link, fec, place) in self.fec {
            outcomes[place] = with(link, &|ethtool, index| ethtool.set_fec(index, fec));
        }
    }
}
