//! `corten confirm`, `take-back`, `rollback`, `history` and `show pending`: what becomes of changes, and what became
//! of them.

use netd_api::comparison::Comparison;
use netd_api::generation::{ChangeOptions, Generation, State};
use netd_api::state;
use serde::Serialize;

use super::apply::{self, Answer, CONFIRM_TIMEOUT_S, Confirm, until_confirmed, warning_lines};
use super::comparison as compared;
use super::risks::Risks;
use super::{Context, diff, risks};
use crate::cli::Format;
use crate::client::{self, Error, Netd};
use crate::document::Sources;
use crate::outcome::{Exit, Outcome};
use crate::tables;
use crate::target::Target;
use crate::text;

/// Confirms the change that waits for it. One that locks somebody out needs `force`.
pub async fn confirm(force: bool, context: &Context) -> Result<Outcome, Error> {
    let netd = super::connect().await?;
    if !force && let Some(warning) = risks::of_confirming(&netd).await? {
        let generation = netd.status().await?.generation;
        let way = way(context);
        let words = format!(
            "corten: generation {generation} is not confirmed: {warning}.\n\
             Take it back with `{way}take-back`, or confirm it with --force.\n"
        );
        return Ok(Outcome::failed(Exit::Refused, words));
    }
    match netd.confirm(client::options(None, force)).await {
        Ok(generation) => {
            Ok(Outcome::done(format!("Generation {generation} is confirmed: the switch starts with it.\n")))
        }
        Err(Error::NotFound(text)) => {
            let more = taken_back_words(&netd).await.map(|words| format!("{words}\n")).unwrap_or_default();
            Ok(Outcome::failed(Exit::Refused, format!("corten: {text}\n{more}")))
        }
        Err(error) => Ok(Outcome::failed(Exit::Refused, super::refusal(error)?)),
    }
}

/// Takes back the change that waits. When none does, nothing is changed.
pub async fn take_back(comment: Option<String>) -> Result<Outcome, Error> {
    let netd = super::connect().await?;
    let status = netd.status().await?;
    match netd.take_back(client::options(comment, false)).await {
        Ok(runs) => Ok(Outcome::done(taken_back(status.generation, runs))),
        Err(Error::NotFound(text)) => {
            let more = taken_back_words(&netd).await;
            let more = more.unwrap_or_else(|| format!("Generation {} runs, confirmed.", status.generation));
            Ok(Outcome::failed(Exit::Refused, format!("corten: {text}\n{more}\n")))
        }
        Err(error) => Ok(Outcome::failed(Exit::Refused, super::refusal(error)?)),
    }
}

fn taken_back(generation: u64, runs: u64) -> String {
    match runs {
        0 => format!(
            "Generation {generation} is taken back: no configuration runs now, as before the first one.\n"
        ),
        runs => format!("Generation {generation} is taken back: generation {runs} runs again.\n"),
    }
}

/// What to tell of the newest generation where it was taken back.
async fn taken_back_words(netd: &Netd) -> Option<String> {
    let status = netd.status().await.ok()?;
    let history = netd.history().await.ok()?;
    let newest = newest_taken_back(&history, status.generation)?;
    let reason = text::clean(&newest.reason);
    Some(format!(
        "Generation {} was taken back already ({reason}): generation {} runs.",
        newest.generation, status.generation
    ))
}

/// The newest generation, if it was taken back and what ran before it runs again.
fn newest_taken_back(history: &[Generation], running: u64) -> Option<&Generation> {
    history.first().filter(|row| row.state == State::RolledBack && row.generation > running)
}

/// A way back to an earlier generation that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollBack {
    /// What was said of the generation.
    pub target: Option<Target>,
    /// The generation; 0 until it is looked up.
    pub generation: u64,
    /// In what time it must be confirmed, in seconds; 0 for good.
    pub timeout_s: u32,
    /// Whether it confirms itself at the end of that if nothing is lost.
    pub if_same: bool,
    /// Whether it is made even if it locks out administrators.
    pub force: bool,
    /// What the history is to say.
    pub comment: Option<String>,
    /// The generation it was compared with; 0 until it was.
    pub compared_with: u64,
}

impl RollBack {
    /// What `rollback` and its options ask for.
    pub fn new(target: Option<Target>, confirm: Confirm, force: bool, comment: Option<String>) -> RollBack {
        let (timeout_s, if_same) = match confirm {
            Confirm::Never => (0, false),
            Confirm::Unsaid => (CONFIRM_TIMEOUT_S, false),
            Confirm::Within(seconds) | Confirm::IfSame(seconds) => (seconds, confirm.is_if_same()),
        };
        RollBack { target, generation: 0, timeout_s, if_same, force, comment, compared_with: 0 }
    }
}

/// What a look at a way back brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollBackReview {
    /// There is nothing to compare: it is done already, or cannot be.
    Over(Outcome),
    /// What it would change.
    Compared {
        /// That, for a person.
        text: String,
        /// With the generation found.
        request: RollBack,
    },
}

/// Goes back to an earlier generation, or takes back what waits. The comparison is told first.
pub async fn roll_back(request: RollBack, context: &Context) -> Result<Outcome, Error> {
    let (text, request) = match review_roll_back(request, context).await? {
        RollBackReview::Over(outcome) => return Ok(outcome),
        RollBackReview::Compared { text, request } => (text, request),
    };
    let mut outcome = carry_out(request, context).await?;
    outcome.out.insert_str(0, &text);
    Ok(outcome)
}

/// Finds the generation that is meant and compares it with what runs. What waits is taken back at once: that is no
/// way back, and nothing is lost by it.
pub async fn review_roll_back(request: RollBack, context: &Context) -> Result<RollBackReview, Error> {
    let netd = super::connect().await?;
    let status = netd.status().await?;
    let history = netd.history().await?;
    let refused = |words: String| Ok(RollBackReview::Over(Outcome::failed(Exit::Refused, words)));
    if status.role == "view" {
        // Of documents with masked hashes nothing could be compared.
        return refused(super::refusal(Error::Denied("you may look only".to_owned()))?);
    }
    let waits = status.confirm_by_s != 0;
    let way = way(context);
    let target = match request.target {
        None if waits => return Ok(RollBackReview::Over(take_back(request.comment).await?)),
        None => {
            if let Some(newest) = newest_taken_back(&history, status.generation) {
                let (generation, reason) = (newest.generation, text::clean(&newest.reason));
                let running = status.generation;
                return refused(format!(
                    "corten: nothing waits: generation {generation} was taken back already ({reason}), and \
                     generation {running} runs.\nDo you want to go further back? `{way}rollback -1` does.\n"
                ));
            }
            Target::Back(1)
        }
        Some(target) => target,
    };
    let generation = target.resolve(&netd).await?;
    if waits && history.iter().any(|row| row.generation == generation && row.state == State::Startup) {
        return Ok(RollBackReview::Over(take_back(request.comment).await?));
    }
    if generation == status.generation {
        return refused(format!("corten: generation {generation} is the running one\n"));
    }
    let document = diff::past(generation, &netd).await?;
    let mistakes = netd.validate(&document.text).await?;
    if !mistakes.is_empty() {
        let words = super::check::explain(&document, &mistakes, context);
        return refused(format!("{words}Generation {generation} does not fit this switch any more.\n"));
    }
    let told = diff::told(&document, &netd, context.look).await?;
    let request = RollBack { generation, compared_with: told.generation, ..request };
    Ok(RollBackReview::Compared { text: told.text, request })
}

/// Applies the document of the generation that was compared.
pub async fn carry_out(request: RollBack, context: &Context) -> Result<Outcome, Error> {
    let RollBack { generation, timeout_s, if_same, force, .. } = request;
    let netd = super::connect().await?;
    let running = netd.status().await?.generation;
    if running != request.compared_with {
        return Ok(not_gone(format!(
            "corten: generation {running} runs by now, and {} was compared with: compare again\n",
            request.compared_with
        )));
    }
    let (document, _) = netd.document(generation).await?;
    let risks: Risks = risks::of(&document, &netd).await?;
    if let Some(warning) = &risks.lockout
        && timeout_s == 0
        && !force
    {
        return Ok(not_gone(format!(
            "generation {generation}: {warning}.\nGo back to it with a time to confirm it in, or with --force.\n"
        )));
    }
    let if_same_wanted = (if_same && timeout_s != 0).then_some(true);
    let options = ChangeOptions { if_same: if_same_wanted, ..client::options(request.comment, force) };
    let going = netd.roll_back(generation, timeout_s, options);
    match apply::answer(going, (&document, running), (&netd, super::CALL_TIMEOUT), context).await {
        Ok(Answer::Lost(words)) => Ok(not_gone(words)),
        Ok(Answer::Made(to)) => {
            let mut out =
                format!("Applied as generation {to}: the document of generation {generation} again.\n");
            out.push_str(&warning_lines(&risks));
            if timeout_s != 0 {
                out.push_str(&until_confirmed(timeout_s, if_same, &netd, context).await);
            }
            out.push_str(&apply::pending_lines(&netd).await);
            Ok(Outcome::done(out))
        }
        Err(error) => Ok(not_gone(super::refusal(error)?)),
    }
}

fn not_gone(mut words: String) -> Outcome {
    words.push_str("Nothing was changed.\n");
    Outcome::failed(Exit::Refused, words)
}

/// How a command is written where this runs.
fn way(context: &Context) -> &'static str {
    if context.sources == Sources::RegularFiles { ":" } else { "corten " }
}

/// Shows what was applied, the newest first.
pub async fn history(format: Format, context: &Context) -> Result<Outcome, Error> {
    let rows = super::connect().await?.history().await?;
    match format.json {
        true => super::json(&rows),
        false => Ok(Outcome::done(tables::history::show(&rows, context.width, context.look))),
    }
}

/// What `corten show pending --json` prints, or `null` where nothing is pending at all. What is about a confirmation is
/// `null` while none is waited for.
#[derive(Default, Serialize)]
struct Pending {
    generation: u64,
    user: Option<String>,
    comment: Option<String>,
    since_s: Option<u64>,
    confirm_by_s: Option<u64>,
    left_s: Option<u64>,
    /// The generation that runs again unless this one is confirmed; 0 for none.
    previous: Option<u64>,
    /// What was there before it and is gone; `null` when netd does not tell.
    comparison: Option<Comparison>,
    /// What is not in operation yet, as others than the switch decide that.
    pending: Vec<state::Pending>,
}

/// Shows what waits for its confirmation, for how long, what is gone since, and what it changed; and what is not in
/// operation yet.
pub async fn pending(format: Format, context: &Context) -> Result<Outcome, Error> {
    let netd = super::connect().await?;
    let status = netd.status().await?;
    // A netd of before does not tell.
    let rows = netd.pending().await.unwrap_or_default();
    let waits = tables::pending::text(&rows, usize::MAX, true);
    if status.confirm_by_s == 0 {
        if format.json {
            let none = Pending { generation: status.generation, pending: rows, ..Pending::default() };
            return super::json(&Some(none).filter(|shown| !shown.pending.is_empty()));
        }
        let more = taken_back_words(&netd).await.map(|words| format!("{words}\n")).unwrap_or_default();
        return Ok(Outcome::done(format!("Nothing waits for its confirmation.\n{more}{waits}")));
    }
    let history = netd.history().await?;
    let row = history.iter().find(|row| row.generation == status.generation).cloned().unwrap_or_default();
    let previous = history.iter().find(|row| row.state == State::Startup).map_or(0, |row| row.generation);
    let (user, comment) = (text::clean(&status.user), text::clean(&row.comment));
    let left_s = status.confirm_by_s.saturating_sub(text::now_s());
    let comparison = netd.comparison().await.ok();
    if format.json {
        return super::json(&Some(Pending {
            generation: status.generation,
            user: Some(user),
            comment: Some(comment),
            since_s: Some(row.time_s),
            confirm_by_s: Some(status.confirm_by_s),
            left_s: Some(left_s),
            previous: Some(previous),
            comparison,
            pending: rows,
        }));
    }
    let (left, until) = (text::countdown(left_s), text::clock(status.confirm_by_s));
    let way = way(context);
    let mut out = format!(
        "Generation {} by {user} is in force, not confirmed: {left} left, until {until}.\n",
        status.generation
    );
    if !comment.is_empty() {
        out.push_str(&format!("Comment: {comment}\n"));
    }
    let if_same = comparison.as_ref().is_some_and(|comparison| comparison.if_same);
    let unless = match if_same {
        true => "It confirms itself then if nothing is lost. Else",
        false => "Unless it is confirmed",
    };
    match previous {
        0 => out.push_str(&format!("{unless} no configuration runs then.\n")),
        previous => out.push_str(&format!("{unless} generation {previous} runs again.\n")),
    }
    out.push_str(&format!("`{way}confirm` keeps it, `{way}take-back` ends it.\n"));
    out.push_str(&compared::show(comparison.as_ref(), context));
    out.push_str(&waits);
    if previous != 0 {
        out.push_str(&diff::documents(previous, status.generation, &netd, context.look).await?);
    }
    Ok(Outcome::done(out))
}
