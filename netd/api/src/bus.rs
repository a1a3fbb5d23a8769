//! D-Bus: names and client proxies of netd on the system bus.

use zbus::OwnedFd;
use zbus::proxy;

use crate::attach::{AttachRequest, Attached};
use crate::comparison::Comparison;
use crate::diagnostic::Diagnostic;
use crate::generation::{ChangeOptions, Generation, Status};
use crate::state::{Interface, Lag, Pending, Port, Vlan};
use crate::table::Filter;

/// Well-known bus name of netd.
pub const NAME: &str = "org.corten.Netd1";
/// Object path that carries all of netd's interfaces.
pub const PATH: &str = "/org/corten/Netd1";

/// Error names netd answers with.
pub mod error {
    /// The document is not valid; the message lists each diagnostic on its own line.
    pub const INVALID: &str = "org.corten.Netd1.Error.Invalid";
    /// The running configuration moved on since `base_generation`.
    pub const CONFLICT: &str = "org.corten.Netd1.Error.Conflict";
    /// The kernel or a driver refused a step; the change was undone.
    pub const REFUSED: &str = "org.corten.Netd1.Error.Refused";
    /// The caller may not do this.
    pub const DENIED: &str = "org.corten.Netd1.Error.Denied";
    /// Nothing by that name.
    pub const NOT_FOUND: &str = "org.corten.Netd1.Error.NotFound";
    /// Somebody else is changing the switch, or has a change that waits for its confirmation; the message
    /// says who, and since when.
    pub const LOCKED: &str = "org.corten.Netd1.Error.Locked";
    /// The change would lock out administrators and is not forced; the message says whom.
    pub const LOCKOUT: &str = "org.corten.Netd1.Error.Lockout";
    /// Something else went wrong; the message says what.
    pub const FAILED: &str = "org.corten.Netd1.Error.Failed";
}

/// The configuration: check it, apply it, take it back, read it. A document travels as a descriptor
/// ([`crate::descriptor`]): a memfd, or a pipe that is written and closed at once. Those of viewers have at most
/// [`VIEWER_DOCUMENT_BYTES`](crate::descriptor::VIEWER_DOCUMENT_BYTES), those of administrators
/// [`ADMIN_DOCUMENT_BYTES`](crate::descriptor::ADMIN_DOCUMENT_BYTES).
#[proxy(
    interface = "org.corten.Netd1.Config1",
    default_service = "org.corten.Netd1",
    default_path = "/org/corten/Netd1"
)]
pub trait Config1 {
    /// Checks a document against the model and this switch. An empty answer means it could be applied.
    fn validate(&self, document: OwnedFd) -> zbus::Result<Vec<Diagnostic>>;

    /// What applying a document would do to the network, a line each step, in order; bounded. Nothing is
    /// changed.
    fn diff(&self, document: OwnedFd) -> zbus::Result<Vec<String>>;

    /// Applies a document whole, or leaves everything as it was, and answers the new generation.
    ///
    /// `base_generation` is the generation the caller edited, or 0 for any. With a `confirm_timeout_s` other
    /// than 0 the document runs until [`confirm`](Self::confirm), or is rolled back after that many seconds,
    /// or when the switch restarts; until then nobody else may apply one.
    fn apply(
        &self,
        document: OwnedFd,
        base_generation: u64,
        confirm_timeout_s: u32,
        options: ChangeOptions,
    ) -> zbus::Result<u64>;

    /// Confirms the generation that waits for it, and answers which one that is: the switch starts with it
    /// from now on. The time at which the call arrives counts, not the one at which it gets its turn.
    fn confirm(&self, options: ChangeOptions) -> zbus::Result<u64>;

    /// Takes back what waits for its confirmation; when nothing does, applies the document of an earlier
    /// generation again, as a new one. `generation` 0 is the one before. Answers what runs now.
    fn roll_back(&self, generation: u64, options: ChangeOptions) -> zbus::Result<u64>;

    /// Takes back what waits for its confirmation, and answers what runs now. When nothing waits, nothing is
    /// changed.
    fn take_back(&self, options: ChangeOptions) -> zbus::Result<u64>;

    /// The document of a generation, 0 for the running one, as a memfd, and which one that is. Who is no
    /// administrator sees no password hashes.
    fn get(&self, generation: u64) -> zbus::Result<(OwnedFd, u64)>;

    /// All generations that are kept, the newest first.
    fn history(&self) -> zbus::Result<Vec<Generation>>;

    /// What netd is doing to the network at this moment, and how far it is, in words; empty for nothing. This is answered
    /// while a change is being made.
    fn progress(&self) -> zbus::Result<String>;

    /// What runs, and what is wrong with it.
    fn status(&self) -> zbus::Result<Status>;
}

/// The state of the switch.
#[proxy(
    interface = "org.corten.Netd1.State1",
    default_service = "org.corten.Netd1",
    default_path = "/org/corten/Netd1"
)]
pub trait State1 {
    /// All ports.
    fn ports(&self) -> zbus::Result<Vec<Port>>;
    /// All LAGs with their members.
    fn lags(&self) -> zbus::Result<Vec<Lag>>;
    /// Interfaces of the switch that are no ports: loopbacks, VLAN interfaces, subinterfaces, VXLAN tunnel end
    /// points, VRFs.
    fn interfaces(&self) -> zbus::Result<Vec<Interface>>;
    /// All VLANs of the bridge.
    fn vlans(&self) -> zbus::Result<Vec<Vlan>>;
    /// A table, named `routes`, `neighbours`, `fdb`, `mdb`, `discards` or `alarms`, as a stream: each line read from the
    /// descriptor is a row as JSON, the last one an [`End`](crate::table::End). A reader that does not read for long is
    /// cut off.
    fn table(&self, table: &str, filter: &Filter) -> zbus::Result<OwnedFd>;
    /// What somebody else changed and is only reported, as `[drift]` says: the steps that would put it right.
    fn drift(&self) -> zbus::Result<Vec<String>>;
    /// What the change that waits for its confirmation did to the network: what held before it and is gone.
    fn comparison(&self) -> zbus::Result<Comparison>;
    /// What the configuration has in operation and is not yet, as others decide that: cables, partners, spanning tree.
    fn pending(&self) -> zbus::Result<Vec<Pending>>;
}

/// Ports of workloads. Root only.
#[proxy(
    interface = "org.corten.Netd1.Attach1",
    default_service = "org.corten.Netd1",
    default_path = "/org/corten/Netd1"
)]
pub trait Attach1 {
    /// Makes a port for a workload. `netns` is its network namespace, `netlink` a `NETLINK_ROUTE` socket
    /// opened inside that namespace, over which netd sets addresses and routes there. Asking again with
    /// the same key replaces the port.
    fn attach(&self, request: &AttachRequest, netns: OwnedFd, netlink: OwnedFd) -> zbus::Result<Attached>;
    /// Removes a port. Removing one that is gone succeeds.
    fn detach(&self, key: &str) -> zbus::Result<()>;
}
