//! The engine: holds what is wanted, changes the kernel to it, and answers what is asked over D-Bus.
//!
//! It is synchronous and runs on one thread; [`crate::daemon`] drives it with requests and events. Start
//! reading at [`Engine::start`] and [`Engine::apply`].

mod attachments;
mod breakout;
mod carriers;
pub mod changes;
mod comparing;
mod drift;
mod history;
mod hosts;
mod limits;
mod objects;
mod originals;
mod places;
mod problems;
mod queries;
mod route_alarms;
mod startup;
mod step_words;
mod storage;
mod system;
pub mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use netd_api::config::Config;
use netd_api::config::model::Inventory;
use netd_api::diagnostic::Diagnostic;
use netd_api::paths;

use crate::alarms::Alarms;
use crate::announce::Announcer;
use crate::attach::{Record, derive_mac, records};
use crate::desired::{self, BRIDGE, Inputs};
use crate::engine::changes::Document;
use crate::engine::problems::{Drift, Problem};
use crate::events::Hub;
use crate::failure::Failure;
use crate::kernel::bus::Sysfs;
use crate::kernel::snapshot::{Hosts, Scope};
use crate::kernel::unreported::Unreported;
use crate::kernel::{Connection, KernelError, link};
use crate::plan::{Action, LINK_MODES, Link, Network, RouteKey, Settings};
use crate::platform::{Device, Naming};
use crate::store::disk::{Disk, Files};
use crate::store::record::Pending;
use crate::store::{Store, write_atomically};
use crate::transaction::{self, Backend, CommitError, Kernel};
use crate::{policy, quirks, rights};

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
    /// How ports were set before netd set them.
    pub link_modes: PathBuf,
    /// What was wrong when netd ended.
    pub alarms: PathBuf,
    /// The partition of images and logs.
    pub data: PathBuf,
    /// Where ports were seen.
    pub ports: PathBuf,
    /// Where sysfs is, which tells where ports are.
    pub sysfs: PathBuf,
    /// What there was before the change that waits.
    pub comparison: PathBuf,
    /// The program that loads the rules.
    pub nft: PathBuf,
}

/// Where netd notes the control-plane rules it has loaded; nobody else reads it.
const RULES: &str = "/run/corten/control-plane.nft";
/// Where netd remembers which port is where: with the configuration, so that a factory reset clears it.
const PORTS_FILE: &str = "/var/lib/corten/netd/ports.json";
/// Where the partition of images and logs is.
const DATA_FOLDER: &str = "/data";
/// Where netd notes what is wrong, for its next start.
const ALARMS_FILE: &str = "/run/corten/alarms.json";
/// Where netd notes how ports were set before.
const LINK_MODES_FILE: &str = "/run/corten/link-modes.json";
/// Where netd notes what there was before the change that waits: for this boot, as the change itself.
const COMPARISON_FILE: &str = "/run/corten/comparison.json";

impl Default for Paths {
    fn default() -> Self {
        Paths {
            startup: paths::STARTUP_CONFIG.into(),
            running: paths::RUNNING_CONFIG.into(),
            attachments: paths::ATTACHMENTS_DIR.into(),
            link_modes: LINK_MODES_FILE.into(),
            alarms: ALARMS_FILE.into(),
            data: DATA_FOLDER.into(),
            ports: PORTS_FILE.into(),
            sysfs: "/sys".into(),
            platforms: paths::PLATFORMS_DIR.into(),
            rules: RULES.into(),
            comparison: COMPARISON_FILE.into(),
            nft: policy::NFT.into(),
        }
    }
}

/// What takes the place of the kernel's network and of the file system where netd keeps configurations: so that models
/// that fail can prove what is around them.
#[derive(Default)]
pub struct Fakes {
    /// The kernel's network.
    pub backend: Option<Box<dyn Backend>>,
    /// The file system.
    pub disk: Option<Box<dyn Disk>>,
}

/// The engine.
pub struct Engine {
    hub: Hub,
    /// Tells hosts of addresses, and hears who else uses them.
    announcer: Announcer,
    /// Ports of the bridge that forwarded at the last look, each with how often it had got its carrier.
    forwarding: BTreeMap<u32, u32>,
    /// Links that came or went since the last look.
    flapped: drift::Flapped,
    /// Whether the kernel was as wanted once.
    settled: bool,
    /// What somebody else changed and is only reported.
    drift: Vec<Drift>,
    connection: Connection,
    /// What takes the kernel's place, in tests.
    stand_in: Option<Box<dyn Backend>>,
    paths: Paths,
    store: Store<Box<dyn Disk>>,
    naming: Naming,
    devices: Vec<Device>,
    ports: BTreeSet<String>,
    /// Hardware addresses the ports were born with.
    permanent_macs: BTreeMap<String, String>,
    /// How ports were set before netd set them, see [`originals`].
    original_modes: BTreeMap<String, Settings>,
    /// What netd set of that and drivers do not tell.
    unreported: Unreported,
    /// Hardware addresses of ports when they were first seen, where drivers tell no permanent one.
    first_macs: BTreeMap<String, String>,
    bridge_mac: String,
    /// The running document, its meaning and its generation.
    document: String,
    config: Arc<Config>,
    generation: u64,
    /// The generation of the startup document; another one than the running while that is not confirmed.
    confirmed: u64,
    /// The running generation, while it waits for its confirmation.
    pending: Option<Pending>,
    /// What it did to the network; `None` where that is not known.
    comparing: Option<comparing::Comparing>,
    /// What the next transaction is to see of hosts, before a change that is to be confirmed.
    hosts: Option<Hosts>,
    /// When it was applied, by CLOCK_BOOTTIME; 0 for before this start of netd.
    pending_since_ns: u64,
    /// When, by CLOCK_BOOTTIME, this start of netd ended well; `None` when that is noted.
    stable_at_ns: Option<u64>,
    /// Whether the last change that failed left something behind that could not be undone.
    undo_left: bool,
    /// False while no valid configuration was found: the kernel is left as it is until one is applied.
    managing: bool,
    attachments: BTreeMap<String, Record>,
    desired: Arc<Network>,
    /// The links that the last change was about.
    changed: BTreeSet<String>,
    /// The control-plane rules that are loaded; empty while none are.
    ruleset: String,
    /// Why the startup document is not what runs, until a configuration is applied.
    refused_startup: Option<String>,
    /// The network to go back to while nothing is managed: what undoing a first change did not reach.
    to_restore: Option<Arc<Network>>,
    /// Whether routes go by next hop objects; a driver may refuse them.
    next_hop_objects: bool,
    /// What is wrong, and since when.
    alarms: Alarms,
    /// How full the tables are that hosts fill.
    limits: limits::Limits,
    /// Routes that are meant for the hardware and are not in it, with what it said.
    failed_routes: BTreeMap<RouteKey, &'static str>,
    /// Whether some are new or gone that alarms do not tell yet.
    failed_routes_changed: bool,
    /// Whether the hardware may have said something that was not heard.
    unheard: bool,
    /// What could not be done.
    problems: Vec<Problem>,
}

impl Engine {
    /// Names the ports, reads the startup document and makes the network as it says. What is right
    /// already is not touched, so a restart changes nothing. For a document that is not valid the newest
    /// generation that is steps in; without one the kernel is left as it is.
    ///
    /// # Errors
    /// When the kernel cannot be spoken to. Nothing was counted or changed then, and it may be tried again.
    pub fn start(paths: Paths, hub: Hub) -> Result<Engine, KernelError> {
        Engine::start_with(paths, hub, Fakes::default())
    }

    /// As [`Engine::start`], with a fake of the kernel's network.
    pub fn start_on(
        paths: Paths,
        hub: Hub,
        backend: Option<Box<dyn Backend>>,
    ) -> Result<Engine, KernelError> {
        Engine::start_with(paths, hub, Fakes { backend, disk: None })
    }

    /// As [`Engine::start`], with fakes.
    pub fn start_with(paths: Paths, hub: Hub, fakes: Fakes) -> Result<Engine, KernelError> {
        let disk = fakes.disk.unwrap_or_else(|| Box::new(Files));
        let mut engine = Engine { stand_in: fakes.backend, ..Engine::open(paths, hub, disk)? };
        engine.name_devices()?;
        engine.bridge_mac = engine.choose_bridge_mac()?;
        engine.attachments = records::load(&engine.paths.attachments);
        engine.drop_lost_attachments()?;
        engine.adopt_inline_routes()?;
        // From here on this start counts against the configuration; so nothing may fail any more that is no fault of it.
        engine.read_configuration();
        engine.check_records();
        engine.desired = engine.wanted(&engine.config, &engine.attachments);
        engine.resume_pending();
        // Rules first: no port may be up without them.
        engine.look();
        engine.wait_for_stability();
        Ok(engine)
    }

    /// An engine that has not looked at anything yet.
    fn open(paths: Paths, hub: Hub, disk: Box<dyn Disk>) -> Result<Engine, KernelError> {
        let link_modes = originals::load(&paths.link_modes);
        let alarms = Alarms::load(hub.clone(), &paths.alarms);
        Ok(Engine {
            announcer: Announcer::new(hub.clone()),
            forwarding: BTreeMap::new(),
            hub,
            flapped: drift::Flapped::default(),
            settled: false,
            drift: Vec::new(),
            connection: Connection::open()?,
            stand_in: None,
            original_modes: link_modes.original,
            unreported: link_modes.unreported,
            first_macs: link_modes.macs,
            store: Store::on(disk, &paths.startup, &paths.running),
            naming: Naming::load(Sysfs::at(&paths.sysfs), &paths.platforms, &paths.ports),
            paths,
            devices: Vec::new(),
            ports: BTreeSet::new(),
            permanent_macs: BTreeMap::new(),
            bridge_mac: String::new(),
            document: FACTORY_DOCUMENT.to_owned(),
            config: Arc::default(),
            generation: 0,
            confirmed: 0,
            pending: None,
            comparing: None,
            hosts: None,
            pending_since_ns: 0,
            stable_at_ns: None,
            undo_left: false,
            managing: false,
            attachments: BTreeMap::new(),
            desired: Arc::default(),
            changed: BTreeSet::new(),
            ruleset: String::new(),
            refused_startup: None,
            to_restore: None,
            next_hop_objects: true,
            alarms,
            limits: limits::Limits::default(),
            failed_routes: BTreeMap::new(),
            failed_routes_changed: false,
            unheard: true,
            problems: Vec::new(),
        })
    }

    /// Which netlink socket changes come from.
    pub fn port_id(&self) -> Result<u32, KernelError> {
        self.connection.port_id()
    }

    /// The bridge's address stays what it is; a new one follows from the machine's own, so that it is
    /// the same after every boot whatever ports there are.
    fn choose_bridge_mac(&mut self) -> Result<String, KernelError> {
        let links = link::dump(&mut self.connection, false)?;
        if let Some(bridge) = links.iter().find(|link| link.name == BRIDGE && link.kind == "bridge") {
            return Ok(bridge.mac.clone());
        }
        let seed = self
            .naming
            .base_mac(&self.devices)
            .or_else(|| Some(std::fs::read_to_string("/etc/machine-id").ok()?.trim().to_owned()))
            .unwrap_or_default();
        Ok(crate::kernel::wire::read_mac(&derive_mac(&seed, "bridge")))
    }

    fn adopt(&mut self, document: String, config: Config, generation: u64) {
        if let Err(error) = self.store.publish(&document) {
            tracing::error!("publishing the running configuration: {error}");
        }
        self.tell_rights(&config);
        self.hub.bound_event_states(config.system.most_event_states);
        self.document = document;
        self.config = Arc::new(config);
        self.generation = generation;
    }

    /// Tells the bus what users may do from now on: `config` is about to run.
    fn tell_rights(&self, config: &Config) {
        // What ran before is the confirmed one as a rule, and need not be read again.
        let parsed = match &self.pending {
            Some(pending) if pending.previous != self.generation => {
                self.store.past(pending.previous).ok().and_then(|text| netd_api::config::parse(&text).ok())
            }
            _ => None,
        };
        rights::set(config, self.pending.as_ref().map(|_| parsed.as_ref().unwrap_or(self.config.as_ref())));
    }

    fn wanted(&self, config: &Config, attachments: &BTreeMap<String, Record>) -> Arc<Network> {
        Arc::new(desired::network(&Inputs {
            config,
            ports: &self.ports,
            permanent_macs: &self.permanent_macs,
            original_modes: &self.original_modes,
            set_modes: self.unreported.settings(),
            attachments,
            bridge_mac: &self.bridge_mac,
            objects: self.next_hop_objects,
        }))
    }

    /// Has work done with the kernel's network, as far as `desired` is about it.
    fn with_kernel<T>(&mut self, desired: &Network, work: impl FnOnce(&mut Box<dyn Backend + '_>) -> T) -> T {
        let (scope, dark) = (self.scope(desired), self.hub.dark());
        let (unreported, hosts) = (&mut self.unreported, self.hosts.as_mut());
        work(&mut backend(&mut self.stand_in, &mut self.connection, &scope, dark, unreported, hosts))
    }

    /// Makes the kernel as `desired`, or leaves it as it was. What undoing did not reach is a problem from
    /// then on, and the next looks try to remove it. `config` is what the wish comes from.
    fn commit(&mut self, desired: &Network, config: &Config) -> Result<transaction::Report, Failure> {
        self.attempt(desired).map_err(|error| self.note_failed(error, config))
    }

    /// The same, for who has another way when it does not come about.
    fn attempt(&mut self, desired: &Network) -> Result<transaction::Report, CommitError> {
        let known = self.unreported.clone();
        let outcome = self.with_kernel(desired, |kernel| transaction::commit(kernel, desired));
        self.save_link_modes_unless(&known);
        outcome
    }

    fn note_failed(&mut self, error: CommitError, config: &Config) -> Failure {
        let words = places::words(config, &error, &self.devices);
        if !error.left.is_empty() {
            tracing::error!("{words}");
            self.undo_left = true;
            self.problems.extend(error.left.iter().map(|left| Problem::left(left)));
            // Otherwise what is wanted is the way back.
            if !self.managing {
                self.to_restore = Some(Arc::new(*error.before));
            }
            self.tell_health();
        }
        Failure::Refused(words)
    }

    /// Everything is as wanted, so what could not be undone is undone by now.
    fn all_undone(&mut self) {
        self.to_restore = None;
        if std::mem::take(&mut self.undo_left) {
            self.store.settle();
        }
    }

    /// Makes the part of the kernel as `desired` that `concerns` picks, or leaves that part as it was.
    fn commit_part(&mut self, desired: &Network, concerns: impl Fn(&Action) -> bool) -> Result<(), Failure> {
        let done = self.with_kernel(desired, |kernel| transaction::commit_part(kernel, desired, concerns));
        done.map(|_| ()).map_err(|error| Failure::Refused(error.to_string()))
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
    pub fn validate(&self, document: impl Into<Document>) -> Result<Config, Vec<Diagnostic>> {
        self.admit(document.into().config)
    }

    /// Checks what a document means against this switch.
    fn admit(&self, config: Result<Config, Vec<Diagnostic>>) -> Result<Config, Vec<Diagnostic>> {
        let config = config?;
        let inventory = Inventory {
            // What is set of a port that is missing is carried out once it is back.
            ports: self.ports.union(&self.naming.remembered_ports()).cloned().collect(),
            attachments: self.attachments.values().map(Record::usage).collect(),
        };
        let mut mistakes = config.admit(&inventory);
        mistakes.extend(quirks::check(&config, &self.devices));
        mistakes.sort();
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    fn load_rules(&mut self, rules: &str) -> Result<(), Failure> {
        if rules != self.ruleset {
            // At start, what an earlier run has loaded, or was about to when it ended.
            let previous = std::fs::read_to_string(&self.paths.rules).unwrap_or_default();
            self.note_rules(&policy::either(&previous, rules));
            if let Err(error) = policy::load(&self.paths.nft, rules, &previous) {
                // What is loaded now is not known: the next load must not be taken for needless.
                self.ruleset.clear();
                return Err(Failure::Refused(error.to_string()));
            }
            self.note_rules(rules);
            rules.clone_into(&mut self.ruleset);
        }
        Ok(())
    }

    fn note_rules(&self, rules: &str) {
        if let Err(error) = write_atomically(&self.paths.rules, rules.as_bytes(), 0o600) {
            tracing::warn!("{}: {error}", self.paths.rules.display());
        }
    }

    fn restore_rules(&mut self, rules: &str) {
        if !rules.is_empty()
            && let Err(failure) = self.load_rules(rules)
        {
            tracing::error!("restoring the control-plane rules: {}", failure.words());
        }
    }
}

/// The kernel's network, or what takes its place.
fn backend<'a>(
    stand_in: &'a mut Option<Box<dyn Backend>>,
    connection: &'a mut Connection,
    scope: &'a Scope,
    dark: BTreeSet<String>,
    unreported: &'a mut Unreported,
    hosts: Option<&'a mut Hosts>,
) -> Box<dyn Backend + 'a> {
    match stand_in {
        Some(stand_in) => Box::new(&mut **stand_in),
        None => Box::new(Kernel::new(connection, scope, BRIDGE, dark, unreported).seeing(hosts)),
    }
}

/// Whether the configuration says how the link talks to its partner.
fn asks_ethtool(link: &Link) -> bool {
    LINK_MODES.iter().any(|setting| link.settings.contains_key(setting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::Reason;

    #[test]
    fn what_a_refused_change_left_behind_is_a_problem_and_is_gone_back_from() {
        for managing in [true, false] {
            let hub = Hub::open().expect("a thread");
            let mut engine = Engine::open(Paths::default(), hub, Box::new(Files)).expect("netlink");
            engine.managing = managing;
            let before = Network { routes: Vec::new(), ..Network::default() };
            let error = CommitError {
                reason: Reason::Unstable(vec!["swp1: set up".to_owned()]),
                left: vec!["swp1: set mtu 9000".to_owned()],
                before: Box::new(before.clone()),
            };
            engine.note_failed(error, &Config::default());
            assert_eq!(engine.status(), "degraded: not undone: swp1: set mtu 9000");
            assert_eq!(engine.health().state, netd_api::generation::Health::Degraded);
            let alarms = engine.alarms.rows();
            assert_eq!(
                (alarms[0].object.as_str(), alarms[0].text.as_str()),
                ("swp1", "not undone: set mtu 9000")
            );
            assert_eq!(engine.to_restore, (!managing).then_some(Arc::new(before)));
        }
    }
}
