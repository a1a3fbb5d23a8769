//! Which configuration the switch starts with: one that waits for its confirmation, the startup document, or
//! one that fits if that does not.

use std::sync::Arc;

use netd_api::config::{self, Config};
use netd_api::diagnostic::Diagnostic;

use crate::clock::{self, Moment};
use crate::engine::{Engine, FACTORY_DOCUMENT};
use crate::quirks;
use crate::store::record::{Author, Meta, Outcome, Pending};

/// A generation that crashed netd so often in a row is dropped.
const MAX_BAD_STARTS: u32 = 3;
/// netd that lives this long after it was ready is taken for stable.
const STABLE_AFTER_NS: u64 = 60_000_000_000;

impl Engine {
    /// Takes over the configuration the switch goes on with, and counts the start with it.
    pub(super) fn read_configuration(&mut self) {
        let now = Moment::now();
        let found = self.store.recover(&now);
        for note in &found.notes {
            tracing::warn!("{note}");
        }
        if found.cut_off {
            // The last run ended over a change that is taken back, not over what runs.
            self.store.clear_starts();
        }
        let resumed = found.pending.is_some_and(|(pending, document)| self.resume(pending, document, &now));
        if !resumed {
            self.end_comparing();
            self.run_startup();
            if self.managing && self.generation != 0 && self.ended_badly(self.generation, &now) {
                self.drop_startup();
            }
        }
        self.store.count_start(self.generation, &now.boot_id);
    }

    /// netd is ready; when it has been so for a while, this start ended well.
    pub(super) fn wait_for_stability(&mut self) {
        self.stable_at_ns = Some(clock::boottime_ns().saturating_add(STABLE_AFTER_NS));
    }

    fn ended_badly(&self, generation: u64, now: &Moment) -> bool {
        self.store.starts(generation, &now.boot_id) >= MAX_BAD_STARTS
    }

    /// Goes on with a generation that waits for its confirmation. One that does not fit, or crashes netd, is
    /// taken back.
    fn resume(&mut self, pending: Pending, document: String, now: &Moment) -> bool {
        let number = pending.generation;
        let reason = if self.ended_badly(number, now) {
            format!("it crashed netd {MAX_BAD_STARTS} times")
        } else {
            match self.check_hardware(&document) {
                Ok(config) => {
                    tracing::info!("generation {number} still waits for its confirmation");
                    self.confirmed = pending.previous;
                    self.resume_comparing(&pending);
                    self.pending = Some(pending);
                    self.managing = true;
                    self.adopt(document, config, number);
                    return true;
                }
                Err(mistakes) => format!("it does not fit this switch: {}", summary(&mistakes)),
            }
        };
        tracing::error!("generation {number} is rolled back: {reason}");
        self.store.roll_back(&pending, &reason);
        false
    }

    /// Takes over the startup document if it is valid on this switch, else the newest generation that is.
    pub(super) fn run_startup(&mut self) {
        let (document, reason) = match self.store.startup() {
            Ok(None) => {
                tracing::info!("no startup configuration yet: all ports stay down");
                self.managing = true;
                self.confirmed = 0;
                let factory = config::parse(FACTORY_DOCUMENT).unwrap_or_default(); // a constant, and tested
                return self.adopt(FACTORY_DOCUMENT.to_owned(), factory, 0);
            }
            Ok(Some(document)) => match self.check_hardware(&document) {
                Ok(config) => {
                    self.managing = true;
                    self.confirmed = self.record_startup(&document);
                    return self.adopt(document, config, self.confirmed);
                }
                Err(mistakes) => {
                    for mistake in &mistakes {
                        tracing::error!("{}:{mistake}", self.paths.startup.display());
                    }
                    (Some(document), summary(&mistakes))
                }
            },
            Err(error) => (None, error.to_string()),
        };
        self.fall_back(document, &reason);
    }

    /// Checks a document against the model and the drivers at hand. Ports it names may be missing: netd
    /// starts before all of them are found, and a broken one must not cost the others their configuration.
    fn check_hardware(&self, document: &str) -> Result<Config, Vec<Diagnostic>> {
        let config = config::parse(document)?;
        let mistakes = quirks::check(&config, &self.devices);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// The newest confirmed generation that is valid on this switch and has another document than this one; that which
    /// was confirmed last before all others.
    fn newest_that_fits(&self, but: Option<&str>) -> Option<(u64, String, Config)> {
        let mut numbers = self.store.numbers();
        if let Some(place) = numbers.iter().position(|number| *number == self.confirmed) {
            let last = numbers.remove(place);
            numbers.push(last);
        }
        for number in numbers.into_iter().rev() {
            if self.store.meta(number).outcome != Outcome::Confirmed {
                continue;
            }
            let past = match self.store.past(number) {
                Ok(past) => past,
                Err(error) => {
                    tracing::warn!("{error}");
                    continue;
                }
            };
            if but == Some(past.as_str()) {
                continue;
            }
            match self.check_hardware(&past) {
                Ok(config) => return Some((number, past, config)),
                Err(mistakes) => {
                    tracing::warn!("generation {number} is refused too ({})", summary(&mistakes));
                }
            }
        }
        None
    }

    /// Runs the newest generation that is valid on this switch. The startup document stays as it is, for
    /// whoever wrote it to mend.
    fn fall_back(&mut self, document: Option<String>, reason: &str) {
        let refused = format!("{} is refused ({reason})", self.paths.startup.display());
        if let Some((number, past, config)) = self.newest_that_fits(None) {
            let instead =
                format!("{refused}: generation {number} runs instead, until a configuration is applied");
            tracing::error!("{instead}");
            self.refused_startup = Some(instead);
            self.managing = true;
            self.confirmed = number;
            return self.adopt(past, config, number);
        }
        let nothing = format!(
            "{refused} and no generation fits: ports are left as they are until a configuration is applied"
        );
        tracing::error!("{nothing}");
        self.refused_startup = Some(nothing);
        // What ran until now was taken back, or there was nothing: either way it is nobody's configuration.
        self.managing = false;
        self.to_restore = None;
        (self.document, self.config) = (FACTORY_DOCUMENT.to_owned(), Arc::default());
        (self.generation, self.confirmed) = (0, 0);
        // Whoever is to mend it must be able to log in: users and management do not depend on what this
        // hardware refuses.
        if let Some(document) = document.filter(|document| config::parse(document).is_ok())
            && let Err(error) = self.store.publish(&document)
        {
            tracing::error!("publishing the startup configuration: {error}");
        }
    }

    /// Drops a startup document that crashes netd again and again for the one confirmed before it.
    fn drop_startup(&mut self) {
        let crashed = self.generation;
        let what = format!("generation {crashed} crashed netd {MAX_BAD_STARTS} times");
        let Some((number, past, config)) = self.newest_that_fits(Some(&self.document)) else {
            let nothing = format!(
                "{what} and there is no other: ports are left as they are until a configuration is applied"
            );
            tracing::error!("{nothing}");
            self.refused_startup = Some(nothing);
            self.managing = false;
            return;
        };
        if let Err(error) = self.store.start_with(&past) {
            tracing::error!("making generation {number} the startup configuration: {error}");
        }
        self.store.set_outcome(
            crashed,
            Outcome::RolledBack,
            &format!("it crashed netd {MAX_BAD_STARTS} times"),
        );
        let instead = format!("{what}: generation {number} runs instead, until a configuration is applied");
        tracing::error!("{instead}");
        self.refused_startup = Some(instead);
        self.confirmed = number;
        self.adopt(past, config, number);
    }

    /// The generation of the startup document: a new one if somebody wrote it from outside.
    fn record_startup(&mut self, document: &str) -> u64 {
        if let Some(number) = self.store.generation_of(document) {
            return number;
        }
        let number = self.store.last_generation() + 1;
        let meta = Meta {
            time_s: clock::unix_s(),
            author: Author::default(),
            comment: "found as the startup configuration".to_owned(),
            outcome: Outcome::Confirmed,
            reason: String::new(),
            restores: None,
        };
        if let Err(error) = self.store.write_generation(number, &meta, document) {
            tracing::error!("recording the startup configuration: {error}");
        }
        number
    }
}

/// How many mistakes there are, and the first.
fn summary(mistakes: &[Diagnostic]) -> String {
    let first = mistakes.first().map(Diagnostic::to_string).unwrap_or_default();
    match mistakes.len() {
        1 => first,
        count => format!("{count} mistakes, first {first}"),
    }
}
