//! `org.corten.Netd1.Config1`.

use netd_api::diagnostic::Diagnostic;
use netd_api::generation::{ChangeOptions, Generation, Status};
use zbus::message::Header;
use zbus::{Connection, interface};

use super::Handle;
use super::caller::Caller;
use crate::engine::Engine;
use crate::engine::changes::Request;
use crate::failure::Failure;
use crate::store::record::Author;

/// The configuration: check it, apply it, take it back, read it.
pub struct Config1(pub(super) Handle);

impl Config1 {
    /// Makes a change for an administrator, unless somebody else is making one. The bus policy admits
    /// administrators only; this is the second lock.
    async fn change<T: Send + 'static>(
        &self,
        caller: Caller,
        options: ChangeOptions,
        change: impl FnOnce(&mut Engine, &Request) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        if !caller.is_admin() {
            return Err(Failure::Denied("only administrators may change the switch".to_owned()));
        }
        let author = Author {
            user: caller.user_name(),
            user_id: caller.user_id(),
            key_fingerprint: options.key_fingerprint.unwrap_or_default(),
        };
        let request = Request { author, comment: options.comment.unwrap_or_default() };
        let held = self.0.writer.take(&request.author.user)?;
        let job = move |engine: &mut Engine| {
            let outcome = change(engine, &request);
            drop(held);
            outcome
        };
        self.0.change(job).await
    }
}

#[interface(name = "org.corten.Netd1.Config1")]
impl Config1 {
    /// Checks a document against the model and this switch. An empty answer means it could be applied.
    async fn validate(
        &self,
        document: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Diagnostic>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.ask(&caller, move |engine| Ok(engine.validate(&document).err().unwrap_or_default())).await
    }

    /// What applying a document would do to the network, a line each step, in order; bounded. Nothing is
    /// changed.
    async fn diff(
        &self,
        document: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<String>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.ask(&caller, move |engine| engine.diff(&document)).await
    }

    /// Applies a document whole, or leaves everything as it was, and answers the new generation.
    /// `base_generation` is the generation the caller edited, or 0 for any. With a `confirm_timeout_s` other
    /// than 0 the document is rolled back after so many seconds, unless it is confirmed. Options: `comment`,
    /// a line, and `key_fingerprint`, that of the SSH key the caller came in with.
    async fn apply(
        &self,
        document: String,
        base_generation: u64,
        confirm_timeout_s: u32,
        options: ChangeOptions,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u64, Failure> {
        let caller = Caller::of(connection, &header).await?;
        let change = move |engine: &mut Engine, request: &Request| {
            engine.apply(document, base_generation, confirm_timeout_s, request)
        };
        self.change(caller, options, change).await
    }

    /// Confirms the generation that waits for it, and answers which one that is. Only who applied it may.
    async fn confirm(
        &self,
        options: ChangeOptions,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u64, Failure> {
        let caller = Caller::of(connection, &header).await?;
        self.change(caller, options, Engine::confirm).await
    }

    /// Takes back what waits for its confirmation; when nothing does, applies the document of an earlier
    /// generation again, as a new one. `generation` 0 is the one before. Answers what runs now.
    async fn roll_back(
        &self,
        generation: u64,
        options: ChangeOptions,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u64, Failure> {
        let caller = Caller::of(connection, &header).await?;
        let change = move |engine: &mut Engine, request: &Request| engine.roll_back(generation, request);
        self.change(caller, options, change).await
    }

    /// The document of a generation, 0 for the running one, and which one that is. Who is no administrator
    /// sees no password hashes.
    async fn get(
        &self,
        generation: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(String, u64), Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        let secrets = caller.is_admin();
        self.0.ask(&caller, move |engine| engine.get(generation, secrets)).await
    }

    /// All generations that are kept, the newest first.
    async fn history(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Generation>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.ask(&caller, |engine| Ok(engine.history())).await
    }

    /// What runs, and what is wrong with it.
    async fn status(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Status, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.ask(&caller, |engine| Ok(engine.health())).await
    }
}
