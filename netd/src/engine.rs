//! The engine: holds what is wanted, changes the kernel to it, and answers what is asked over D-Bus.
//!
//! It is synchronous and runs on one thread; [`crate::daemon`] drives it with requests and events. Start
//! reading at [`Engine::start`] and [`Engine::apply`].

mod attachments;
mod drift;
mod queries;
mod startup;
pub mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use netd_api::config::model::Inventory;
use netd_api::config::{self, Config};
use netd_api::diagnostic::Diagnostic;
use netd_api::paths;

use crate::attach::{Record, derive_mac, records};
use crate::desired::{self, BRIDGE, Inputs};
use crate::events::Hub;
use crate::failure::Failure;
use crate::kernel::snapshot::Scope;
use crate::kernel::{Connection, KernelError, link};
use crate::plan::{Action, Link, Network, Setting};
use crate::platform::{self, Device, MANAGEMENT, Platform};
use crate::store::{Store, write_atomically};
use crate::transaction::{self, CommitError, Kernel};
use crate::{policy, quirks};

/// The document of a switch that has none yet.
const FACTORY_DOCUMENT: &str = "version = 1\n";

/// Files the engine works with.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The document applied at start.
    pub startup: PathBuf,
    /// The running document, for others to read.
    pub running: PathBuf,
    /// Attachments of this boot.
    pub attachments: PathBuf,
    /// Platform files.
    pub platforms: PathBuf,
    /// The control-plane rules that are loaded.
    pub rules: PathBuf,
    /// The program that loads them.
    pub nft: PathBuf,
}

/// Where netd notes the control-plane rules it has loaded; nobody else reads it.
const RULES: &str = "/run/corten/control-plane.nft";

impl Default for Paths {
    fn default() -> Self {
        Paths {
            startup: paths::STARTUP_CONFIG.into(),
            running: paths::RUNNING_CONFIG.into(),
            attachments: paths::ATTACHMENTS_DIR.into(),
            platforms: paths::PLATFORMS_DIR.into(),
            rules: RULES.into(),
            nft: policy::NFT.into(),
        }
    }
}

/// The engine.
pub struct Engine {
    hub: Hub,
    /// Links that came or went since the last look.
    flapped: drift::Flapped,
    /// Whether the kernel was as wanted once.
    settled: bool,
    /// What somebody else changed and is only reported.
    drift: Vec<String>,
    connection: Connection,
    paths: Paths,
    store: Store,
    platform: Option<Platform>,
    devices: Vec<Device>,
    ports: BTreeSet<String>,
    /// Hardware addresses the ports were born with.
    permanent_macs: BTreeMap<String, String>,
    bridge_mac: String,
    /// The running document, its meaning and its generation.
    document: String,
    config: Config,
    generation: u64,
    /// False while no valid configuration was found: the kernel is left as it is until one is applied.
    managing: bool,
    attachments: BTreeMap<String, Record>,
    desired: Arc<Network>,
    /// The control-plane rules that are loaded; empty while none are.
    ruleset: String,
    /// Why the startup document is not what runs, until a configuration is applied.
    refused_startup: Option<String>,
    /// The network to go back to while nothing is managed: what undoing a first change did not reach.
    to_restore: Option<Arc<Network>>,
    /// Whether routes go by next hop objects; a driver may refuse them.
    next_hop_objects: bool,
    /// What could not be done, for the log to say once and the status to show.
    problems: Vec<String>,
}

impl Engine {
    /// Names the ports, reads the startup document and makes the network as it says. What is right
    /// already is not touched, so a restart changes nothing. For a document that is not valid the newest
    /// generation that is steps in; without one the kernel is left as it is.
    ///
    /// # Errors
    /// Only when the kernel cannot be spoken to at all.
    pub fn start(paths: Paths, hub: Hub) -> Result<Engine, KernelError> {
        let mut engine = Engine::open(paths, hub)?;
        engine.name_devices()?;
        engine.bridge_mac = engine.choose_bridge_mac()?;
        engine.attachments = records::load(&engine.paths.attachments);
        engine.drop_lost_attachments()?;
        engine.read_startup();
        engine.desired = engine.wanted(&engine.config, &engine.attachments);
        // Rules first: no port may be up without them.
        engine.look()?;
        Ok(engine)
    }

    /// An engine that has not looked at anything yet.
    fn open(paths: Paths, hub: Hub) -> Result<Engine, KernelError> {
        Ok(Engine {
            hub,
            flapped: drift::Flapped::default(),
            settled: false,
            drift: Vec::new(),
            connection: Connection::open()?,
            store: Store::new(&paths.startup, &paths.running),
            platform: platform::load(&paths.platforms),
            paths,
            devices: Vec::new(),
            ports: BTreeSet::new(),
            permanent_macs: BTreeMap::new(),
            bridge_mac: String::new(),
            document: FACTORY_DOCUMENT.to_owned(),
            config: Config::default(),
            generation: 0,
            managing: false,
            attachments: BTreeMap::new(),
            desired: Arc::default(),
            ruleset: String::new(),
            refused_startup: None,
            to_restore: None,
            next_hop_objects: true,
            problems: Vec::new(),
        })
    }

    /// The bridge's address stays what it is; a new one follows from the management port's, so that it is
    /// the same after every boot whatever ports there are.
    fn choose_bridge_mac(&mut self) -> Result<String, KernelError> {
        let links = link::dump(&mut self.connection, false)?;
        if let Some(bridge) = links.iter().find(|link| link.name == BRIDGE && link.kind == "bridge") {
            return Ok(bridge.mac.clone());
        }
        let management = links.iter().find(|link| link.name == MANAGEMENT).map(|link| link.mac.clone());
        let seed = management
            .or_else(|| Some(std::fs::read_to_string("/etc/machine-id").ok()?.trim().to_owned()))
            .unwrap_or_default();
        Ok(crate::kernel::wire::read_mac(&derive_mac(&seed, "bridge")))
    }

    fn adopt(&mut self, document: String, config: Config, generation: u64) {
        if let Err(error) = self.store.publish(&document) {
            tracing::error!("publishing the running configuration: {error}");
        }
        self.document = document;
        self.config = config;
        self.generation = generation;
    }

    fn wanted(&self, config: &Config, attachments: &BTreeMap<String, Record>) -> Arc<Network> {
        Arc::new(desired::network(&Inputs {
            config,
            ports: &self.ports,
            permanent_macs: &self.permanent_macs,
            attachments,
            bridge_mac: &self.bridge_mac,
            objects: self.next_hop_objects,
        }))
    }

    /// Makes the kernel as `desired`, or leaves it as it was. What undoing did not reach is a problem from
    /// then on, and the next looks try to remove it.
    fn commit(&mut self, desired: &Network) -> Result<transaction::Report, Failure> {
        let scope = self.scope(desired);
        let dark = self.hub.dark();
        let mut kernel = Kernel { connection: &mut self.connection, scope: &scope, bridge: BRIDGE, dark };
        transaction::commit(&mut kernel, desired).map_err(|error| self.note_failed(error))
    }

    fn note_failed(&mut self, error: CommitError) -> Failure {
        let words = error.to_string();
        if !error.left.is_empty() {
            tracing::error!("{words}");
            self.problems.extend(error.left.into_iter().map(|left| format!("not undone: {left}")));
            // Otherwise what is wanted is the way back.
            if !self.managing {
                self.to_restore = Some(Arc::new(*error.before));
            }
        }
        Failure::Refused(words)
    }

    /// Makes the part of the kernel as `desired` that `concerns` picks, or leaves that part as it was.
    fn commit_part(&mut self, desired: &Network, concerns: impl Fn(&Action) -> bool) -> Result<(), Failure> {
        let scope = self.scope(desired);
        let dark = self.hub.dark();
        let mut kernel = Kernel { connection: &mut self.connection, scope: &scope, bridge: BRIDGE, dark };
        match transaction::commit_part(&mut kernel, desired, concerns) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::Refused(error.to_string())),
        }
    }

    fn scope(&self, desired: &Network) -> Scope {
        Scope {
            ports: self.ports.clone(),
            attachments: self.attachments.values().map(|record| record.port.clone()).collect(),
            names: desired.links.keys().cloned().collect(),
            ethtool: desired
                .links
                .iter()
                .filter(|(_, link)| asks_ethtool(link))
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }

    /// Checks a document against the model and this switch.
    pub fn validate(&self, document: &str) -> Result<Config, Vec<Diagnostic>> {
        let config = config::parse(document)?;
        let inventory = Inventory {
            ports: self.ports.clone(),
            attachments: self.attachments.values().map(Record::usage).collect(),
        };
        let mut mistakes = config.admit(&inventory);
        mistakes.extend(quirks::check(&config, &self.devices));
        mistakes.sort();
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// Applies a document whole, or leaves everything as it was. Answers the new generation.
    pub fn apply(
        &mut self,
        document: String,
        base_generation: u64,
        confirm_timeout_s: u32,
    ) -> Result<u64, Failure> {
        if confirm_timeout_s != 0 {
            return Err(Failure::Failed(
                "confirmation is not supported yet: confirm_timeout_s must be 0".to_owned(),
            ));
        }
        if base_generation != 0 && base_generation != self.generation {
            let running = self.generation;
            return Err(Failure::Conflict(format!(
                "the running configuration is generation {running}, the change was made from {base_generation}: look at the new one and apply again"
            )));
        }
        let config = self.validate(&document).map_err(Failure::invalid)?;
        let generation = self.generation.max(self.store.last_generation()) + 1;
        let failed =
            |error: crate::store::StoreError| Failure::Failed(format!("nothing was changed: {error}"));
        let prepared = self.store.prepare(generation, &document).map_err(failed)?;
        let (old_rules, desired) = (self.ruleset.clone(), self.wanted(&config, &self.attachments));
        self.load_rules(&policy::ruleset(&config))?;
        let report = match self.commit(&desired) {
            Ok(report) => report,
            Err(failure) => {
                self.restore_rules(&old_rules);
                return Err(failure);
            }
        };
        if self.refused_startup.is_some() {
            self.store.keep_refused();
        }
        if let Err(error) = prepared.commit() {
            self.restore_rules(&old_rules);
            let undone = self.commit(&report.before).err();
            let undone = undone.map(|failure| format!("; undoing: {}", failure.words())).unwrap_or_default();
            return Err(Failure::Failed(format!("the change was undone: {error}{undone}")));
        }
        self.store.tidy();
        self.desired = desired;
        self.managing = true;
        self.refused_startup = None;
        self.to_restore = None;
        self.problems.clear();
        self.adopt(document, config, generation);
        tracing::info!("generation {generation} applied in {} steps", report.steps);
        Ok(generation)
    }

    fn load_rules(&mut self, rules: &str) -> Result<(), Failure> {
        if rules != self.ruleset {
            // At start, what an earlier run has loaded.
            let previous = std::fs::read_to_string(&self.paths.rules).unwrap_or_default();
            if let Err(error) = policy::load(&self.paths.nft, rules, &previous) {
                // What is loaded now is not known: the next load must not be taken for needless.
                self.ruleset.clear();
                return Err(Failure::Refused(error.to_string()));
            }
            if let Err(error) = write_atomically(&self.paths.rules, rules.as_bytes(), 0o600) {
                tracing::warn!("{}: {error}", self.paths.rules.display());
            }
            rules.clone_into(&mut self.ruleset);
        }
        Ok(())
    }

    fn restore_rules(&mut self, rules: &str) {
        if !rules.is_empty()
            && let Err(failure) = self.load_rules(rules)
        {
            tracing::error!("restoring the control-plane rules: {}", failure.words());
        }
    }

    /// The running document and its generation. With `secrets`, password hashes included.
    pub fn get(&self, secrets: bool) -> Result<(String, u64), Failure> {
        if secrets {
            return Ok((self.document.clone(), self.generation));
        }
        let masked = crate::mask::mask(&self.document, &self.config).ok_or_else(|| {
            Failure::Denied("the running configuration holds password hashes that cannot be masked; ask as an administrator".to_owned())
        })?;
        Ok((masked, self.generation))
    }

    /// What is not as it should be, the gravest first. Empty on a switch that is well.
    pub fn problems(&self) -> Vec<&str> {
        self.refused_startup.iter().chain(&self.problems).map(String::as_str).collect()
    }

    /// What the service manager shows.
    pub fn status(&self) -> String {
        let up =
            self.desired.links.iter().filter(|(name, link)| link.up && self.ports.contains(*name)).count();
        match self.problems().as_slice() {
            [] => format!("generation {}, {up} of {} ports wanted up", self.generation, self.ports.len()),
            [only] => format!("1 problem: {only}"),
            problems @ [first, ..] => format!("{} problems, first: {first}", problems.len()),
        }
    }
}

/// Whether the configuration says how the link talks to its partner.
fn asks_ethtool(link: &Link) -> bool {
    [Setting::Autoneg, Setting::Speed, Setting::FullDuplex, Setting::Fec]
        .iter()
        .any(|setting| link.settings.contains_key(setting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::Reason;

    #[test]
    fn what_a_refused_change_left_behind_is_a_problem_and_is_gone_back_from() {
        for managing in [true, false] {
            let mut engine = Engine::open(Paths::default(), Hub::open().expect("a thread")).expect("netlink");
            engine.managing = managing;
            let before = Network { routes: Vec::new(), ..Network::default() };
            let error = CommitError {
                reason: Reason::Unstable(vec!["swp1: set up".to_owned()]),
                left: vec!["swp1: set mtu 9000".to_owned()],
                before: Box::new(before.clone()),
            };
            engine.note_failed(error);
            assert_eq!(engine.status(), "1 problem: not undone: swp1: set mtu 9000");
            assert_eq!(engine.to_restore, (!managing).then_some(Arc::new(before)));
        }
    }
}
