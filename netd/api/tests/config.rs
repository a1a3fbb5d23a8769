//! Documents and the mistakes they must be told of.
//!
//! Each folder in `config/` is a case: `switch.toml`; `errors.txt` with the diagnostics, one a line, or
//! empty when the document is good; and, where the switch at hand matters, `inventory.toml` with its
//! `ports` and `attachments`. To add a case, make a folder; to write what comes out into `errors.txt`,
//! run with `UPDATE_EXPECTED=1` and read the difference.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the helpers of tests may fail loudly, too

use std::fs;
use std::path::{Path, PathBuf};

use netd_api::config::model::{AttachmentUse, Inventory};
use netd_api::config::parse;
use netd_api::diagnostic::Diagnostic;
use netd_api::state::VlanRange;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 46, "only {} cases: some are missing", cases.len());
    cases
}

fn inventory(case: &Path) -> Option<Inventory> {
    let text = fs::read_to_string(case.join("inventory.toml")).ok()?;
    let table: toml::Table = text.parse().unwrap();
    let ports = table["ports"].as_array().unwrap();
    let attachment = |value: &toml::Value| AttachmentUse {
        key: value["key"].as_str().unwrap().to_owned(),
        vlans: value["vlans"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| u16::try_from(id.as_integer().unwrap()).unwrap())
            .map(|id| VlanRange { first: id, last: id })
            .collect(),
    };
    let attachments = table.get("attachments").and_then(toml::Value::as_array);
    Some(Inventory {
        ports: ports.iter().map(|port| port.as_str().unwrap().to_owned()).collect(),
        attachments: attachments.into_iter().flatten().map(attachment).collect(),
    })
}

fn diagnostics(case: &Path) -> Vec<Diagnostic> {
    let text = fs::read_to_string(case.join("switch.toml")).unwrap();
    match parse(&text) {
        Ok(config) => inventory(case).map(|inventory| config.admit(&inventory)).unwrap_or_default(),
        Err(diagnostics) => diagnostics,
    }
}

#[test]
fn every_mistake_is_told_at_its_place() {
    let mut failures = Vec::new();
    for case in cases() {
        let found: String = diagnostics(&case).iter().map(|diagnostic| format!("{diagnostic}\n")).collect();
        let file = case.join("errors.txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&file, &found).unwrap();
        }
        let expected =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if found != expected {
            failures.push(format!("{}\n--- expected\n{expected}--- found\n{found}", case.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn no_message_repeats_a_password() {
    let text = fs::read_to_string(cases()[0].parent().unwrap().join("users/switch.toml")).unwrap();
    assert!(text.contains("hunter2"));
    let diagnostics = parse(&text).unwrap_err();
    assert!(diagnostics.iter().all(|diagnostic| !diagnostic.to_string().contains("hunter2")));
    assert!(!format!("{:?}", parse(EVERYTHING)).contains("$6$"));
}

const EVERYTHING: &str = include_str!("config/everything/switch.toml");
