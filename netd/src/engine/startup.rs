//! Which configuration the switch starts with: the startup document, or one that fits if that does not.

use netd_api::config::{self, Config};
use netd_api::diagnostic::Diagnostic;

use crate::engine::{Engine, FACTORY_DOCUMENT};
use crate::quirks;

impl Engine {
    /// Takes over the startup document if it is valid on this switch, else the newest generation that is.
    pub(super) fn read_startup(&mut self) {
        let (document, reason) = match self.store.startup() {
            Ok(None) => {
                tracing::info!("no startup configuration yet: all ports stay down");
                self.managing = true;
                let factory = config::parse(FACTORY_DOCUMENT).unwrap_or_default(); // a constant, and tested
                return self.adopt(FACTORY_DOCUMENT.to_owned(), factory, 0);
            }
            Ok(Some(document)) => match self.check_hardware(&document) {
                Ok(config) => {
                    self.managing = true;
                    let generation = self.record_startup(&document);
                    return self.adopt(document, config, generation);
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

    /// Runs the newest generation that is valid on this switch. The startup document stays as it is, for
    /// whoever wrote it to mend.
    fn fall_back(&mut self, document: Option<String>, reason: &str) {
        let refused = format!("{} is refused ({reason})", self.paths.startup.display());
        for number in self.store.numbers().into_iter().rev() {
            let past = match self.store.past(number) {
                Ok(past) => past,
                Err(error) => {
                    tracing::warn!("{error}");
                    continue;
                }
            };
            match self.check_hardware(&past) {
                Ok(config) => {
                    let instead = format!(
                        "{refused}: generation {number} runs instead, until a configuration is applied"
                    );
                    tracing::error!("{instead}");
                    self.refused_startup = Some(instead);
                    self.managing = true;
                    return self.adopt(past, config, number);
                }
                Err(mistakes) => {
                    tracing::warn!("generation {number} is refused too ({})", summary(&mistakes))
                }
            }
        }
        let nothing = format!(
            "{refused} and no generation fits: ports are left as they are until a configuration is applied"
        );
        tracing::error!("{nothing}");
        self.refused_startup = Some(nothing);
        // Whoever is to mend it must be able to log in: users and management do not depend on what this
        // hardware refuses.
        if let Some(document) = document.filter(|document| config::parse(document).is_ok())
            && let Err(error) = self.store.publish(&document)
        {
            tracing::error!("publishing the startup configuration: {error}");
        }
    }

    /// The generation of the startup document: a new one if somebody wrote it from outside.
    fn record_startup(&mut self, document: &str) -> u64 {
        let last = self.store.last_generation();
        if self.store.is_last(document) {
            return last;
        }
        let recorded = self.store.prepare(last + 1, document).and_then(crate::store::Prepared::commit);
        if let Err(error) = recorded {
            tracing::error!("recording the startup configuration: {error}");
        }
        last + 1
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
