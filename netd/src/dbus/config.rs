//! `org.corten.Netd1.Config1`.

use netd_api::diagnostic::Diagnostic;
use zbus::message::Header;
use zbus::{Connection, interface};

use super::Handle;
use super::caller::Caller;
use crate::failure::Failure;

/// The configuration: check it, apply it, read it.
pub struct Config1(pub(super) Handle);

#[interface(name = "org.corten.Netd1.Config1")]
impl Config1 {
    /// Checks a document against the model and this switch. An empty answer means it could be applied.
    async fn validate(&self, document: String) -> Result<Vec<Diagnostic>, Failure> {
        self.0.call(move |engine| Ok(engine.validate(&document).err().unwrap_or_default())).await
    }

    /// Applies a document and answers the new generation. `base_generation` is the generation the caller
    /// edited, or 0 for any; `confirm_timeout_s` must be 0.
    async fn apply(
        &self,
        document: String,
        base_generation: u64,
        confirm_timeout_s: u32,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u64, Failure> {
        // The bus policy admits administrators only; this is the second lock.
        if !Caller::of(connection, &header).await?.is_admin() {
            return Err(Failure::Denied("only administrators may change the switch".to_owned()));
        }
        self.0.call(move |engine| engine.apply(document, base_generation, confirm_timeout_s)).await
    }

    /// The running document and its generation. Who is no administrator sees no password hashes.
    async fn get(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(String, u64), Failure> {
        let secrets = Caller::of(connection, &header).await?.is_admin();
        self.0.call(move |engine| engine.get(secrets)).await
    }
}
