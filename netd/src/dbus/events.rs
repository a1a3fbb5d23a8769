//! `org.corten.Netd1.Events1`.

use zbus::message::Header;
use zbus::{Connection, OwnedFd, interface};

use super::Handle;
use super::caller::Caller;
use crate::events::watch::{self, Request};
use crate::failure::Failure;
use crate::rights;

/// Ports one reader may watch.
const MAX_PORTS: usize = 1024;
/// Longest name of an interface, in bytes (`IFNAMSIZ` with its zero byte is 16).
const MAX_NAME_BYTES: usize = 15;
/// Longest `boot_id`, in bytes: that of the kernel has 36, and the time of netd's start follows.
const MAX_BOOT_ID_BYTES: usize = 100;

/// Events of the switch.
pub struct Events1(pub(super) Handle);

#[interface(name = "org.corten.Netd1.Events1")]
impl Events1 {
    /// Answers a stream of events as JSON lines, from the one after `after_seq` of `boot_id`. An empty
    /// `boot_id`, or one of an earlier start, begins with a snapshot; so does a number no longer kept.
    /// The links of `ports` are looked at every few milliseconds while the stream is open. A reader that
    /// does not read for 30 s is cut off, as is one whose user may not look at the switch any more.
    async fn watch(
        &self,
        boot_id: String,
        after_seq: u64,
        ports: Vec<String>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedFd, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        if ports.len() > MAX_PORTS {
            return Err(Failure::Invalid(format!("at most {MAX_PORTS} ports can be watched")));
        }
        let is_name = |name: &String| (1..=MAX_NAME_BYTES).contains(&name.len());
        if !ports.iter().all(is_name) {
            return Err(Failure::Invalid(format!("a port's name has 1 to {MAX_NAME_BYTES} bytes")));
        }
        if boot_id.len() > MAX_BOOT_ID_BYTES {
            return Err(Failure::Invalid(format!("boot_id: longer than {MAX_BOOT_ID_BYTES} bytes")));
        }
        let hub = &self.0.hub;
        if let Some(unknown) = ports.iter().find(|name| !hub.knows_link(name)) {
            return Err(Failure::NotFound(format!("no port {unknown:?} on this switch")));
        }
        let permit = self.0.watchers.take(&caller)?;
        let request = Request { boot_id, after_seq, ports };
        // Who a user is, is asked again after a change alone: it is a question to userdb.
        let (mut change, mut is_viewer) = (rights::change(), true);
        let may_look = move || {
            let last = rights::change();
            if last != std::mem::replace(&mut change, last) {
                is_viewer = caller.is_viewer();
            }
            is_viewer
        };
        let stream = watch::open(hub, request, permit, may_look);
        let stream = stream.map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(stream.into())
    }
}
