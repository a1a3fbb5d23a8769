//! A model of the kernel that fails on demand: after any failure the network is as it was before.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::*;
use crate::plan::{Link, LinkKind, Route, RouteKey, RouteTarget};

/// Carries out actions on a [`Network`] in memory; fails the `fail_at`th, and those `refuses` picks.
struct Model {
    network: Network,
    executed: usize,
    fail_at: Option<usize>,
    refuses: fn(&Action) -> bool,
}

impl Model {
    fn new(network: Network, fail_at: Option<usize>) -> Model {
        Model { network, executed: 0, fail_at, refuses: |_| false }
    }

    fn link(&mut self, name: &str) -> Result<&mut Link, KernelError> {
        self.network.links.get_mut(name).ok_or(KernelError::from(Errno::ENODEV))
    }

    fn set_route(&mut self, key: &RouteKey, target: &RouteTarget) {
        self.network.routes.retain(|route| route.key != *key);
        self.network.routes.push(Route { key: key.clone(), target: target.clone() });
    }

    fn carry_out(&mut self, action: &Action) -> Result<(), KernelError> {
        match action {
            Action::CreateLink { name, kind, mac } => {
                let link = Link { mac: mac.clone(), ..Link::new(kind.clone()) };
                match self.network.links.insert(name.clone(), link) {
                    Some(_) => return Err(KernelError::from(Errno::EEXIST)),
                    None => return Ok(()),
                }
            }
            Action::DeleteLink { name, .. } => {
                self.network.links.remove(name);
                for link in self.network.links.values_mut().filter(|link| link.master.as_ref() == Some(name))
                {
                    link.master = None;
                }
            }
            Action::SetBridge { name, vlan_filtering, default_pvid } => {
                let kind = LinkKind::Bridge { vlan_filtering: *vlan_filtering, default_pvid: *default_pvid };
                self.link(name)?.kind = kind;
            }
            Action::SetMtu { name, mtu_bytes, .. } => self.link(name)?.mtu_bytes = Some(*mtu_bytes),
            Action::SetMac { name, mac } => self.link(name)?.mac = Some(mac.clone()),
            Action::SetAlias { name, alias } => self.link(name)?.alias.clone_from(alias),
            Action::SetLinkLocal { name, on } => self.link(name)?.link_local = Some(*on),
            Action::SetMaster { name, master } => {
                self.link(master)?;
                self.link(name)?.master = Some(master.clone());
            }
            Action::ClearMaster { name } => {
                let link = self.link(name)?;
                link.master = None;
                link.vlans.0.clear();
            }
            Action::SetUp { name, .. } => self.link(name)?.up = true,
            Action::SetDown { name } => self.link(name)?.up = false,
            Action::AddVlans { port, first, last, membership, .. } => {
                let vlans = &mut self.link(port)?.vlans.0;
                if membership.pvid {
                    vlans.values_mut().for_each(|other| other.pvid = false);
                }
                vlans.extend((*first..=*last).map(|id| (id, *membership)));
            }
            Action::DeleteVlans { port, first, last, .. } => {
                self.link(port)?.vlans.0.retain(|id, _| !(*first..=*last).contains(id));
            }
            Action::AddAddress { link, address, .. } => self.link(link)?.addresses.push(*address),
            Action::DeleteAddress { link, address } => {
                self.link(link)?.addresses.retain(|own| own != address)
            }
            Action::AddRoute { key, target } | Action::ReplaceRoute { key, target } => {
                self.set_route(key, target)
            }
            Action::DeleteRoute { key, .. } => self.network.routes.retain(|route| route.key != *key),
            Action::AddFdb { key, port } => {
                self.network.fdb.insert(key.clone(), port.clone());
            }
            Action::DeleteFdb { key, .. } => {
                self.network.fdb.remove(key);
            }
        }
        Ok(())
    }
}

impl Backend for Model {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        Ok(self.network.clone())
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        let mut outcomes = Vec::new();
        for action in actions {
            self.executed += 1;
            outcomes.push(if self.fail_at == Some(self.executed) || (self.refuses)(action) {
                Err(KernelError {
                    words: Some("no room in hardware".into()),
                    ..KernelError::from(Errno::ENOSPC)
                })
            } else {
                self.carry_out(action)
            });
        }
        outcomes
    }
}

/// The golden cases of the plan serve as transitions.
fn transitions() -> BTreeMap<String, (Network, Network)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/golden");
    let mut cases = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        let network =
            |file: &str| toml::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap();
        cases.insert(folder.display().to_string(), (network("current.toml"), network("desired.toml")));
    }
    cases
}

fn differences(want: &Network, found: &Network) -> Vec<String> {
    show(&plan(want, found))
}

#[test]
fn every_transition_arrives_and_can_be_taken_back() {
    for (case, (current, desired)) in transitions() {
        let mut model = Model::new(current.clone(), None);
        let report = commit(&mut model, &desired).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(differences(&desired, &model.network), Vec::<String>::new(), "{case}");
        commit(&mut model, &report.before).unwrap_or_else(|error| panic!("{case}: back: {error}"));
        assert_eq!(differences(&current, &model.network), Vec::<String>::new(), "{case}");
    }
}

#[test]
fn whichever_step_fails_the_network_is_as_before_and_the_error_names_the_object() {
    let mut failures = 0;
    for (case, (current, desired)) in transitions() {
        for fail_at in 1..=plan(&desired, &current).len() {
            let mut model = Model::new(current.clone(), Some(fail_at));
            let error = commit(&mut model, &desired)
                .err()
                .unwrap_or_else(|| panic!("{case}: step {fail_at} did not fail"));
            assert!(error.to_string().contains("no room in hardware (ENOSPC)"), "{case}: {error}");
            assert_eq!(error.left, Vec::<String>::new(), "{case}: step {fail_at}");
            assert_eq!(differences(&current, &model.network), Vec::<String>::new(), "{case}: step {fail_at}");
            failures += 1;
        }
    }
    assert!(failures > 50, "only {failures} failures were tried");
}

/// Acknowledges everything and does nothing.
struct Liar(Network);

impl Backend for Liar {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        Ok(self.0.clone())
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        vec![Ok(()); actions.len()]
    }
}

#[test]
fn a_kernel_that_acknowledges_and_does_nothing_is_found_out() {
    let (_, (current, desired)) = transitions().pop_first().unwrap();
    let error = commit(&mut Liar(current.clone()), &desired).unwrap_err();
    assert!(matches!(error.reason, Reason::Unstable(_)), "{error}");
    let (_, failed) = reconcile(&mut Liar(current), &desired).unwrap();
    assert!(failed.iter().any(|step| step.contains("acknowledged but not done")), "{failed:?}");
}

/// A switch with a bridge, a port, and the port of a workload that is not in the bridge yet.
fn before_an_attachment() -> Network {
    let mut network = Network::default();
    let bridge = Link { up: true, ..Link::new(LinkKind::Bridge { vlan_filtering: true, default_pvid: 0 }) };
    network.links.insert("bridge".to_owned(), bridge);
    network.links.insert("swp1".to_owned(), Link::new(LinkKind::Hardware));
    network.links.insert("web-1".to_owned(), Link::new(LinkKind::Veth));
    network
}

/// Wants the workload's port in VLAN 10, and of others what `before_an_attachment` does not have.
fn with_an_attachment() -> Network {
    let mut network = before_an_attachment();
    let port = network.links.get_mut("web-1").unwrap();
    port.up = true;
    port.master = Some("bridge".to_owned());
    port.vlans.0.insert(10, crate::plan::VlanMembership { pvid: true, untagged: true });
    network.links.get_mut("swp1").unwrap().mtu_bytes = Some(9000);
    network
}

#[test]
fn a_part_is_made_though_the_kernel_refuses_something_else() {
    let mut model = Model::new(before_an_attachment(), None);
    model.refuses = |action| action.object() == "swp1";
    commit(&mut model, &with_an_attachment()).expect_err("the whole is refused");
    let report = commit_part(&mut model, &with_an_attachment(), |action| action.object() == "web-1")
        .expect("the part");
    assert_eq!(report.steps, 3);
    let mut expected = with_an_attachment();
    expected.links.get_mut("swp1").unwrap().mtu_bytes = None;
    assert_eq!(model.network, expected);
}

#[test]
fn a_part_that_is_refused_is_undone_and_nothing_else_is_touched() {
    for fail_at in 1..=3 {
        let mut model = Model::new(before_an_attachment(), Some(fail_at));
        let error = commit_part(&mut model, &with_an_attachment(), |action| action.object() == "web-1");
        assert!(error.unwrap_err().left.is_empty());
        assert_eq!(model.network, before_an_attachment(), "step {fail_at}");
    }
}

#[test]
fn what_cannot_be_undone_is_told_with_the_network_to_go_back_to() {
    let mut model = Model::new(before_an_attachment(), None);
    // Takes the port into the bridge and neither up nor out again.
    model.refuses = |action| matches!(action, Action::SetUp { .. } | Action::ClearMaster { .. });
    let error = commit(&mut model, &with_an_attachment()).unwrap_err();
    assert_eq!(error.left, ["web-1: clear master"], "{error}");
    assert_eq!(*error.before, before_an_attachment());
    model.refuses = |_| false;
    let (_, failed) = reconcile(&mut model, &error.before).unwrap();
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(differences(&before_an_attachment(), &model.network), Vec::<String>::new());
}

#[test]
fn repairing_goes_on_past_a_step_that_fails() {
    let (_, (current, desired)) = transitions().pop_first().unwrap();
    let mut model = Model::new(current, Some(2));
    let (repaired, failed) = reconcile(&mut model, &desired).unwrap();
    assert!(!repaired.is_empty());
    assert_eq!(failed, Vec::<String>::new(), "the second round put right what failed once");
    assert_eq!(differences(&desired, &model.network), Vec::<String>::new());
}
