//! Breakout: ports of the ASIC that the configuration wants split into several, or whole again. Their parts come
//! and go as devices do, so this is done before a change of the network is planned.

use std::collections::BTreeSet;
use std::fmt;

use netd_api::config::{Config, split_name};
use nix::errno::Errno;

use crate::engine::Engine;
use crate::engine::problems::Problem;
use crate::failure::Failure;
use crate::kernel::KernelError;
use crate::kernel::devlink::{self, Ports};

/// A port that is to be split, or made whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The port that is split.
    whole: String,
    /// A port that is there: itself, or one of its parts.
    present: String,
    /// Into how many; 1 makes it whole.
    parts: u32,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts {
            1 => write!(f, "{}: make whole", self.whole),
            parts => write!(f, "{}: split into {parts}", self.whole),
        }
    }
}

impl Step {
    fn carry_out(&self, ports: &Result<Ports, KernelError>) -> Result<(), KernelError> {
        let ports = ports.as_ref().map_err(KernelError::clone)?;
        let port = ports.of(&self.present).ok_or_else(|| {
            let words = format!("the driver of {} tells of no port of an ASIC", self.present);
            KernelError::with_words(Errno::EOPNOTSUPP, words)
        })?;
        match self.parts {
            1 => devlink::unsplit(port),
            parts => devlink::split(port, parts),
        }
    }
}

/// What is to be done so that the ports there are become those the configuration wants. A port that is split
/// stays so while the configuration names a part of it.
pub(super) fn steps(config: &Config, ports: &BTreeSet<String>) -> Vec<Step> {
    let is_part = |name: &str, whole: &str| split_name(name).is_some_and(|(of, _)| of == whole);
    let wanted = |whole: &str| {
        let own = config.ports.get(whole).and_then(|port| port.breakout).map(u32::from);
        let named = || config.ports.keys().any(|name| is_part(name, whole));
        own.or_else(|| (!named()).then_some(1))
    };
    let mut steps = Vec::new();
    let split: BTreeSet<&str> = ports.iter().filter_map(|name| Some(split_name(name)?.0)).collect();
    for whole in split {
        let parts: Vec<&String> = ports.iter().filter(|name| is_part(name, whole)).collect();
        if wanted(whole).is_some_and(|count| count as usize != parts.len()) {
            steps.push(Step { whole: whole.to_owned(), present: parts[0].clone(), parts: 1 });
        }
    }
    for name in ports.iter().filter(|name| split_name(name).is_none()) {
        if let Some(parts) = wanted(name).filter(|parts| *parts > 1) {
            steps.push(Step { whole: name.clone(), present: name.clone(), parts });
        }
    }
    steps
}

impl Engine {
    /// Splits ports and makes them whole as a configuration wants it. What was done before a driver refused is
    /// not undone here: the way back is another configuration's. Answers whether there are other ports now.
    pub(super) fn break_out(&mut self, config: &Config) -> Result<bool, Failure> {
        let mut changed = false;
        // A port that is split otherwise is made whole first.
        for _ in 0..2 {
            let steps = steps(config, &self.ports);
            if steps.is_empty() {
                break;
            }
            // Splitting one port leaves the numbers of the others.
            let ports = Ports::dump();
            for step in steps {
                step.carry_out(&ports).map_err(|error| {
                    let place = config.locate(&format!("ports.{}.breakout", step.whole));
                    let line = place.map(|place| format!("line {}: ", place.line)).unwrap_or_default();
                    Failure::Refused(format!("{line}{step}: {error}"))
                })?;
                tracing::info!("{step}");
            }
            changed = true;
            self.name_devices()?;
        }
        Ok(changed)
    }

    /// The way back from a change that did not come about.
    pub(super) fn undo_breakout(&mut self) {
        let config = self.config.clone();
        if self.managing
            && let Err(failure) = self.break_out(&config)
        {
            tracing::error!("undoing: {}", failure.words());
            self.problems.push(Problem::breakout(failure.words()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(document: &str, ports: &[&str]) -> Vec<String> {
        let config = netd_api::config::parse(&format!("version = 1\n{document}")).expect("a valid document");
        let ports = ports.iter().map(|&name| name.to_owned()).collect();
        steps(&config, &ports).iter().map(Step::to_string).collect()
    }

    #[test]
    fn ports_are_split_and_made_whole_as_the_configuration_says() {
        let parts = ["swp1s0", "swp1s1", "swp2"];
        for (document, ports, expected) in [
            ("[ports.swp1]\nbreakout = 4\n", &["swp1", "swp2"][..], &["swp1: split into 4"][..]),
            ("[ports.swp1]\nbreakout = 1\n", &["swp1", "swp2"], &[]),
            ("", &["swp1", "swp2"], &[]),
            ("[ports.swp1]\nbreakout = 2\n", &parts, &[]),
            // First whole, and in the next round into four.
            ("[ports.swp1]\nbreakout = 4\n", &parts, &["swp1: make whole"]),
            ("[ports.swp1]\nbreakout = 1\n", &parts, &["swp1: make whole"]),
            ("", &parts, &["swp1: make whole"]),
            ("[ports.swp1s1]\nmtu = 9000\n", &parts, &[]),
        ] {
            assert_eq!(words(document, ports), expected, "{document:?} with {ports:?}");
        }
    }
}
