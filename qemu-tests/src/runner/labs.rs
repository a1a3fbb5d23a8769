//! The machines of a run: booted, or cloned of templates that are made once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::chain::{Chain, Provided, Stage};
use super::report::Group;
use super::{Ground, Run, Scenario, Show};
use crate::lab::fabric::{Fabric, FabricTemplate};
use crate::lab::{Bench, Lab, LabTemplate, Origin, Topology};
use crate::scenarios;

/// Processors of templates: a scenario that needs more boots.
pub const TEMPLATE_CPUS: u8 = 1;

/// What is known of a template.
#[derive(Clone)]
enum Known {
    Lab(Arc<LabTemplate>),
    Fabric(Arc<FabricTemplate>),
    /// It cannot be made, or its clones do not start: chains boot instead.
    Unavailable,
}

/// The machines of a run.
pub struct Labs {
    bench: Arc<Bench>,
    seed: u64,
    templates: Mutex<BTreeMap<&'static str, Known>>,
}

/// One switch or several, or none.
pub enum Set {
    /// None.
    Host,
    /// One.
    Lab(Box<Lab>),
    /// Several.
    Fabric(Fabric),
}

impl Labs {
    /// Machines with the host's programs on their disk; the seed decides what bad cables do.
    pub fn new(bench: Bench, seed: u64) -> Labs {
        Labs { bench: Arc::new(bench), seed, templates: Mutex::default() }
    }

    fn known(&self, ground: Ground) -> Option<Known> {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner).get(ground.name()).cloned()
    }

    fn learn(&self, ground: Ground, known: Known) {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner).insert(ground.name(), known);
    }

    /// Whether chains on this kind of machine need not wait for a template any more.
    pub fn is_decided(&self, ground: Ground) -> bool {
        ground.origin() == Origin::Boot || self.known(ground).is_some()
    }

    /// Makes the template of a kind of machine. If that fails, chains boot.
    pub fn make_template(&self, ground: Ground) -> Group {
        let started = Instant::now();
        let mut group = Group::of(&format!("template {}", ground.name()));
        match self.template(ground, &mut group) {
            Ok(known) => self.learn(ground, known),
            Err(error) => self.do_without(ground, "cannot be made", &error),
        }
        group.seconds = started.elapsed().as_secs_f64();
        group
    }

    fn do_without(&self, ground: Ground, what: &str, error: &anyhow::Error) {
        println!("   the template {} {what}, its chains boot instead: {error:#}", ground.name());
        self.learn(ground, Known::Unavailable);
    }

    fn template(&self, ground: Ground, group: &mut Group) -> Result<Known> {
        let topology = match ground {
            Ground::Host => bail!("no machine is needed"),
            Ground::Lab(topology) => topology,
            Ground::Fabric(spec) => {
                group.boots += spec.switches.len() as u32;
                let fabric = Fabric::boot(spec, spec.name, TEMPLATE_CPUS, &self.bench, true)?;
                group.commands += commands(&fabric.switches);
                return Ok(Known::Fabric(Arc::new(fabric.save()?)));
            }
        };
        let lab = match topology.origin() {
            Origin::Derived(base) => {
                let Some(Known::Lab(template)) = self.known(Ground::Lab(base)) else {
                    bail!("the template {} is not there", base.name());
                };
                group.clones += 1;
                template.clone_saveable(topology)?
            }
            Origin::Template | Origin::Boot => {
                group.boots += 1;
                Lab::boot_saveable(topology, TEMPLATE_CPUS, &self.bench)?
            }
        };
        self.prepare(&lab)?;
        group.commands += commands(std::slice::from_ref(&lab));
        Ok(Known::Lab(Arc::new(lab.save()?)))
    }

    /// What a kind of machine has beyond its boot.
    fn prepare(&self, lab: &Lab) -> Result<()> {
        match lab.topology {
            Topology::Containers => scenarios::prepare_containers(lab),
            _ => Ok(()),
        }
    }

    fn cloned(&self, ground: Ground, name: &str) -> Result<Option<Set>> {
        Ok(match self.known(ground) {
            Some(Known::Lab(template)) => Some(Set::Lab(Box::new(LabTemplate::clone_lab(&template, name)?))),
            Some(Known::Fabric(template)) => Some(Set::Fabric(template.clone_fabric(name, self.seed)?)),
            Some(Known::Unavailable) | None => None,
        })
    }

    fn booted(&self, ground: Ground, name: &str, cpus: u8) -> Result<Set> {
        match ground {
            Ground::Host => Ok(Set::Host),
            Ground::Lab(topology) => {
                let lab = Lab::boot(topology, name, cpus, &self.bench)?;
                self.prepare(&lab).context("preparing it")?;
                Ok(Set::Lab(Box::new(lab)))
            }
            Ground::Fabric(spec) => Ok(Set::Fabric(Fabric::boot(spec, name, cpus, &self.bench, false)?)),
        }
    }
}

fn commands(labs: &[Lab]) -> u64 {
    labs.iter().filter_map(|lab| lab.vm.agent().ok()).map(|agent| agent.commands()).sum()
}

impl Set {
    fn labs(&self) -> &[Lab] {
        match self {
            Set::Host => &[],
            Set::Lab(lab) => std::slice::from_ref(&**lab),
            Set::Fabric(fabric) => &fabric.switches,
        }
    }
}

impl Stage for Labs {
    type Set = Set;

    fn set(&self, chain: &Chain, name: &str) -> Result<Provided<Set>> {
        if chain.cpus == TEMPLATE_CPUS {
            match self.cloned(chain.ground, name) {
                Ok(Some(set)) => {
                    let clones = set.labs().len() as u32;
                    return Ok(Provided { set, boots: 0, clones });
                }
                Ok(None) => {}
                Err(error) => self.do_without(chain.ground, "does not restore", &error),
            }
        }
        let set = self.booted(chain.ground, name, chain.cpus)?;
        let boots = set.labs().len() as u32;
        Ok(Provided { set, boots, clones: 0 })
    }

    fn show(&self, scenario: &Scenario, set: &Set, run: &Run) -> Result<String> {
        match (scenario.show, set) {
            (Show::Harness(show), Set::Host) => show(run),
            (Show::Lab(show), Set::Lab(lab)) => show(lab, run),
            (Show::Fabric(show), Set::Fabric(fabric)) => show(fabric, run),
            _ => bail!("{} is shown on something else", scenario.name),
        }
    }

    fn discard_afterwards(&self, set: &Set) {
        set.labs().iter().for_each(Lab::discard_afterwards);
    }

    fn is_well(&self, set: &Set) -> Result<()> {
        match set {
            Set::Host => Ok(()),
            Set::Lab(lab) => lab.is_well(),
            Set::Fabric(fabric) => fabric.is_well(),
        }
    }

    fn about(&self, set: &Set) -> (String, u64) {
        let logs: Vec<String> = set.labs().iter().map(Lab::serial_log).collect();
        (logs.join(", "), commands(set.labs()))
    }
}
