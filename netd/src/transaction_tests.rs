//! A model of the kernel that fails on demand: after any failure the network is as it was before.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::*;
use crate::plan::{Link, LinkKind, Route, Setting, VlanMembership, read_network};

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

    fn carry_out(&mut self, action: &Action) -> Result<(), KernelError> {
        match action {
            Action::CreateLink { name, kind, settings } => {
                let link = Link { settings: settings.clone(), ..Link::new(kind.clone()) };
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
            Action::Set { link, setting, value, .. } => {
                self.link(link)?.settings.insert(*setting, value.clone());
            }
            Action::SetMaster { name, master } => {
                self.link(master)?;
                self.link(name)?.master = Some(master.clone());
            }
            Action::ClearMaster { name } => {
                let link = self.link(name)?;
                link.master = None;
                link.vlans = Default::default();
            }
            Action::SetUp { name, .. } => self.link(name)?.up = true,
            Action::SetDown { name } => self.link(name)?.up = false,
            Action::AddVlans { port, first, last, membership, .. } => {
                let vlans = &mut self.link(port)?.vlans;
                if membership.pvid {
                    let old = vlans.runs().iter().find(|run| run.membership.pvid).copied();
                    if let Some(old) = old {
                        vlans.insert(old.first, old.last, VlanMembership { pvid: false, ..old.membership });
                    }
                }
                vlans.insert(*first, *last, *membership);
            }
            Action::DeleteVlans { port, first, last, .. } => self.link(port)?.vlans.remove(*first, *last),
            Action::AddAddress { link, address, .. } => self.link(link)?.addresses.push(*address),
            Action::DeleteAddress { link, address } => {
                self.link(link)?.addresses.retain(|own| own != address)
            }
            Action::NextHop { id, to, .. } => place(&mut self.network.next_hops, *id, to.as_ref()),
            Action::Route { key, to, .. } => {
                self.network.routes.retain(|route| route.key != *key);
                self.network.routes.extend(to.clone().map(|target| Route { key: *key, target }));
                self.network.sort();
            }
            Action::Fdb { key, to, .. } => place(&mut self.network.fdb, key.clone(), to.as_ref()),
            Action::Neighbour { key, to, .. } => {
                place(&mut self.network.neighbours, key.clone(), to.as_ref());
            }
            Action::Mdb { key, add: true } => {
                self.network.mdb.insert(key.clone());
            }
            Action::Mdb { key, add: false } => {
                self.network.mdb.remove(key);
            }
        }
        Ok(())
    }
}

fn place<K: Ord, V: Clone>(table: &mut BTreeMap<K, V>, key: K, value: Option<&V>) {
    match value {
        Some(value) => table.insert(key, value.clone()),
        None => table.remove(&key),
    };
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
        let network = |file: &str| read_network(&folder.join(file));
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
    let failed = reconcile(&mut Liar(current), &desired, |_| true).unwrap().failed;
    assert!(failed.iter().any(|step| step.contains("acknowledged but not done")), "{failed:?}");
}

/// A switch with a bridge, a port, and the port of a workload that is not in the bridge yet.
fn before_an_attachment() -> Network {
    let mut network = Network::default();
    let bridge = Link { up: true, ..Link::new(LinkKind::Bridge) };
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
    port.vlans.insert(10, 10, VlanMembership { pvid: true, untagged: true });
    network.links.get_mut("swp1").unwrap().set(Setting::Mtu, 9000_u32);
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
    expected.links.get_mut("swp1").unwrap().settings.clear();
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
    let failed = reconcile(&mut model, &error.before, |_| true).unwrap().failed;
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(differences(&before_an_attachment(), &model.network), Vec::<String>::new());
}

#[test]
fn repairing_goes_on_past_a_step_that_fails() {
    let (_, (current, desired)) = transitions().pop_first().unwrap();
    let mut model = Model::new(current, Some(2));
    let result = reconcile(&mut model, &desired, |_| true).unwrap();
    assert!(!result.repaired.is_empty());
    assert_eq!(result.failed, Vec::<String>::new(), "the second round put right what failed once");
    assert_eq!(differences(&desired, &model.network), Vec::<String>::new());
}
