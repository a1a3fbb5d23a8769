//! Hostile input by the hundred thousand: configurations, messages of the kernel, callers on the bus. Whatever
//! comes, nothing panics, hangs, or takes more memory than it may.
//!
//! `NETD_FUZZ_CASES` is how many cases each of the three tries, `NETD_FUZZ_SEED` brings a run back: cases are made
//! from it alone.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;
#[path = "common/examples.rs"]
mod examples;
mod model;
#[path = "common/network.rs"]
mod network;
#[path = "common/service.rs"]
mod service;

#[path = "fuzz/bus.rs"]
mod bus;
#[path = "fuzz/limits.rs"]
mod limits;
#[path = "fuzz/mutation.rs"]
mod mutation;
#[path = "fuzz/seeds.rs"]
mod seeds;

use common::isolated;
use limits::{Cases, Memory};
use netd::plan::{Network, plan};
use netd::{kernel, policy};
use netd_api::config;
use netd_api::config::model::Inventory;

/// Cases of a sample: each kind takes some seconds. `cargo os soak fuzz` tries many more.
const CONFIGURATIONS: u64 = 1_000;
const MESSAGES: u64 = 20_000;
const CALLS: u64 = 1_000;

/// What an input of at most 256 KiB may take while it is worked on. In the end nothing is kept of any, but what is
/// made once.
const MOST_OF_A_CONFIGURATION: usize = 64 << 20;
const MOST_OF_A_MESSAGE: usize = 16 << 20;
const KEPT: usize = 64 << 10;

/// Ports of the switch the configurations are meant for.
fn ports() -> std::collections::BTreeSet<String> {
    (1..=52).map(|number| format!("swp{number}")).collect()
}

/// All that is done with a document before the kernel is asked.
fn digest(document: &str) -> bool {
    let Ok(config) = config::parse(document) else { return false };
    let ports = ports();
    let mistakes = config.admit(&Inventory { ports: ports.clone(), attachments: Vec::new() });
    let desired = network::desired(&config, &ports);
    plan(&desired, &Network::default());
    assert_eq!(plan(&desired, &desired), Vec::new(), "what is there needs no steps");
    policy::ruleset(&config);
    mistakes.is_empty()
}

#[test]
fn no_configuration_makes_netd_panic_hang_or_swell() {
    isolated("no_configuration_makes_netd_panic_hang_or_swell", || {
        let documents = seeds::documents();
        let tokens = seeds::words_of_documents(&documents);
        for document in &documents {
            digest(&String::from_utf8_lossy(document));
        }
        let memory = Memory::limited(MOST_OF_A_CONFIGURATION, KEPT);
        let mut fitting = 0;
        let cases = Cases::new("configurations", CONFIGURATIONS);
        let count = cases.count();
        cases.try_all(mutation::of(&documents, &tokens), |bytes| {
            fitting += u64::from(digest(&String::from_utf8_lossy(bytes)));
            memory.check();
        });
        memory.check_kept();
        println!("{count} configurations, {fitting} of them valid");
        assert!(
            fitting > 0 && fitting < count,
            "the mutations lead nowhere: {fitting} of {count} were valid"
        );
    });
}

#[test]
fn no_message_makes_a_decoder_panic_hang_or_swell() {
    isolated("no_message_makes_a_decoder_panic_hang_or_swell", || {
        let messages = seeds::messages();
        assert!(messages.len() > 20, "the kernel told only {} messages to begin with", messages.len());
        let memory = Memory::limited(MOST_OF_A_MESSAGE, KEPT);
        let mut tried = 0;
        let cases = Cases::new("messages", MESSAGES);
        let count = cases.count();
        cases.try_all(mutation::of(&messages, &seeds::words_of_messages()), |bytes| {
            // As a datagram, and as the payload of a message.
            kernel::fuzz::decode(bytes);
            kernel::fuzz::decode(bytes.get(16..).unwrap_or_default());
            memory.check();
            tried += 1;
        });
        memory.check_kept();
        assert_eq!(tried, count, "messages");
    });
}

#[test]
fn no_caller_on_the_bus_makes_netd_panic_hang_or_swell() {
    isolated("no_caller_on_the_bus_makes_netd_panic_hang_or_swell", || bus::hostile_callers(CALLS));
}
