//! Documents are kept: what a document of today's tests or manual means, it means tomorrow.
//!
//! `documents/NAME.toml` is such a document, and `NAME.txt` what it comes to: its mistakes, or the network that is
//! desired and what else follows from it. Ports that are alike share a section there, and of what is not the network
//! only that is told which differs from a document that says nothing. The documents in `netd-api`'s and `os-image`'s
//! folders of cases are taken from there. To write what comes out, run with `UPDATE_GOLDEN=1`, read the difference
//! and list it in the change's note. A document is never edited: one that is printed or tested anew comes beside it.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

#[path = "common/examples.rs"]
mod examples;
#[path = "common/network.rs"]
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use netd::plan::Link;
use netd::policy;
use netd_api::config::model::Inventory;
use netd_api::config::{Config, parse};
use netd_api::diagnostic::Diagnostic;
use similar::{ChangeTag, TextDiff};

/// The document that says nothing: all of it is defaults.
const NOTHING: &str = "version = 1\n";
/// Fewer than there were once.
const LEAST: usize = 79;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The documents of this folder, by name.
fn kept() -> BTreeMap<String, String> {
    let documents = entries(&here()).into_iter().filter(|path| path.extension().is_some_and(|e| e == "toml"));
    documents.map(|path| (stem(&path), fs::read_to_string(path).unwrap())).collect()
}

/// Those, and the ones of the cases of other crates.
fn documents() -> BTreeMap<String, String> {
    let mut documents = kept();
    for (prefix, folder, file) in [
        ("config", "../../api/tests/config", "switch.toml"),
        ("render", "../../../os-image/system/tests/render", "running.toml"),
    ] {
        for case in entries(&here().join(folder)) {
            let text = fs::read_to_string(case.join(file)).unwrap();
            // Mistakes are kept beside the case.
            if parse(&text).is_ok() {
                documents.insert(format!("{prefix}-{}", stem(&case)), text);
            }
        }
    }
    assert!(documents.len() >= LEAST, "only {} documents: some are missing", documents.len());
    documents
}

/// What a document comes to on a switch of 64 ports.
fn outcome(text: &str) -> String {
    let ports: BTreeSet<String> = (1..=64).map(|number| format!("swp{number}")).collect();
    let inventory = Inventory { ports: ports.clone(), attachments: Vec::new() };
    let config = parse(text).and_then(|config| match config.admit(&inventory) {
        mistakes if mistakes.is_empty() => Ok(config),
        mistakes => Err(mistakes),
    });
    match config {
        Ok(config) => format!("{}\n{}", network(&config, &ports), beside(&config, text == NOTHING)),
        Err(mistakes) => mistakes.iter().map(Diagnostic::to_string).map(|line| line + "\n").collect(),
    }
}

/// The network that is desired. Links that are alike are one entry with all their names.
fn network(config: &Config, ports: &BTreeSet<String>) -> String {
    let mut network = network::desired(config, ports);
    // The same whatever the document says, but for the rule by VRF of each family.
    let by_vrf = !config.vrfs.is_empty() || config.management.vrf.is_some();
    assert_eq!(std::mem::take(&mut network.rules).len(), if by_vrf { 6 } else { 4 });
    let mut alike: Vec<(Link, Vec<String>)> = Vec::new();
    for (name, link) in std::mem::take(&mut network.links) {
        match alike.iter_mut().find(|(other, _)| *other == link) {
            Some((_, names)) => names.push(name),
            None => alike.push((link, vec![name])),
        }
    }
    network.links = alike.into_iter().map(|(link, names)| (names.join(" "), link)).collect();
    toml::to_string(&network).unwrap()
}

/// What else a document means: all of it, or where it differs from the one that says nothing.
fn beside(config: &Config, whole: bool) -> String {
    let text = |config: &Config| {
        let Config { system, management, users, drift, .. } = config;
        format!("{system:#?}\n{management:#?}\n{users:#?}\n{drift:#?}\n{}", policy::ruleset(config))
    };
    let (usual, found) = (text(&parse(NOTHING).unwrap()), text(config));
    if whole {
        return found;
    }
    let diff = TextDiff::from_lines(&usual, &found);
    let changes = diff.iter_all_changes().filter(|change| change.tag() != ChangeTag::Equal);
    changes.map(|change| format!("{}{change}", change.tag())).collect()
}

#[test]
fn every_document_means_what_it_meant() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let documents = documents();
    let mut failures = Vec::new();
    for (name, text) in &documents {
        let (file, found) = (here().join(format!("{name}.txt")), outcome(text));
        if update {
            fs::write(&file, &found).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if found != expected {
            let diff = TextDiff::from_lines(&expected, &found);
            failures.push(diff.unified_diff().header(&format!("{name}.txt"), "now").to_string());
        }
    }
    assert!(failures.is_empty(), "{} documents differ\n{}", failures.len(), failures.join("\n"));
    let expectations =
        entries(&here()).into_iter().filter(|path| path.extension().is_some_and(|e| e == "txt"));
    let left: Vec<String> =
        expectations.map(|path| stem(&path)).filter(|name| !documents.contains_key(name)).collect();
    assert!(left.is_empty(), "the documents of {left:?} are gone");
}

#[test]
fn every_example_of_the_manual_is_kept() {
    let kept = kept();
    for example in examples::of_the_manual() {
        assert!(
            kept.values().any(|text| *text == example),
            "no document in {} is this example, which is to be put there beside the others:\n{example}",
            here().display()
        );
    }
}
