//! Changes of the configuration: applied, confirmed, rolled back by hand or when their time is up.

use std::time::Duration;

use netd_api::access::lockout::lockout;
use netd_api::config::{self, Config};
use netd_api::diagnostic::Diagnostic;
use netd_api::events::{EventKind, EventSource};
use netd_api::generation::{MAX_COMMENT_CHARS, key_fingerprint};

use crate::clock::{self, Moment};
use crate::engine::Engine;
use crate::engine::comparing::Before;
use crate::engine::upkeep::Look;
use crate::failure::Failure;
use crate::policy;
use crate::rights;
use crate::state::pending::changed;
use crate::store::Begun;
use crate::store::record::{Author, Journal, Meta, Outcome, Pending};
use crate::transaction::Report;

/// Longest fingerprint somebody may claim, in bytes; those of SSH have 50.
const MAX_FINGERPRINT_BYTES: usize = 100;
const SECOND_NS: u64 = 1_000_000_000;

/// Who asks for a change, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Who.
    pub author: Author,
    /// Why; empty when the author does not say.
    pub comment: String,
    /// Whether the change is to be made even if it locks out administrators.
    pub force: bool,
    /// Of a roll-back to an earlier generation: in what time it must be confirmed; 0 for good.
    pub confirm_timeout_s: u32,
    /// Of a change that must be confirmed in some time: whether it confirms itself at the end of that if nothing is lost.
    pub if_same: bool,
}

/// A document that a caller sent, with its meaning. Making one needs no engine.
#[derive(Clone, Debug)]
pub struct Document {
    /// As it was sent.
    pub text: String,
    /// What it means, or its mistakes.
    pub config: Result<Config, Vec<Diagnostic>>,
}

impl Document {
    /// Reads a text.
    pub fn parse(text: String) -> Document {
        Document { config: config::parse(&text), text }
    }
}

impl From<&str> for Document {
    fn from(text: &str) -> Document {
        Document::parse(text.to_owned())
    }
}

impl From<&String> for Document {
    fn from(text: &String) -> Document {
        Document::parse(text.clone())
    }
}

impl From<String> for Document {
    fn from(text: String) -> Document {
        Document::parse(text)
    }
}

/// A document that is to run.
struct Change {
    document: String,
    config: Config,
    /// 0 for a change that needs no confirmation.
    confirm_timeout_s: u32,
    /// The generation whose document it is again.
    restores: Option<u64>,
}

impl Engine {
    /// Applies a document whole, or leaves everything as it was. Answers the new generation. With a
    /// `confirm_timeout_s` other than 0 it is rolled back after that many seconds unless it is confirmed.
    pub fn apply(
        &mut self,
        document: impl Into<Document>,
        base_generation: u64,
        confirm_timeout_s: u32,
        request: &Request,
    ) -> Result<u64, Failure> {
        let outcome = self.try_apply(document.into(), base_generation, confirm_timeout_s, request);
        // A refusal may come from a partition that is full.
        self.check_storage();
        self.log_refusal("applied", request, outcome)
    }

    fn try_apply(
        &mut self,
        document: Document,
        base_generation: u64,
        confirm_timeout_s: u32,
        request: &Request,
    ) -> Result<u64, Failure> {
        self.expire();
        self.check_request(request)?;
        self.check_lock(&request.author)?;
        if base_generation != 0 && base_generation != self.generation {
            let running = self.generation;
            return Err(Failure::Conflict(format!(
                "the running configuration is generation {running}, the change was made from {base_generation}: look at the new one and apply again"
            )));
        }
        let config = self.admit(document.config).map_err(Failure::invalid)?;
        let document = document.text;
        if confirm_timeout_s != 0 && !self.managing {
            return Err(Failure::Failed(
                "there is no configuration to go back to: apply without a confirmation".to_owned(),
            ));
        }
        if confirm_timeout_s == 0 {
            if self.runs_for_good(&document) {
                return self.make_again(request);
            }
            self.check_lockout(&config, request)?;
        }
        self.carry_out(Change { document, config, confirm_timeout_s, restores: None }, request)
    }

    /// Whether this is the document that runs and that the switch starts with.
    fn runs_for_good(&self, document: &str) -> bool {
        self.managing
            && self.pending.is_none()
            && self.refused_startup.is_none()
            && self.confirmed == self.generation
            && self.document == document
    }

    /// Makes the kernel as the running configuration says, whatever somebody else changed; that needs no new
    /// generation.
    fn make_again(&mut self, request: &Request) -> Result<u64, Failure> {
        self.load_rules(&policy::ruleset(&self.config))?;
        let (report, desired) = self.commit_wanted(&self.config.clone())?;
        self.desired = desired;
        self.drift.clear();
        self.problems.clear();
        self.tell("unchanged", request, Some(report.steps));
        Ok(self.generation)
    }

    fn carry_out(&mut self, change: Change, request: &Request) -> Result<u64, Failure> {
        let to = self.generation.max(self.store.last_generation()) + 1;
        let now = Moment::now();
        let unconfirmed = change.confirm_timeout_s != 0;
        if request.if_same && !unconfirmed {
            let words = "what confirms itself if nothing is lost needs a time after which it does";
            return Err(Failure::Invalid(words.to_owned()));
        }
        // Beside what is written to the disk.
        let before = unconfirmed.then(|| self.begin_record());
        let meta = Meta {
            time_s: clock::unix_s(),
            author: request.author.clone(),
            comment: request.comment.clone(),
            outcome: if unconfirmed { Outcome::Unconfirmed } else { Outcome::Confirmed },
            reason: String::new(),
            restores: change.restores,
        };
        let replaces = self.pending.as_ref().map(|pending| pending.generation);
        let journal = Journal { to, from: self.generation, replaces, boot_id: now.boot_id, meta };
        let begun = self.store.begin(journal, &change.document, &[self.generation, self.confirmed]);
        let begun = begun.map_err(|error| Failure::Failed(format!("nothing was changed: {error}")))?;
        self.undo_left = false;
        let old_rules = self.ruleset.clone();
        let done = self.load_rules(&policy::ruleset(&change.config));
        let mut record = before.and_then(Before::end);
        self.see_hosts(&mut record);
        let done = done.and_then(|()| self.break_out(&change.config));
        let done = done.and_then(|_| self.commit_wanted(&change.config));
        self.complete_record(&mut record);
        let (report, desired) = match done {
            Ok(done) => done,
            Err(failure) => {
                self.restore_rules(&old_rules);
                self.undo_breakout();
                self.give_up(&begun, &failure.words());
                return Err(failure);
            }
        };
        let recorded_ns = record.as_ref().map(|record| record.taken_ns);
        let pending =
            unconfirmed.then(|| self.pending_of(to, change.confirm_timeout_s, recorded_ns, request));
        if let Some(record) = &record {
            self.save_record(record);
        }
        if !unconfirmed && self.refused_startup.is_some() {
            self.store.keep_refused();
        }
        if let Err(error) = self.store.commit(&begun, pending.as_ref()) {
            return Err(self.undo(&begun, &report, &change.config, &old_rules, &error.to_string()));
        }
        if !unconfirmed {
            self.confirmed = to;
            self.refused_startup = None;
        }
        match &pending {
            Some(_) => self.begin_comparing(record),
            None => self.end_comparing(),
        }
        let changed = changed(&self.desired, &desired);
        // What takes the place of a change that waits is about that one's links, too.
        match unconfirmed && self.pending.is_some() {
            true => self.changed.extend(changed),
            false => self.changed = changed,
        }
        self.pending = pending;
        self.pending_since_ns = clock::boottime_ns();
        self.desired = desired;
        self.managing = true;
        self.to_restore = None;
        // What is still wrong shows at the look that follows, which brings alarms in line with it: those that stay keep
        // their beginning.
        self.problems.clear();
        self.adopt(change.document, change.config, to);
        self.store.tidy(&[to, self.confirmed]);
        if report.steps > 0 {
            self.settle_carriers();
        }
        self.check_records();
        self.tell_applied(&report, request);
        Ok(to)
    }

    /// Takes back what the kernel has already been told, when the disk does not take the change.
    fn undo(
        &mut self,
        begun: &Begun,
        report: &Report,
        config: &Config,
        old_rules: &str,
        error: &str,
    ) -> Failure {
        self.restore_rules(old_rules);
        self.undo_breakout();
        let undone = self.commit(&report.before, config).err();
        let undone = undone.map(|failure| format!("; undoing: {}", failure.words())).unwrap_or_default();
        let words = format!("the change was undone: {error}{undone}");
        self.give_up(begun, &words);
        Failure::Failed(words)
    }

    fn give_up(&self, begun: &Begun, reason: &str) {
        match self.undo_left {
            false => self.store.give_up(begun),
            true => self.store.give_up_degraded(begun, reason),
        }
    }

    /// What is kept of a generation until it is confirmed. One that takes the place of another unconfirmed
    /// one is rolled back to the same confirmed one.
    fn pending_of(
        &self,
        generation: u64,
        confirm_timeout_s: u32,
        recorded_ns: Option<u64>,
        request: &Request,
    ) -> Pending {
        let now = Moment::now();
        Pending {
            generation,
            previous: self.confirmed,
            author: request.author.clone(),
            since_s: clock::unix_s(),
            boot_id: now.boot_id,
            deadline_ns: now.boottime_ns.saturating_add(u64::from(confirm_timeout_s) * SECOND_NS),
            recorded_ns,
            if_same: request.if_same,
            force: request.if_same && request.force,
        }
    }

    fn tell_applied(&self, report: &Report, request: &Request) {
        for step in &report.words {
            tracing::info!("generation {}: {step}", self.generation);
        }
        let what = match self.pending {
            Some(_) => "applied, to be confirmed",
            None => "applied",
        };
        self.tell(what, request, Some(report.steps));
        let kind = if self.pending.is_some() { EventKind::Unconfirmed } else { EventKind::Applied };
        self.announce(kind, request);
    }

    /// Logs a change with who made it.
    fn tell(&self, what: &str, request: &Request, steps: Option<usize>) {
        let Author { user, user_id, key_fingerprint } = &request.author;
        let (generation, comment) = (self.generation, request.comment.as_str());
        tracing::info!(
            generation,
            user,
            user_id,
            key = key_fingerprint,
            comment,
            steps,
            "configuration {what}"
        );
    }

    fn announce(&self, kind: EventKind, request: &Request) {
        let detail = match request.comment.as_str() {
            "" => format!("by {}", request.author.user),
            comment => format!("by {}: {comment}", request.author.user),
        };
        self.hub.tell(kind, &self.generation.to_string(), EventSource::Netd, detail);
    }

    /// Makes the generation that waits for it the one the switch starts with. Only who applied it may.
    pub fn confirm(&mut self, request: &Request) -> Result<u64, Failure> {
        self.confirm_at(clock::boottime_ns(), request)
    }

    /// The same for a request that arrived at an earlier moment of CLOCK_BOOTTIME: it is in time if it was then, and
    /// confirms what ran then.
    pub fn confirm_at(&mut self, arrived_ns: u64, request: &Request) -> Result<u64, Failure> {
        let outcome = self.try_confirm(arrived_ns, request);
        self.log_refusal("confirmed", request, outcome)
    }

    fn try_confirm(&mut self, arrived_ns: u64, request: &Request) -> Result<u64, Failure> {
        self.expire_at(arrived_ns);
        self.check_request(request)?;
        let Some(pending) = self.pending.clone() else {
            return Err(Failure::NotFound("nothing waits for a confirmation".to_owned()));
        };
        self.check_lock(&request.author)?;
        if arrived_ns < self.pending_since_ns {
            let number = pending.generation;
            return Err(Failure::Conflict(format!(
                "generation {number} was applied after this confirmation was sent: look at it, then confirm it"
            )));
        }
        let lost = self.lost();
        let generation = self.make_confirmed(&pending, request)?;
        if let Some(lost) = lost {
            tracing::info!("generation {generation} is confirmed with what it changed: {lost}");
        }
        Ok(generation)
    }

    /// Makes the generation that waits the one the switch starts with.
    pub(super) fn make_confirmed(&mut self, pending: &Pending, request: &Request) -> Result<u64, Failure> {
        self.check_lockout(&self.config, request)?;
        if self.refused_startup.is_some() {
            self.store.keep_refused();
        }
        self.store.confirm(pending).map_err(|error| Failure::Failed(format!("not confirmed: {error}")))?;
        if pending.previous != 0 && self.store.meta(pending.generation).restores.is_some() {
            self.note_left(pending.previous, pending.generation, request);
        }
        self.pending = None;
        self.end_comparing();
        rights::confirm();
        self.confirmed = pending.generation;
        self.refused_startup = None;
        self.tell("confirmed", request, None);
        self.announce(EventKind::Confirmed, request);
        Ok(pending.generation)
    }

    /// Takes back what waits for its confirmation, whoever applied it; when nothing does, or the document of
    /// another generation is asked for, that document is applied again. 0 is the generation before. Answers
    /// what runs then.
    pub fn roll_back(&mut self, generation: u64, request: &Request) -> Result<u64, Failure> {
        let outcome = self.try_roll_back(generation, request);
        self.log_refusal("rolled back", request, outcome)
    }

    /// Takes back what waits for its confirmation, whoever applied it, and answers what runs then. When nothing
    /// waits, nothing is changed: a change that ran out a moment ago must not cost the one before it.
    pub fn take_back_pending(&mut self, request: &Request) -> Result<u64, Failure> {
        self.expire();
        self.check_request(request)?;
        if self.pending.is_none() {
            return Err(Failure::NotFound("nothing waits for a confirmation".to_owned()));
        }
        self.take_back(&format!("rolled back by {}", request.author.user), request)?;
        Ok(self.generation)
    }

    fn try_roll_back(&mut self, generation: u64, request: &Request) -> Result<u64, Failure> {
        self.expire();
        self.check_request(request)?;
        if let Some(pending) = &self.pending
            && (generation == 0 || generation == pending.previous)
        {
            self.take_back(&format!("rolled back by {}", request.author.user), request)?;
            return Ok(self.generation);
        }
        self.check_lock(&request.author)?;
        let target = match generation {
            0 => self.store.before(self.generation, &self.document).ok_or_else(|| {
                Failure::NotFound("there is no earlier generation with another configuration".to_owned())
            })?,
            number if number == self.generation => {
                return Err(Failure::Invalid(format!("generation {number} is the running one")));
            }
            number => number,
        };
        let document = self.past(target)?;
        let config = self.validate(document.as_str()).map_err(|mistakes| {
            let words = Failure::invalid(mistakes).words();
            Failure::Failed(format!("generation {target} does not fit this switch any more: {words}"))
        })?;
        let (left, confirm_timeout_s) = (self.generation, request.confirm_timeout_s);
        if confirm_timeout_s == 0 {
            self.check_lockout(&config, request)?;
        }
        let restores = Some(self.store.meta(target).restores.unwrap_or(target));
        let change = Change { document, config, confirm_timeout_s, restores };
        let comment = match request.comment.as_str() {
            "" => format!("generation {target} again"),
            comment => comment.to_owned(),
        };
        let request = Request { comment, ..request.clone() };
        let to = self.carry_out(change, &request)?;
        // One that waits may still be taken back: then the one before was never left.
        if confirm_timeout_s == 0 {
            self.note_left(left, to, &request);
        }
        Ok(to)
    }

    /// Notes that a generation was left for an earlier one, which runs as generation `to`.
    fn note_left(&self, left: u64, to: u64, request: &Request) {
        let reason = format!("rolled back by {} with generation {to}", request.author.user);
        self.store.set_outcome(left, Outcome::RolledBack, &reason);
    }

    /// Refuses what locks out administrators for good, unless it is forced. Root is no user of the configuration,
    /// and locked out by none.
    fn check_lockout(&self, config: &Config, request: &Request) -> Result<(), Failure> {
        if request.force || !self.managing {
            return Ok(());
        }
        let parsed = self.confirmed_config();
        let before = parsed.as_ref().unwrap_or(self.config.as_ref());
        match lockout(before, config, &request.author.user) {
            Some(lockout) => Err(Failure::Lockout(lockout.to_string())),
            None => Ok(()),
        }
    }

    /// netd was restarted while a change waits: it is about the same links as before.
    pub(super) fn resume_pending(&mut self) {
        if self.pending.is_none() {
            return;
        }
        let before = self.confirmed_config().map(|config| self.wanted(&config, &self.attachments));
        self.changed = changed(&before.unwrap_or_default(), &self.desired);
    }

    /// The confirmed configuration, while another one runs.
    fn confirmed_config(&self) -> Option<Config> {
        let pending = self.pending.as_ref()?;
        config::parse(&self.store.past(pending.previous).ok()?).ok()
    }

    /// What was refused leaves a line in the log: who tried, and why it did not come about.
    fn log_refusal(
        &self,
        what: &str,
        request: &Request,
        outcome: Result<u64, Failure>,
    ) -> Result<u64, Failure> {
        if let Err(failure) = &outcome {
            let Author { user, user_id, .. } = &request.author;
            let words = failure.words();
            // Of a document with many mistakes the first says enough.
            let reason = words.lines().next().unwrap_or_default();
            let generation = self.generation;
            tracing::error!(generation, user, user_id, "configuration not {what}: {reason}");
        }
        outcome
    }

    /// Goes back to the startup document. It cannot be refused: what the kernel does not take is a problem
    /// from then on, and tried again.
    fn take_back(&mut self, reason: &str, request: &Request) -> Result<(), Failure> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let taken_back = pending.generation;
        self.end_comparing();
        self.store.roll_back(&pending, reason);
        self.tell("rolled back", request, None);
        self.run_startup();
        let desired = self.wanted(&self.config, &self.attachments);
        self.changed = changed(&self.desired, &desired);
        self.desired = desired;
        // What is only reported when somebody else changes it was changed by netd itself here.
        self.settled = false;
        let look = self.look();
        tracing::info!(
            "generation {taken_back} is taken back ({reason}): generation {} runs",
            self.generation
        );
        let object = taken_back.to_string();
        self.hub.tell(EventKind::RolledBack, &object, EventSource::Netd, reason);
        match look {
            Look::Wrong => Err(Failure::Failed(format!(
                "generation {} runs again, but not all of it could be put back yet: {}",
                self.generation,
                self.problems().join("; ")
            ))),
            Look::Same | Look::Repaired => Ok(()),
        }
    }

    /// When what waits for its confirmation is rolled back, by CLOCK_BOOTTIME.
    pub fn confirm_by_ns(&self) -> Option<u64> {
        self.pending.as_ref().map(|pending| pending.deadline_ns)
    }

    /// How long until [`Engine::on_deadline`] has something to do; `None` while nothing is waited for.
    pub fn next_deadline(&self) -> Option<Duration> {
        let pending = self.pending.as_ref().map(|pending| pending.deadline_ns);
        let next = pending.into_iter().chain(self.stable_at_ns).min()?;
        Some(Duration::from_nanos(next.saturating_sub(clock::boottime_ns())))
    }

    /// Does what was to be done by now: rolls back what was not confirmed in time, takes netd for stable.
    pub fn on_deadline(&mut self) {
        self.on_deadline_at(clock::boottime_ns());
    }

    /// The same, at a moment of CLOCK_BOOTTIME.
    pub fn on_deadline_at(&mut self, now_ns: u64) {
        if self.stable_at_ns.is_some_and(|at| at <= now_ns) {
            self.forget_starts();
            self.alarms.forget_remembered();
        }
        self.expire_at(now_ns);
    }

    fn expire(&mut self) {
        self.expire_at(clock::boottime_ns());
    }

    fn expire_at(&mut self, now_ns: u64) {
        let Some(pending) = self.pending.clone().filter(|pending| pending.deadline_ns <= now_ns) else {
            return;
        };
        let Some(reason) = self.conclude(&pending) else { return };
        // Nobody asked for it, so nobody is told but the log.
        if let Err(failure) = self.take_back(&reason, &Request::default()) {
            tracing::error!("{}", failure.words());
        }
    }

    /// netd ends: what it is about goes on, and this start ended well.
    pub fn end(&mut self) {
        self.forget_starts();
    }

    fn forget_starts(&mut self) {
        self.stable_at_ns = None;
        self.store.clear_starts();
    }

    fn check_request(&self, request: &Request) -> Result<(), Failure> {
        let Request { author, comment, .. } = request;
        if comment.chars().count() > MAX_COMMENT_CHARS || comment.contains(char::is_control) {
            return Err(Failure::Invalid(format!(
                "a comment is one line of at most {MAX_COMMENT_CHARS} characters"
            )));
        }
        let key = author.key_fingerprint.as_str();
        if key.len() > MAX_FINGERPRINT_BYTES || key.contains(char::is_control) {
            return Err(Failure::Invalid("no fingerprint of a key".to_owned()));
        }
        if key.is_empty() || self.holds_key(&author.user, key) {
            return Ok(());
        }
        Err(Failure::Denied(format!("{} has no key {key} in the running configuration", author.user)))
    }

    /// Whether a user has a key in the running configuration, or in the one that runs again unless it is
    /// confirmed: who replaces a key must be able to confirm that.
    fn holds_key(&self, user: &str, fingerprint: &str) -> bool {
        let has = |config: &Config| {
            let keys = config.users.get(user).map(|user| user.keys.as_slice()).unwrap_or_default();
            keys.iter().any(|key| key_fingerprint(key).as_deref() == Some(fingerprint))
        };
        has(&self.config) || self.confirmed_config().is_some_and(|config| has(&config))
    }

    /// While a generation waits for its confirmation, only who applied it may change anything.
    fn check_lock(&self, author: &Author) -> Result<(), Failure> {
        match &self.pending {
            Some(pending) if pending.author.user_id != author.user_id => Err(Failure::Locked(format!(
                "locked by {} since {}, waiting for confirmation until {}",
                pending.author.user,
                clock::show(pending.since_s),
                clock::show(clock::Now::take().wall_s(pending.deadline_ns))
            ))),
            _ => Ok(()),
        }
    }
}
