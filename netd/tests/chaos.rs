//! Random transactions on a model of the kernel that fails at random: each ends exactly in the old or in the
//! new state. `NETD_CHAOS_ROUNDS` and `NETD_CHAOS_SEED` do more, and the same again.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod model;

use model::random::{self, Random};
use model::{Model, differences};
use netd::plan::{Network, plan};
use netd::transaction::commit;

/// Transactions of a sample; `cargo os soak netd-model` makes ten thousand.
const SAMPLE: u64 = 300;

/// How many transactions there are, and the seed of the first; the next has the next.
fn rounds() -> (u64, u64) {
    (random::asked_for("NETD_CHAOS_ROUNDS").unwrap_or(SAMPLE), random::seed("NETD_CHAOS_SEED"))
}

/// A network that is there, reached from bare ports.
fn reached(desired: &Network) -> Network {
    let mut model = Model::new(random::bare());
    commit(&mut model, desired).expect("nothing fails");
    model.network
}

#[test]
fn every_transition_between_random_networks_arrives_and_needs_no_more() {
    let (rounds, seed) = rounds();
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
    let (rounds, seed) = rounds();
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
                // Whole, the order of addresses included.
                assert_eq!(model.network, before, "NETD_CHAOS_SEED={}: step {at}", seed + round);
            }
        }
    }
    println!("{undone} undone, {arrived} arrived");
    assert!(undone > arrived, "hardly anything failed: {undone} of {rounds}");
}
