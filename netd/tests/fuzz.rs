//! Hostile input by the hundred thousand: configurations, messages of the kernel, callers on the bus. Whatever
//! comes, nothing panics, hangs, or takes more memory than it may.
//!
//! `NETD_FUZZ_SECONDS` is how long each of the three goes on, `NETD_FUZZ_SEED` brings a run back.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;
mod model;
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

use std::collections::BTreeMap;

use common::isolated;
use limits::{Budget, Memory};
use netd::desired::{self, Inputs};
use netd::plan::{Network, plan};
use netd::{kernel, policy};
use netd_api::config;
use netd_api::config::model::Inventory;

/// Ports of the switch the configurations are meant for.
fn ports() -> std::collections::BTreeSet<String> {
    (1..=52).map(|number| format!("swp{number}")).collect()
}

/// All that is done with a document before the kernel is asked.
fn digest(document: &str) -> bool {
    let Ok(config) = config::parse(document) else { return false };
    let ports = ports();
    let mistakes = config.admit(&Inventory { ports: ports.clone(), attachments: Vec::new() });
    let desired = desired::network(&Inputs {
        config: &config,
        ports: &ports,
        permanent_macs: &BTreeMap::new(),
        original_modes: &BTreeMap::new(),
        set_modes: &BTreeMap::new(),
        attachments: &BTreeMap::new(),
        bridge_mac: "02:00:00:00:00:01",
        objects: true,
    });
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
        let memory = Memory::limited();
        let mut fitting = 0;
        let cases = Budget::new("configurations").spend(mutation::of(&documents, &tokens), |bytes| {
            fitting += u32::from(digest(&String::from_utf8_lossy(bytes)));
            memory.check();
        });
        println!("{cases} configurations, {fitting} of them valid");
        assert!(cases > 100 && fitting > 0, "the mutations lead nowhere: {fitting} of {cases} were valid");
    });
}

#[test]
fn no_message_makes_a_decoder_panic_hang_or_swell() {
    isolated("no_message_makes_a_decoder_panic_hang_or_swell", || {
        let messages = seeds::messages();
        assert!(messages.len() > 20, "the kernel told only {} messages to begin with", messages.len());
        let memory = Memory::limited();
        let cases =
            Budget::new("messages").spend(mutation::of(&messages, &seeds::words_of_messages()), |bytes| {
                // As a datagram, and as the payload of a message.
                kernel::fuzz::decode(bytes);
                kernel::fuzz::decode(bytes.get(16..).unwrap_or_default());
                memory.check();
            });
        println!("{cases} messages");
        assert!(cases > 1000, "only {cases} messages");
    });
}

#[test]
fn no_caller_on_the_bus_makes_netd_panic_hang_or_swell() {
    isolated("no_caller_on_the_bus_makes_netd_panic_hang_or_swell", bus::hostile_callers);
}
