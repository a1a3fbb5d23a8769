//! What Config1 answers without changing anything.

use netd_api::config::{self, Config};
use netd_api::generation::{Generation, Health, Status};

use crate::clock;
use crate::engine::changes::Document;
use crate::engine::step_words::Words;
use crate::engine::{Engine, breakout, system};
use crate::failure::Failure;
use crate::mask::mask;
use crate::plan::plan;
use crate::store::Present;

/// Most steps that are shown in words.
const MAX_DIFF_LINES: usize = 10_000;
/// Most bytes they take: a message of the bus is short.
const MAX_DIFF_BYTES: usize = 512 * 1024;

impl Engine {
    /// What applying a document would do, a line each step. Nothing is changed.
    pub fn diff(&mut self, document: impl Into<Document>) -> Result<Vec<String>, Failure> {
        let config = self.validate(document).map_err(Failure::invalid)?;
        // How ports were set before netd set them is noted when that is done, not when somebody asks.
        let noted = self.original_modes.clone();
        let outcome = self.diff_of(&config);
        self.original_modes = noted;
        outcome
    }

    fn diff_of(&mut self, config: &Config) -> Result<Vec<String>, Failure> {
        self.read_link_modes(config)?;
        let desired = self.wanted(config, &self.attachments);
        let mut actual = self.with_kernel(&desired, |kernel| kernel.snapshot())?;
        // Whether a link that is raised finds a partner is not known: what needs one is shown.
        for (name, link) in &mut actual.links {
            link.carrier |= !link.up && desired.links.get(name).is_some_and(|wanted| wanted.up);
        }
        let mut steps = plan(&desired, &actual);
        steps.retain(|step| !step.action.is_about_held_route());
        let words = Words { config, running: &self.config, desired: &desired, actual: &actual };
        // What users and sessions meet comes before what packets do.
        let system = system::differences(&self.config, config);
        let breakout = breakout::steps(config, &self.ports);
        let count = system.len() + breakout.len() + steps.len();
        let lines = system.into_iter();
        let lines = lines.chain(breakout.iter().map(ToString::to_string));
        let lines = lines.chain(steps.iter().map(|step| words.of(&step.action)));
        let mut bytes = 0;
        // A step of many next hops is long.
        let short = |line: &String| {
            bytes += line.len();
            bytes <= MAX_DIFF_BYTES
        };
        let mut lines: Vec<String> = lines.take(MAX_DIFF_LINES).take_while(short).collect();
        if count > lines.len() {
            lines.push(format!("and {} more steps", count - lines.len()));
        }
        Ok(lines)
    }

    /// The document of a generation, 0 for the running one, and which one that is. With `secrets`, password
    /// hashes included.
    pub fn get(&self, generation: u64, secrets: bool) -> Result<(String, u64), Failure> {
        let cannot_mask = || {
            Failure::Denied(
                "the configuration holds password hashes that cannot be masked; ask as an administrator"
                    .to_owned(),
            )
        };
        if generation == 0 || generation == self.generation {
            let document = match secrets {
                true => self.document.clone(),
                false => mask(&self.document, &self.config).ok_or_else(cannot_mask)?,
            };
            return Ok((document, self.generation));
        }
        let document = self.past(generation)?;
        if secrets {
            return Ok((document, generation));
        }
        // What an earlier release took and this one does not cannot be searched for hashes.
        let config = config::parse(&document).map_err(|_| cannot_mask())?;
        Ok((mask(&document, &config).ok_or_else(cannot_mask)?, generation))
    }

    /// The document of an earlier generation.
    pub(super) fn past(&self, generation: u64) -> Result<String, Failure> {
        if !self.store.numbers().contains(&generation) {
            return Err(Failure::NotFound(format!("there is no generation {generation}")));
        }
        self.store.past(generation).map_err(|error| Failure::Failed(error.to_string()))
    }

    /// All generations that are kept, the newest first.
    pub fn history(&self) -> Vec<Generation> {
        self.store.history(Present {
            running: self.generation,
            startup: self.confirmed,
            confirm_by_s: self.confirm_by_s(),
        })
    }

    fn confirm_by_s(&self) -> Option<u64> {
        self.pending.as_ref().map(|pending| clock::Now::take().wall_s(pending.deadline_ns))
    }

    /// What runs, and what is wrong with it.
    pub fn health(&self) -> Status {
        let problems: Vec<String> = self.problems().into_iter().map(str::to_owned).collect();
        let state = match (&self.pending, problems.is_empty()) {
            (_, false) => Health::Degraded,
            (Some(_), true) => Health::Unconfirmed,
            (None, true) => Health::Ok,
        };
        let user = self.pending.as_ref().map(|pending| pending.author.user.clone());
        Status {
            state,
            problems,
            generation: self.generation,
            confirm_by_s: self.confirm_by_s().unwrap_or(0),
            user: user.unwrap_or_default(),
            // That is the caller's, whom the engine does not know.
            role: String::new(),
        }
    }

    /// What the service manager shows.
    pub fn status(&self) -> String {
        let up =
            self.desired.links.iter().filter(|(name, link)| link.up && self.ports.contains(*name)).count();
        match (self.problems().as_slice(), self.confirm_by_s()) {
            ([], None) => {
                format!("generation {}, {up} of {} ports wanted up", self.generation, self.ports.len())
            }
            ([], Some(until_s)) => {
                format!("generation {}, to be confirmed until {}", self.generation, clock::show(until_s))
            }
            ([only], _) => format!("degraded: {only}"),
            (problems @ [first, ..], _) => format!("degraded: {} problems, first: {first}", problems.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Paths;
    use crate::events::Hub;
    use crate::kernel::KernelError;
    use crate::plan::{Action, Link, LinkKind, Network, Setting, Value};
    use crate::store::disk::Files;
    use crate::transaction::Backend;

    /// A network that stays as it is.
    struct Fixed(Network);

    impl Backend for Fixed {
        fn snapshot(&mut self) -> Result<Network, KernelError> {
            Ok(self.0.clone())
        }

        fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
            panic!("a question changes nothing: {actions:?}")
        }
    }

    #[test]
    fn diff_leaves_no_trace() {
        let file = std::env::temp_dir().join(format!("netd-diff-{}.json", std::process::id()));
        let paths = Paths { link_modes: file.clone(), ..Paths::default() };
        let mut engine =
            Engine::open(paths, Hub::open().expect("a thread"), Box::new(Files)).expect("netlink");
        let port = Link {
            settings: [(Setting::Speed, Value::Number(1000)), (Setting::Autoneg, Value::Number(1))].into(),
            ..Link::new(LinkKind::Hardware)
        };
        let network = Network { links: [("swp1".to_owned(), port)].into(), ..Network::default() };
        engine.stand_in = Some(Box::new(Fixed(network)));
        engine.ports.insert("swp1".to_owned());
        let (noted, desired) = (engine.original_modes.clone(), engine.desired.clone());
        let steps = engine.diff("version = 1\n[ports.swp1]\nspeed = \"10G\"\n").expect("a diff");
        assert!(steps.iter().any(|step| step.contains("speed")), "{steps:?}");
        assert_eq!((&engine.original_modes, &engine.desired), (&noted, &desired));
        assert!(!file.exists(), "a question wrote {}", file.display());
    }
}
