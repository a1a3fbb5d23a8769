//! Alarms: conditions that are not as they should be. Each has a beginning and an end, and is there once for as long as
//! it holds: a row of the table `alarms` ([`crate::table`]), an event when it begins and one when it ends
//! ([`crate::events`]), a line in the log at either. Syslog, SNMP, gNMI and the status light read the same table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad it is. A string in JSON; the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Packets are lost, or the next restart or change would lose some.
    Critical,
    /// What is configured is done, but not all that hosts ask for, or not as it was meant.
    #[default]
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        })
    }
}

/// What is wrong: stable words for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmKind {
    /// The kernel does not tell the state of the network.
    KernelUnreadable,
    /// The control-plane rules cannot be loaded, so ports stay as they are.
    RulesNotLoaded,
    /// The startup configuration is not what runs: it was refused, or crashed netd.
    StartupRefused,
    /// There is no confirmed configuration: after a restart all ports are down.
    NoStartup,
    /// The record of a past generation cannot be read, so nothing goes back to it by itself.
    RecordUnreadable,
    /// Something of the running configuration is refused by the kernel or a driver; it is tried again.
    NotApplied,
    /// What undoing a refused change left behind; it is tried again.
    NotUndone,
    /// A port of the configuration is not there.
    PortMissing,
    /// Somebody else changed what the document says is only to be reported.
    Drift,
    /// Another host uses an address of the switch.
    DuplicateAddress,
    /// A route that is meant for the hardware is not in it.
    RouteNotInHardware,
    /// No more addresses are learned: `bridge.most-learned` is reached.
    FdbFull,
    /// Hosts behind a port join no more groups: `bridge.most-groups` is reached.
    GroupsFull,
    /// The kernel's table of ARP or ND entries is full: `routing.most-neighbours` is reached.
    NeighboursFull,
    /// Very many addresses of a subnet are asked for, and do not answer.
    SubnetScanned,
    /// The switch asks more at once than `control-plane.most-questions`: the answers to some are dropped.
    QuestionsFull,
    /// `system.most-event-states` is reached: objects that had theirs longest are left out of what late readers are told.
    EventStatesFull,
    /// A partition is full.
    StorageFull,
}

impl AlarmKind {
    /// The word JSON has.
    pub fn as_str(self) -> &'static str {
        match self {
            AlarmKind::KernelUnreadable => "kernel-unreadable",
            AlarmKind::RulesNotLoaded => "rules-not-loaded",
            AlarmKind::StartupRefused => "startup-refused",
            AlarmKind::NoStartup => "no-startup",
            AlarmKind::RecordUnreadable => "record-unreadable",
            AlarmKind::NotApplied => "not-applied",
            AlarmKind::NotUndone => "not-undone",
            AlarmKind::PortMissing => "port-missing",
            AlarmKind::Drift => "drift",
            AlarmKind::DuplicateAddress => "duplicate-address",
            AlarmKind::RouteNotInHardware => "route-not-in-hardware",
            AlarmKind::FdbFull => "fdb-full",
            AlarmKind::GroupsFull => "groups-full",
            AlarmKind::NeighboursFull => "neighbours-full",
            AlarmKind::SubnetScanned => "subnet-scanned",
            AlarmKind::QuestionsFull => "questions-full",
            AlarmKind::EventStatesFull => "event-states-full",
            AlarmKind::StorageFull => "storage-full",
        }
    }

    /// The object of an alarm that stands for many of this kind.
    pub fn many(self) -> &'static str {
        match self {
            AlarmKind::RouteNotInHardware => "routes",
            AlarmKind::DuplicateAddress => "addresses",
            AlarmKind::PortMissing | AlarmKind::GroupsFull => "ports",
            AlarmKind::SubnetScanned => "subnets",
            AlarmKind::RecordUnreadable => "generations",
            _ => "others",
        }
    }
}

/// A row of the table `alarms`: one condition that holds. The worst come first, of those the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What is wrong.
    pub kind: AlarmKind,
    /// Where: a port, a route, an address, a table. There is one alarm of a kind and object.
    pub object: String,
    /// How bad it is.
    pub severity: Severity,
    /// Since when, in seconds since 1970 by the clock of this moment: counted by one that nobody sets. A restart of
    /// netd changes nothing about it.
    pub since_s: u64,
    /// What is wrong, for people.
    pub text: String,
    /// What to try: a command of the console, or `line N` of the document.
    #[serde(with = "crate::absent")]
    pub remedy: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarm_words_are_the_same_in_json_and_for_people() {
        for kind in [AlarmKind::KernelUnreadable, AlarmKind::FdbFull, AlarmKind::RouteNotInHardware] {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
        for severity in [Severity::Critical, Severity::Warning] {
            assert_eq!(serde_json::to_string(&severity).unwrap(), format!("\"{severity}\""));
        }
        assert!(Severity::Critical < Severity::Warning);
    }

    #[test]
    fn alarm_without_a_remedy_has_none_in_json() {
        let alarm = Alarm {
            kind: AlarmKind::FdbFull,
            object: "bridge".to_owned(),
            severity: Severity::Warning,
            since_s: 7,
            text: "full".to_owned(),
            remedy: String::new(),
        };
        let json = serde_json::to_string(&alarm).unwrap();
        assert!(json.starts_with("{\"kind\":\"fdb-full\"") && json.contains("\"remedy\":null"), "{json}");
        assert_eq!(serde_json::from_str::<Alarm>(&json).unwrap(), alarm);
    }
}
