//! Transactions on a model of the kernel: after any failure the network is as it was before.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod model;

use std::collections::BTreeSet;

use model::{Model, differences, golden_cases};
use netd::kernel::KernelError;
use netd::kernel::detection::LinkAddress;
use netd::plan::{Action, Link, LinkKind, Network, Setting, VlanMembership, plan};
use netd::transaction::{Backend, Reason, commit, commit_part, reconcile};

#[test]
fn every_transition_arrives_and_can_be_taken_back() {
    for (case, (current, desired)) in golden_cases() {
        let mut model = Model::new(current.clone());
        let report = commit(&mut model, &desired).unwrap_or_else(|error| panic!("{case:?}: {error}"));
        assert_eq!(differences(&desired, &model.network), Vec::<String>::new(), "{case:?}");
        commit(&mut model, &report.before).unwrap_or_else(|error| panic!("{case:?}: back: {error}"));
        assert_eq!(differences(&current, &model.network), Vec::<String>::new(), "{case:?}");
    }
}

#[test]
fn whichever_step_fails_the_network_is_as_before_and_the_error_names_the_object() {
    let mut failures = 0;
    for (case, (current, desired)) in golden_cases() {
        for fail_at in 1..=plan(&desired, &current).len() {
            let mut model = Model::failing_at(current.clone(), fail_at);
            let Err(error) = commit(&mut model, &desired) else {
                // What was refused is so by itself, as the MTU of a new link is.
                assert_eq!(
                    differences(&desired, &model.network),
                    Vec::<String>::new(),
                    "{case:?}: {fail_at}"
                );
                continue;
            };
            assert!(error.to_string().contains("no room in hardware (ENOSPC)"), "{case:?}: {error}");
            assert_eq!(error.left, Vec::<String>::new(), "{case:?}: step {fail_at}");
            assert_eq!(
                differences(&current, &model.network),
                Vec::<String>::new(),
                "{case:?}: step {fail_at}"
            );
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
    let (_, (current, desired)) = golden_cases().pop_first().unwrap();
    let error = commit(&mut Liar(current.clone()), &desired).unwrap_err();
    assert!(matches!(error.reason, Reason::Unstable(_)), "{error}");
    let failed = reconcile(&mut Liar(current), &desired, |_| true).unwrap().failed;
    assert!(failed.iter().any(|(_, why)| why == "acknowledged but not done"), "{failed:?}");
}

/// A driver that changes a hardware address only while the port is down (`eth_mac_addr` without
/// `IFF_LIVE_ADDR_CHANGE`).
struct Rigid(Model);

impl Backend for Rigid {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        self.0.snapshot()
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        let mut done = |action: &Action| match action {
            Action::Set { link, setting: Setting::Mac, .. } if self.0.network.links[link].up => {
                Err(KernelError::from(nix::errno::Errno::EBUSY))
            }
            action => self.0.execute(&[action]).remove(0),
        };
        actions.iter().map(|action| done(action)).collect()
    }
}

#[test]
fn mac_of_a_port_that_is_off_is_set_whatever_the_driver() {
    let port = |mac: &str, up: bool| {
        let mut link = Link { up, owned: false, ..model::fresh(LinkKind::Hardware) };
        link.set(Setting::Mac, mac);
        Network { links: [("swp1".to_owned(), link)].into(), ..Network::default() }
    };
    let (old, new) = ("02:00:5e:00:53:01", "02:00:5e:00:53:02");
    let mut kernel = Rigid(Model::new(port(old, true)));
    let error = commit(&mut kernel, &port(new, true)).expect_err("the port is up");
    assert!(error.to_string().contains("EBUSY"), "{error}");
    assert_eq!(differences(&port(old, true), &kernel.0.network), Vec::<String>::new());
    // Off with the same change, and on with the next (switch.toml(5)).
    commit(&mut kernel, &port(new, false)).expect("the port is down first");
    commit(&mut kernel, &port(new, true)).expect("nothing but up");
    assert_eq!(differences(&port(new, true), &kernel.0.network), Vec::<String>::new());
}

/// A link on which another host has an address already.
struct Crowded(Model, LinkAddress);

impl Backend for Crowded {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        self.0.snapshot()
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        self.0.execute(actions)
    }

    fn duplicates(&mut self, added: &BTreeSet<LinkAddress>) -> Result<BTreeSet<LinkAddress>, KernelError> {
        Ok(added.iter().filter(|address| **address == self.1).cloned().collect())
    }
}

#[test]
fn an_address_that_another_host_has_undoes_the_change() {
    let mut before = before_an_attachment();
    before.links.get_mut("swp1").unwrap().addresses = vec!["2001:db8::1/64".parse().unwrap()];
    let mut desired = before.clone();
    let port = desired.links.get_mut("swp1").unwrap();
    port.addresses =
        ["192.0.2.1/24", "2001:db8::2/64", "2001:db8::3/64"].map(|a| a.parse().unwrap()).to_vec();
    let mut kernel =
        Crowded(Model::new(before.clone()), ("swp1".to_owned(), "192.0.2.1/24".parse().unwrap()));
    for used in ["192.0.2.1/24", "2001:db8::3/64"] {
        kernel.1.1 = used.parse().unwrap();
        let error = commit(&mut kernel, &desired).unwrap_err();
        let words = format!("swp1: add address {used}: another host on the link uses this address");
        assert_eq!(error.to_string(), words);
        assert_eq!(kernel.0.network, before);
    }
    // The one that was there before is not asked for again.
    kernel.1.1 = "2001:db8::1/64".parse().unwrap();
    desired.links.get_mut("swp1").unwrap().addresses.push("2001:db8::1/64".parse().unwrap());
    commit(&mut kernel, &desired).expect("nobody has the new ones");
}

/// A switch with a bridge, a port, and the port of a workload that is not in the bridge yet.
fn before_an_attachment() -> Network {
    let mut network = Network::default();
    let bridge = Link { up: true, ..Link::new(LinkKind::Bridge) };
    network.links.insert("bridge".to_owned(), bridge);
    network.links.insert("swp1".to_owned(), model::fresh(LinkKind::Hardware));
    network.links.insert("web-1".to_owned(), model::fresh(LinkKind::Veth));
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
    let mut model = Model::new(before_an_attachment());
    model.faults = Box::new(|_, action| action.object() == "swp1");
    commit(&mut model, &with_an_attachment()).expect_err("the whole is refused");
    let report = commit_part(&mut model, &with_an_attachment(), |action| action.object() == "web-1")
        .expect("the part");
    assert_eq!(report.steps, 3);
    let mut expected = with_an_attachment();
    expected.links.get_mut("swp1").unwrap().set(Setting::Mtu, 1500_u32);
    // In the model, a link that is up has its carrier, and a port of a bridge its settings there.
    expected.links.get_mut("web-1").unwrap().set(Setting::Isolated, false);
    expected.links.get_mut("web-1").unwrap().set(Setting::Learning, true);
    expected.links.get_mut("web-1").unwrap().carrier = true;
    assert_eq!(model.network, expected);
}

#[test]
fn a_part_that_is_refused_is_undone_and_nothing_else_is_touched() {
    for fail_at in 1..=3 {
        let mut model = Model::failing_at(before_an_attachment(), fail_at);
        let error = commit_part(&mut model, &with_an_attachment(), |action| action.object() == "web-1");
        assert!(error.unwrap_err().left.is_empty());
        assert_eq!(model.network, before_an_attachment(), "step {fail_at}");
    }
}

#[test]
fn what_cannot_be_undone_is_told_with_the_network_to_go_back_to() {
    let mut model = Model::new(before_an_attachment());
    // Takes the port into the bridge and neither up nor out again.
    model.faults = Box::new(|_, action| matches!(action, Action::SetUp { .. } | Action::ClearMaster { .. }));
    let error = commit(&mut model, &with_an_attachment()).unwrap_err();
    assert_eq!(error.left, ["web-1: clear master"], "{error}");
    assert_eq!(*error.before, before_an_attachment());
    model.faults = Box::new(|_, _| false);
    let failed = reconcile(&mut model, &error.before, |_| true).unwrap().failed;
    assert_eq!(failed, []);
    assert_eq!(differences(&before_an_attachment(), &model.network), Vec::<String>::new());
}

#[test]
fn repairing_goes_on_past_a_step_that_fails() {
    let (_, (current, desired)) = golden_cases().pop_first().unwrap();
    let mut model = Model::failing_at(current, 4);
    let result = reconcile(&mut model, &desired, |_| true).unwrap();
    assert!(!result.repaired.is_empty());
    assert_eq!(result.failed, [], "the second round put right what failed once");
    assert_eq!(differences(&desired, &model.network), Vec::<String>::new());
}
