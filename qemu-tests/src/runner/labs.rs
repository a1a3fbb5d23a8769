//! The machines of a run: booted, or cloned of templates that are made once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use qemu_tests::results::Group;
use qemu_tests::waiting;

use super::chain::{Chain, Cost, Stage, guarded};
use super::{Ground, Kind, Run, Scenario, Show};
use crate::lab::fabric::{Fabric, FabricTemplate};
use crate::lab::{Bench, Lab, LabTemplate, Origin, Topology};
use crate::scenarios;

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
    templates: Mutex<BTreeMap<String, Known>>,
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

    fn known(&self, kind: Kind) -> Option<Known> {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner).get(&kind.name()).cloned()
    }

    fn learn(&self, kind: Kind, known: Known) {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.name(), known);
    }

    /// Whether chains on this kind of machine need not wait for a template any more.
    pub fn is_decided(&self, kind: Kind) -> bool {
        kind.ground.origin() == Origin::Boot || self.known(kind).is_some()
    }

    /// Makes the template of a kind of machine. If that fails, chains boot.
    pub fn make_template(&self, kind: Kind) -> Group {
        let started = Instant::now();
        let mut group = Group::of(&format!("template {}", kind.name()));
        waiting::take();
        match guarded(|| self.template(kind, &mut group)) {
            Ok(known) => self.learn(kind, known),
            Err(error) => group.notes.push(self.do_without(kind, "cannot be made", &error)),
        }
        group.seconds = started.elapsed().as_secs_f64();
        group.waited_s = waiting::take().as_secs_f64();
        group
    }

    /// Has chains boot from now on; answers what to say of it.
    fn do_without(&self, kind: Kind, what: &str, error: &anyhow::Error) -> String {
        self.learn(kind, Known::Unavailable);
        format!("the template {} {what}, its chains boot instead: {error:#}", kind.name())
    }

    fn template(&self, kind: Kind, group: &mut Group) -> Result<Known> {
        let topology = match kind.ground {
            Ground::Host => bail!("no machine is needed"),
            Ground::Lab(topology) => topology,
            Ground::Fabric(spec) => {
                group.boots += kind.ground.machines();
                let fabric = Fabric::boot(spec, &file_name(&kind.name()), kind.cpus, &self.bench, true)?;
                cost(&fabric.switches).add_to(group);
                return Ok(Known::Fabric(Arc::new(fabric.save()?)));
            }
        };
        let lab = match topology.origin() {
            Origin::Derived(base) => {
                let Some(Known::Lab(template)) = self.known(Kind { ground: Ground::Lab(base), ..kind })
                else {
                    bail!("the template {} is not there", base.name());
                };
                group.clones += 1;
                template.clone_saveable(topology)?
            }
            Origin::Template | Origin::Boot => {
                group.boots += 1;
                Lab::boot_saveable(topology, &file_name(&kind.name()), kind.cpus, &self.bench)?
            }
        };
        self.prepare(&lab)?;
        cost(std::slice::from_ref(&lab)).add_to(group);
        Ok(Known::Lab(Arc::new(lab.save()?)))
    }

    /// What a kind of machine has beyond its boot.
    fn prepare(&self, lab: &Lab) -> Result<()> {
        match lab.topology {
            Topology::Containers => scenarios::prepare_containers(lab),
            _ => Ok(()),
        }
    }

    fn cloned(&self, kind: Kind, name: &str) -> Result<Set> {
        match self.known(kind) {
            Some(Known::Lab(template)) => Ok(Set::Lab(Box::new(LabTemplate::clone_lab(&template, name)?))),
            Some(Known::Fabric(template)) => Ok(Set::Fabric(template.clone_fabric(name, self.seed)?)),
            Some(Known::Unavailable) | None => bail!("there is no template {}", kind.name()),
        }
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

/// How a chain may get its machine.
struct Ways<'a, S> {
    has_template: bool,
    clone: &'a dyn Fn() -> Result<S>,
    boot: &'a dyn Fn() -> Result<S>,
    /// Has chains boot from now on; answers what to say of it.
    do_without: &'a dyn Fn(&anyhow::Error) -> String,
}

impl<S> Ways<'_, S> {
    /// Gets it: so many machines, each try of which is counted.
    fn machine(&self, count: u32, group: &mut Group) -> Result<S> {
        if self.has_template {
            // A machine that comes too late on a busy host says nothing of its template: it is tried once more.
            for again in [false, true] {
                group.clones += count;
                match (self.clone)() {
                    Ok(set) => return Ok(set),
                    Err(error) if again => group.notes.push((self.do_without)(&error)),
                    Err(_) => {}
                }
            }
        }
        group.boots += count;
        (self.boot)()
    }
}

/// A name without blanks and commas, for logs and QEMU's command line.
fn file_name(name: &str) -> String {
    name.replace(", ", "-").replace(' ', "-")
}

pub fn cost(labs: &[Lab]) -> Cost {
    let agents = labs.iter().filter_map(|lab| lab.vm.agent().ok());
    Cost {
        commands: agents.map(|agent| agent.commands()).sum(),
        cpu_s: labs.iter().map(|lab| lab.vm.cpu_time().as_secs_f64()).sum(),
    }
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

    fn set(&self, chain: &Chain, name: &str, group: &mut Group) -> Result<Set> {
        let kind = chain.kind();
        let count = kind.ground.machines();
        let ways = Ways {
            has_template: matches!(self.known(kind), Some(Known::Lab(_) | Known::Fabric(_))),
            clone: &|| self.cloned(kind, name),
            boot: &|| self.booted(kind.ground, name, kind.cpus),
            do_without: &|error| self.do_without(kind, "does not restore", error),
        };
        ways.machine(count, group)
    }

    fn show(&self, scenario: &Scenario, set: &Set, run: &Run) -> Result<String> {
        match (scenario.show, set) {
            (Show::Harness(show), Set::Host) => show(run),
            (Show::Lab(show), Set::Lab(lab)) => show(lab, run),
            (Show::Fabric(show), Set::Fabric(fabric)) => show(fabric, run),
            _ => bail!("{} is shown on something else", scenario.name),
        }
    }

    fn is_well(&self, set: &Set) -> Result<()> {
        match set {
            Set::Host => Ok(()),
            Set::Lab(lab) => lab.is_well(),
            Set::Fabric(fabric) => fabric.is_well(),
        }
    }

    fn log(&self, set: &Set) -> String {
        set.labs().iter().map(Lab::serial_log).collect::<Vec<_>>().join(", ")
    }

    fn cost(&self, set: &Set) -> Cost {
        cost(set.labs())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How a chain gets its machine of two switches whose template restores at that try.
    fn got(restores_at: u32) -> (Result<&'static str>, Group) {
        let tries = Cell::new(0);
        let clone = || {
            tries.set(tries.get() + 1);
            if tries.get() == restores_at { Ok("cloned") } else { bail!("QEMU did not take a saved state") }
        };
        let ways = Ways {
            has_template: true,
            clone: &clone,
            boot: &|| Ok("booted"),
            do_without: &|error| format!("its chains boot instead: {error:#}"),
        };
        let mut group = Group::of("chain");
        (ways.machine(2, &mut group), group)
    }

    #[test]
    fn chain_whose_template_does_not_restore_boots_and_says_why() {
        let (set, group) = got(3);
        assert_eq!(set.unwrap(), "booted");
        assert_eq!((group.clones, group.boots), (4, 2), "each try is counted");
        assert_eq!(group.notes, ["its chains boot instead: QEMU did not take a saved state"]);
    }

    #[test]
    fn template_that_restores_at_the_second_try_is_kept() {
        let (set, group) = got(2);
        assert_eq!(set.unwrap(), "cloned");
        assert_eq!((group.clones, group.boots, group.notes.len()), (4, 0, 0));
    }

    #[test]
    fn chain_without_a_template_boots() {
        let boot = || -> Result<()> { bail!("it does not boot") };
        let never = || bail!("nothing is cloned");
        let ways = Ways { has_template: false, clone: &never, boot: &boot, do_without: &|_| String::new() };
        let mut group = Group::of("chain");
        assert!(ways.machine(1, &mut group).is_err());
        assert_eq!((group.clones, group.boots, group.notes.len()), (0, 1, 0), "a boot that fails is counted");
    }
}
