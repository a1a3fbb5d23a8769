//! Events: what happens on the switch, numbered, as a stream of JSON lines.

use serde::{Deserialize, Serialize};
use zbus::OwnedFd;
use zbus::proxy;

use crate::alarm::AlarmKind;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A port came up: it has a carrier.
    LinkUp,
    /// A port went down.
    LinkDown,
    /// A port appeared.
    PortAdded,
    /// A port is gone.
    PortRemoved,
    /// An alarm begins: `alarm` tells of which kind, the detail what is wrong. Many of a kind at once are one event: the
    /// detail tells how many, and the first.
    Alarm,
    /// The alarm has ended.
    AlarmCleared,
    /// Something was not as wanted and was put right: the detail tells how.
    Repaired,
    /// A configuration was applied; the object is its generation.
    Applied,
    /// A configuration waits for its confirmation.
    Unconfirmed,
    /// A configuration was confirmed.
    Confirmed,
    /// A configuration was taken back.
    RolledBack,
    /// A driver refused the usual way to do something, so netd does it another way: the detail has the
    /// driver's words.
    Fallback,
    /// A workload got a port.
    Attached,
    /// A workload's port is gone.
    Detached,
    /// The reader was too slow, or asked for what is no longer kept: events are missing here. Events with
    /// `snapshot` set follow, the last of each object.
    Lagged,
}

impl EventKind {
    /// Whether a state ends with it, so that there is none of its object any more: a snapshot does not show it.
    pub fn ends_state(self) -> bool {
        matches!(self, EventKind::AlarmCleared | EventKind::Detached)
    }

    /// The kinds that tell one state of an object: the last of them counts.
    pub fn state_of(self) -> Option<&'static str> {
        Some(match self {
            EventKind::LinkUp | EventKind::LinkDown => "link",
            EventKind::Alarm | EventKind::AlarmCleared => "alarm",
            EventKind::Applied | EventKind::Unconfirmed | EventKind::Confirmed | EventKind::RolledBack => {
                "configuration"
            }
            EventKind::Attached | EventKind::Detached => "attachment",
            _ => return None,
        })
    }
}

/// Who told netd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventSource {
    /// An event of the kernel.
    Netlink,
    /// netd asked the driver, as it does all the time for ports that somebody watches.
    Poll,
    /// netd itself.
    Netd,
}

/// An event. A line of the stream is one of these as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Which boot the number counts in (/proc/sys/kernel/random/boot_id) and which start of netd.
    pub boot_id: String,
    /// Number, from 1, without gaps.
    pub seq: u64,
    /// When, by CLOCK_MONOTONIC in nanoseconds.
    pub monotonic_ns: u64,
    /// What.
    pub kind: EventKind,
    /// The object: a port, a route, a generation.
    pub object: String,
    /// Of an alarm: which kind. An object may have one of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<AlarmKind>,
    /// Who told.
    pub source: EventSource,
    /// More, for people; empty when there is no more to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The event is no news: it tells the state of its object, after a gap or at the start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
}

/// Events of the switch.
#[proxy(
    interface = "org.corten.Netd1.Events1",
    default_service = "org.corten.Netd1",
    default_path = "/org/corten/Netd1"
)]
pub trait Events1 {
    /// Answers a stream of events as JSON lines, from the one after `after_seq` of `boot_id`. An empty
    /// `boot_id`, or one of an earlier start, begins with a snapshot; so does a number no longer kept.
    /// The links of `ports` are looked at every few milliseconds while the stream is open.
    fn watch(&self, boot_id: &str, after_seq: u64, ports: &[&str]) -> zbus::Result<OwnedFd>;
}
