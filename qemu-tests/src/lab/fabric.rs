//! Several switches with cables between them.
//!
//! Each switch has a template of a boot of its own, since clones of one template have the same hardware addresses and
//! the same machine id. The switches of a template were saved as they stood at the same time, once they had found each
//! other.

use std::sync::Arc;

use anyhow::{Context, Result};
use qemu_tests::frame::Mac;
use qemu_tests::host::{Host, HostConfig};
use qemu_tests::machine::{Cable, Machine};
use qemu_tests::patch::{self, Patch};
use tempfile::TempDir;

use super::ssh::Key;
use super::{Bench, Lab, LabTemplate, Topology, documents};

/// A kind of fabric.
pub struct Spec {
    /// Name, also that of log files.
    pub name: &'static str,
    /// Its switches.
    pub switches: &'static [Switch],
    /// Its cables.
    pub links: &'static [Link],
    /// Waits until the switches have found each other.
    pub converged: fn(&Fabric) -> Result<()>,
}

/// A switch of a fabric.
pub struct Switch {
    /// Name, also its host name.
    pub name: &'static str,
    /// Front-panel ports.
    pub ports: u16,
    /// What it is provisioned with, beside its name and who may log in.
    pub document: &'static str,
}

/// A cable between two switches.
pub struct Link {
    /// One end: the number of a switch, from 0, and of its port, from 1.
    pub a: (usize, u16),
    /// The other end.
    pub b: (usize, u16),
    /// Whether the cable can be made bad.
    pub patched: bool,
}

impl Spec {
    fn document(&self, number: usize, public_key: &str) -> String {
        let Switch { name, document, .. } = &self.switches[number];
        let users = documents::users(public_key);
        format!("version = 1\n\n[system]\nhostname = \"{name}\"\n\n{users}\n{document}")
    }
}

/// The cables of a fabric: those of each switch, and the patches among them.
struct Cabling {
    of_switches: Vec<Vec<(u16, Cable)>>,
    patches: Vec<Option<Patch>>,
    folder: TempDir,
}

impl Cabling {
    fn new(spec: &Spec, seed: u64) -> Result<Cabling> {
        let folder = tempfile::Builder::new().prefix("fab-").tempdir().context("no temporary folder")?;
        let mut of_switches: Vec<Vec<(u16, Cable)>> = spec.switches.iter().map(|_| Vec::new()).collect();
        let mut patches = Vec::new();
        for (number, link) in spec.links.iter().enumerate() {
            let name = format!("l{number}");
            let cables = if link.patched {
                patch::cables(folder.path(), &name)
            } else {
                patch::direct(folder.path(), &name)
            };
            patches.push(
                link.patched
                    .then(|| Patch::new(&name, &cables, seed.wrapping_add(2 * number as u64)))
                    .transpose()?,
            );
            for ((switch, port), cable) in [link.a, link.b].into_iter().zip(cables) {
                of_switches[switch].push((port, cable));
            }
        }
        Ok(Cabling { of_switches, patches, folder })
    }

    fn plug(&self, switch: usize, machine: Machine) -> Machine {
        self.of_switches[switch]
            .iter()
            .fold(machine, |machine, (port, cable)| machine.cable(*port, cable.clone()))
    }
}

/// Running switches with cables between them.
pub struct Fabric {
    // The switches end before their cables.
    /// The switches.
    pub switches: Vec<Lab>,
    spec: &'static Spec,
    patches: Vec<Option<Patch>>,
    _folder: TempDir,
}

/// A fabric that was saved.
pub struct FabricTemplate {
    spec: &'static Spec,
    switches: Vec<LabTemplate>,
}

impl Fabric {
    /// Boots the switches side by side, and waits until they have found each other.
    pub fn boot(
        spec: &'static Spec,
        name: &str,
        cpus: u8,
        bench: &Arc<Bench>,
        saveable: bool,
    ) -> Result<Fabric> {
        let cabling = Cabling::new(spec, 0)?;
        let mut booting = Vec::new();
        for (number, switch) in spec.switches.iter().enumerate() {
            let key = Key::generate()?;
            let document = spec.document(number, &key.public);
            let change = |machine: Machine| {
                let machine = machine.name(&format!("{name}-{}", switch.name)).ports(switch.ports).cpus(cpus);
                let machine = cabling.plug(number, machine.number(number as u8 + 1));
                if saveable { machine.saveable() } else { machine }
            };
            booting.push(Lab::start(Topology::Member, Some(document), key, bench, change)?);
        }
        let switches = booting.into_iter().map(super::Booting::finish).collect::<Result<Vec<_>>>()?;
        if saveable {
            switches.iter().try_for_each(Lab::settle)?;
        }
        let Cabling { patches, folder, .. } = cabling;
        let fabric = Fabric { switches, spec, patches, _folder: folder };
        (spec.converged)(&fabric)
            .with_context(|| format!("the switches of {} do not find each other", spec.name))?;
        Ok(fabric)
    }

    /// Saves it as it stands.
    pub fn save(self) -> Result<FabricTemplate> {
        self.switches.iter().try_for_each(|switch| switch.vm.pause())?;
        let Fabric { switches, spec, patches, _folder } = self;
        let switches = switches.into_iter().map(Lab::save).collect::<Result<_>>()?;
        drop(patches);
        Ok(FabricTemplate { spec, switches })
    }

    /// The patch in a cable.
    pub fn patch(&self, link: usize) -> Result<&Patch> {
        let patch = self.patches.get(link).and_then(Option::as_ref);
        patch.with_context(|| format!("cable {link} of {} cannot be made bad", self.spec.name))
    }

    /// Pulls a cable out at both ends, or plugs it in again: the ports lose their carrier.
    pub fn set_link(&self, link: usize, up: bool) -> Result<()> {
        let Link { a, b, .. } = &self.spec.links[link];
        [a, b].into_iter().try_for_each(|(switch, port)| self.switches[*switch].vm.set_link(*port, up))
    }

    /// A host on a port of a switch.
    pub fn host(
        &self,
        switch: usize,
        port: u16,
        config: impl FnOnce(HostConfig) -> HostConfig,
    ) -> Result<Host> {
        let name = format!("host on swp{port} of {}", self.spec.switches[switch].name);
        let mac = Fabric::mac_of_host(switch, port);
        Host::start(self.switches[switch].vm.wire(port)?, config(HostConfig::new(&name, mac)))
    }

    /// The hardware address of a host.
    pub fn mac_of_host(switch: usize, port: u16) -> Mac {
        Mac::of_host(1000 * (switch as u16 + 1) + port)
    }

    /// Whether the switches are fit for the next scenario.
    pub fn is_well(&self) -> Result<()> {
        let named = |switch: &Lab| switch.is_well().with_context(|| switch.vm.name().to_owned());
        self.switches.iter().try_for_each(named)
    }
}

impl FabricTemplate {
    /// Clones of all switches, cabled anew.
    pub fn clone_fabric(&self, name: &str, seed: u64) -> Result<Fabric> {
        let cabling = Cabling::new(self.spec, seed)?;
        let clone = |(number, template): (usize, &LabTemplate)| {
            let name = format!("{name}-{}", self.spec.switches[number].name);
            template.clone_with(&name, |machine| cabling.plug(number, machine))
        };
        let switches = self.switches.iter().enumerate().map(clone).collect::<Result<_>>()?;
        let Cabling { patches, folder, .. } = cabling;
        Ok(Fabric { switches, spec: self.spec, patches, _folder: folder })
    }
}
