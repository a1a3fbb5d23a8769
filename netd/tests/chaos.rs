//! Random transactions on a model of the kernel that fails at random: each ends exactly in the old or in the
//! new state. `NETD_CHAOS_ROUNDS` and `NETD_CHAOS_SEED` do more, and the same again.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod model;

use model::random::{self, Random};
use model::{Model, differences};
use netd::plan::{Network, plan};
use netd::transaction::commit;

/// Transactions of a sample.
const SAMPLE: u64 = 300;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One that differs from run to run; it is printed, and brings the same run back.
fn seed() -> u64 {
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |now| now.as_nanos() as u64);
    setting("NETD_CHAOS_SEED", fresh % 1_000_000_007)
}

/// A network that is there, reached from bare ports.
fn reached(desired: &Network) -> Network {
    let mut model = Model::new(random::bare());
    commit(&mut model, desired).expect("nothing fails");
    model.network
}

/// The parts netd owns, so that what was undone can be compared whole.
fn owned(network: &Network) -> Network {
    let mut network = network.clone();
    for link in network.links.values_mut() {
        link.addresses.sort();
    }
    network
}

#[test]
fn every_transition_between_random_networks_arrives_and_needs_no_more() {
    let (rounds, seed) = (setting("NETD_CHAOS_ROUNDS", SAMPLE), seed());
    println!("seed {seed}");
    for round in 0..rounds {
        let random = &mut Random::new(seed + round);
        let (old, new) = (random::network(random), random::network(random));
        let mut model = Model::new(reached(&old));
        commit(&mut model, &new).unwrap_or_else(|error| panic!("NETD_CHAOS_SEED={}: {error}", seed + round));
        assert_eq!(
            differences(&new, &model.network),
            Vec::<String>::new(),
            "NETD_CHAOS_SEED={}",
            seed + round
        );
        assert_eq!(plan(&model.network, &model.network), Vec::new(), "what is there needs no steps");
    }
}

#[test]
fn whatever_fails_at_random_the_network_is_the_old_one_or_the_new_one() {
    let (rounds, seed) = (setting("NETD_CHAOS_ROUNDS", SAMPLE), seed());
    println!("seed {seed}");
    let (mut undone, mut arrived) = (0, 0);
    for round in 0..rounds {
        let random = &mut Random::new(seed + round);
        let (old, new) = (random::network(random), random::network(random));
        let before = reached(&old);
        let steps = plan(&new, &before).len() as u64;
        let at = 1 + random.below(steps.max(1) + 2) as usize;
        let mut model = Model::failing_at(before.clone(), at);
        match commit(&mut model, &new) {
            Ok(_) => {
                arrived += 1;
                assert_eq!(
                    differences(&new, &model.network),
                    Vec::<String>::new(),
                    "NETD_CHAOS_SEED={}",
                    seed + round
                );
            }
            Err(error) => {
                undone += 1;
                assert_eq!(error.left, Vec::<String>::new(), "NETD_CHAOS_SEED={}: {error}", seed + round);
                assert_eq!(
                    owned(&model.network),
                    owned(&before),
                    "NETD_CHAOS_SEED={}: step {at}",
                    seed + round
                );
            }
        }
    }
    println!("{undone} undone, {arrived} arrived");
    assert!(undone > arrived, "hardly anything failed: {undone} of {rounds}");
}
