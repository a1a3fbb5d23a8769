//! `org.corten.Netd1.Config1`.

use netd_api::diagnostic::Diagnostic;
use netd_api::generation::{ChangeOptions, Generation, Status};
use zbus::message::Header;
use zbus::{Connection, OwnedFd, interface};

use super::Handle;
use super::caller::Caller;
use super::documents::{self, Purpose};
use crate::engine::Engine;
use crate::engine::changes::Request;
use crate::failure::Failure;
use crate::progress;
use crate::store::record::Author;

/// The configuration: check it, apply it, take it back, read it.
pub struct Config1(pub(super) Handle);

/// Who asks for a change, why, and how.
fn request(caller: &Caller, options: ChangeOptions) -> Request {
    let author = Author {
        user: caller.user_name(),
        user_id: caller.user_id(),
        key_fingerprint: options.key_fingerprint.unwrap_or_default(),
    };
    Request {
        author,
        comment: options.comment.unwrap_or_default(),
        force: options.force.unwrap_or_default(),
        confirm_timeout_s: options.confirm_timeout_s.unwrap_or_default(),
        if_same: options.if_same.unwrap_or_default(),
    }
}

impl Config1 {
    /// Has the engine make a change that brings no document, for an administrator.
    async fn change(
        &self,
        options: ChangeOptions,
        header: Header<'_>,
        connection: &Connection,
        change: impl FnOnce(&mut Engine, &Request) -> Result<u64, Failure> + Send + 'static,
    ) -> Result<u64, Failure> {
        let caller = Caller::administrator(connection, &header).await?;
        let request = request(&caller, options);
        let held = self.0.writer.take(&request.author.user)?;
        self.0.change_with(held, move |engine| change(engine, &request)).await
    }
}

#[interface(name = "org.corten.Netd1.Config1")]
impl Config1 {
    /// Checks a document against the model and this switch. An empty answer means it could be applied. A document
    /// is a memfd, or a pipe that is written at once; a viewer's has at most 8 MiB, an administrator's 128 MiB.
    async fn validate(
        &self,
        document: OwnedFd,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Diagnostic>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        let _turn = self.0.documents.turn(&caller).await?;
        let document = documents::read(&caller, document.into(), Purpose::Question).await?;
        self.0.ask(&caller, move |engine| Ok(engine.validate(document).err().unwrap_or_default())).await
    }

    /// What applying a document would do to the network, a line each step, in order; bounded. Nothing is
    /// changed.
    async fn diff(
        &self,
        document: OwnedFd,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<String>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        let _turn = self.0.documents.turn(&caller).await?;
        let document = documents::read(&caller, document.into(), Purpose::Question).await?;
        self.0.ask(&caller, move |engine| engine.diff(document)).await
    }

    /// Applies a document whole, or leaves everything as it was, and answers the new generation.
    /// `base_generation` is the generation the caller edited, or 0 for any. With a `confirm_timeout_s` other
    /// than 0 the document is rolled back after so many seconds, unless it is confirmed. Options: `comment`,
    /// a line, `key_fingerprint`, that of the SSH key the caller came in with, and `if_same`, with which it confirms
    /// itself then if nothing of what was there before is lost.
    async fn apply(
        &self,
        document: OwnedFd,
        base_generation: u64,
        confirm_timeout_s: u32,
        options: ChangeOptions,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u64, Failure> {
        let caller = Caller::administrator(connection, &header).await?;
        let request = request(&caller, options);
        // Taken before a byte is read: one such document is held at a time.
        let held = self.0.writer.take(&request.author.user)?;
        let document = documents::read(&caller, document.into(), Purpose::Change).await?;
        let change =
            move |engine: &mut Engine| engine.apply(document, base_generation, confirm_timeout_s, &request);
        self.0.change_with(held, change).await
    }

    /// Confirms the generation that waits for it, and answers which one that is. Only who applied it may. The
    /// time at which the call arrives counts: what else netd is doing does not make it late.
    async fn confirm(
        &self,
        options: ChangeOptions,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u64, Failure> {
        let arrival = self.0.confirms.arrive();
        let caller = Caller::administrator(connection, &header).await?;
        let request = request(&caller, options);
        self.0.confirm(move |engine| engine.confirm_at(arrival.boottime_ns(), &request)).await
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
        let change = move |engine: &mut Engine, request: &Request| engine.roll_back(generation, request);
        self.change(options, header, connection, change).await
    }

    /// Takes back what waits for its confirmation, and answers what runs now. When nothing waits, nothing is
    /// changed.
    async fn take_back(
        &self,
        options: ChangeOptions,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u64, Failure> {
        self.change(options, header, connection, Engine::take_back_pending).await
    }

    /// The document of a generation, 0 for the running one, as a memfd, and which one that is. Who is no
    /// administrator sees no password hashes.
    async fn get(
        &self,
        generation: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(OwnedFd, u64), Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        let secrets = caller.is_admin();
        let (document, generation) =
            self.0.ask(&caller, move |engine| engine.get(generation, secrets)).await?;
        Ok((documents::write(&document)?.into(), generation))
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

    /// What netd is doing to the network at this moment, and how far it is, in words; empty for nothing. This is answered
    /// while a change is being made.
    async fn progress(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Failure> {
        Caller::viewer(connection, &header).await?;
        Ok(progress::now().map(|progress| progress.to_string()).unwrap_or_default())
    }

    /// What runs, and what is wrong with it.
    async fn status(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Status, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        let role = caller.role().map(|role| role.to_string()).unwrap_or_default();
        self.0.ask(&caller, move |engine| Ok(Status { role, ..engine.health() })).await
    }
}
