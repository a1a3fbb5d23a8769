//! `org.corten.Netd1.Events1`.

use zbus::{OwnedFd, interface};

use crate::events::Hub;
use crate::events::watch::{self, Request};
use crate::failure::Failure;

/// Ports one reader may watch.
const MAX_PORTS: usize = 1024;

/// Events of the switch.
pub struct Events1(pub(super) Hub);

#[interface(name = "org.corten.Netd1.Events1")]
impl Events1 {
    /// Answers a stream of events as JSON lines, from the one after `after_seq` of `boot_id`. An empty
    /// `boot_id`, or one of an earlier start, begins with a snapshot; so does a number no longer kept.
    /// The links of `ports` are looked at every few milliseconds while the stream is open.
    async fn watch(&self, boot_id: String, after_seq: u64, ports: Vec<String>) -> Result<OwnedFd, Failure> {
        if ports.len() > MAX_PORTS {
            return Err(Failure::Invalid(format!("at most {MAX_PORTS} ports can be watched")));
        }
        let request = Request { boot_id, after_seq, ports };
        let stream = watch::open(&self.0, request).map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(stream.into())
    }
}
