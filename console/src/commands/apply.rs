//! `corten apply`: a document becomes the running configuration, whole or not at all.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use netd_api::generation::ChangeOptions;

use super::risks::{self, Risks};
use super::{Context, check, comparison};
use crate::caret;
use crate::client::{Error, Netd};
use crate::document::{self, Document, Sources};
use crate::outcome::{Exit, Outcome};
use crate::{tables, text, timespan};

/// Time in which a change must be confirmed where nobody said another, in seconds.
pub const CONFIRM_TIMEOUT_S: u32 = 120;
/// Interfaces that an apply names as pending.
const MOST_PENDING: usize = 10;
/// How often it is told that netd is still at it.
const STILL_PERIOD: Duration = Duration::from_secs(15);
/// How long netd is asked what became of a change whose answer did not come.
const ASK_PATIENCE: Duration = Duration::from_secs(60);

/// The generation a document is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The one running when the command starts.
    Running,
    /// This one.
    Is(u64),
    /// Whichever.
    Any,
}

impl Base {
    /// What `--base` and `--force` say.
    pub fn of(base: Option<u64>, force: bool) -> Base {
        if force { Base::Any } else { base.map_or(Base::Running, Base::Is) }
    }
}

/// Whether a change must be confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    /// Nobody said: it must where it may end the session it is made in.
    #[default]
    Unsaid,
    /// Within so many seconds.
    Within(u32),
    /// The same, and at their end it confirms itself if nothing is lost.
    IfSame(u32),
    /// It need not.
    Never,
}

impl Confirm {
    /// What `--confirm`, `--no-confirm` and `--if-same` say.
    pub fn of(confirm: Option<u32>, no_confirm: bool, if_same: bool) -> Confirm {
        match (no_confirm, if_same, confirm) {
            (true, ..) => Confirm::Never,
            (false, true, confirm) => Confirm::IfSame(confirm.unwrap_or(CONFIRM_TIMEOUT_S)),
            (false, false, confirm) => confirm.map_or(Confirm::Unsaid, Confirm::Within),
        }
    }

    /// Whether it confirms itself if nothing is lost.
    pub fn is_if_same(self) -> bool {
        matches!(self, Confirm::IfSame(_))
    }

    /// In what time, 0 for none; `cut` is whether the change may end the session.
    fn timeout_s(self, cut: bool) -> u32 {
        match self {
            Confirm::Within(seconds) | Confirm::IfSame(seconds) => seconds,
            Confirm::Never => 0,
            Confirm::Unsaid if cut => CONFIRM_TIMEOUT_S,
            Confirm::Unsaid => 0,
        }
    }
}

/// How a document is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The generation it is based on.
    pub base: Base,
    /// Whether it must be confirmed.
    pub confirm: Confirm,
    /// Whether it is applied even if it locks out administrators.
    pub force: bool,
    /// What the history is to say.
    pub comment: Option<String>,
}

/// Reads, checks and applies a document, with `patience` for netd's answer.
pub async fn run(
    file: &str,
    change: Change,
    patience: Option<u32>,
    context: &Context,
) -> Result<Outcome, Error> {
    let document = match document::read(file, context.sources) {
        Ok(document) => document,
        Err(message) => return Ok(check::unreadable(&message)),
    };
    // Found before netd is asked: a document that is wrong is wrong without a switch, too.
    let mistakes = check::mistakes(&document);
    if !mistakes.is_empty() {
        return Ok(not_applied(check::explain(&document, &mistakes, context)));
    }
    let patience = patience.map_or(super::CALL_TIMEOUT, |seconds| Duration::from_secs(seconds.into()));
    let netd = Netd::connect(patience).await?;
    let advice = "Apply it with --confirm, so that it is taken back by itself, or with --force.";
    match apply(&document, change, advice, (&netd, patience), context).await {
        Ok(outcome) => Ok(outcome),
        Err(Error::Invalid(text)) => {
            Ok(not_applied(check::explain(&document, &caret::parse_lines(&text), context)))
        }
        Err(Error::Conflict(text)) => Ok(not_applied(format!(
            "corten: {text}\n\
             The running configuration was changed by someone else: see `corten config`, then apply again \
             (--force overwrites).\n"
        ))),
        Err(error) => Ok(not_applied(super::refusal(error)?)),
    }
}

/// Has netd check and apply a document. `lockout_advice` tells how one that locks somebody out is applied even so.
pub(super) async fn apply(
    document: &Document,
    change: Change,
    lockout_advice: &str,
    (netd, patience): (&Netd, Duration),
    context: &Context,
) -> Result<Outcome, Error> {
    let running = netd.status().await?.generation;
    let base_generation = match change.base {
        Base::Any => 0,
        Base::Is(generation) => generation,
        Base::Running => running,
    };
    let mistakes = check::all_mistakes(document, netd).await?;
    if !mistakes.is_empty() {
        return Ok(not_applied(check::explain(document, &mistakes, context)));
    }
    let risks = risks::of(&document.text, netd).await?;
    let timeout_s = change.confirm.timeout_s(risks.cut.is_some());
    if let Some(warning) = &risks.lockout
        && timeout_s == 0
        && !change.force
    {
        return Ok(not_applied(format!("{}: {warning}.\n{lockout_advice}\n", document.name)));
    }
    let if_same = change.confirm.is_if_same();
    let options = ChangeOptions {
        if_same: if_same.then_some(true),
        ..crate::client::options(change.comment, change.force)
    };
    let applying = netd.apply(&document.text, base_generation, timeout_s, options);
    let generation = match answer(applying, (&document.text, running), (netd, patience), context).await? {
        Answer::Made(generation) => generation,
        Answer::Lost(words) => return Ok(not_applied(words)),
    };
    let mut out = applied_words(document, generation == running, generation);
    out.push_str(&warning_lines(&risks));
    if timeout_s != 0 {
        if change.confirm == Confirm::Unsaid {
            out.push_str("As it may end this session it must be confirmed; --no-confirm applies for good.\n");
        }
        out.push_str(&until_confirmed(timeout_s, if_same, netd, context).await);
    }
    if generation != running {
        out.push_str(&pending_lines(netd).await);
    }
    Ok(Outcome::done(out))
}

fn applied_words(document: &Document, unchanged: bool, generation: u64) -> String {
    match (document.name == document::TYPED, unchanged) {
        (true, true) => format!("Unchanged: generation {generation} runs already.\n"),
        (true, false) => format!("Applied as generation {generation}.\n"),
        (false, true) => format!("{}: unchanged, generation {generation} runs already\n", document.name),
        (false, false) => format!("{}: applied as generation {generation}\n", document.name),
    }
}

/// Warnings, a line each.
pub(super) fn warning_lines(risks: &Risks) -> String {
    risks.lines().map(|warning| format!("Warning: {}.\n", text::clean(warning))).collect()
}

/// What the change that was just applied is about and is not in operation yet, as others decide that.
pub(super) async fn pending_lines(netd: &Netd) -> String {
    // The change is made, whatever becomes of this question; a netd of before does not tell.
    let rows = netd.pending().await.unwrap_or_default();
    tables::pending::text(&rows, MOST_PENDING, false)
}

/// Until when a change must be confirmed, and how; and what it cost, once links and hosts had some seconds.
pub(super) async fn until_confirmed(timeout_s: u32, if_same: bool, netd: &Netd, context: &Context) -> String {
    // It is applied, whatever becomes of this question.
    let until = netd.status().await.map_or(0, |status| status.confirm_by_s);
    let way = if context.sources == Sources::RegularFiles { ":" } else { "corten " };
    let when = when(until, timeout_s);
    let mut words = match if_same {
        false => format!("It is taken back {when} unless you confirm it: `{way}confirm`.\n"),
        true => format!(
            "It confirms itself {when} if nothing is lost then, else it is taken back; `{way}confirm` keeps it now.\n"
        ),
    };
    words.push_str(&format!("`{way}take-back` takes it back at once.\n"));
    words.push_str(&comparison::after_change(timeout_s, netd, context).await);
    words
}

/// `at 14:05:09 UTC, in 2 min`.
fn when(until_s: u64, timeout_s: u32) -> String {
    let within = timespan::show(timeout_s);
    match until_s {
        0 => format!("in {within}"),
        until_s => format!("at {}, in {within}", text::clock(until_s)),
    }
}

/// What became of a change.
pub(super) enum Answer {
    /// It runs, as this generation.
    Made(u64),
    /// netd gave no answer and has not made it; what to say of that.
    Lost(String),
}

/// Waits for netd's answer to a change to a document, which is made where generation `before` runs. When none comes,
/// netd is asked what became of the change.
pub(super) async fn answer(
    work: impl Future<Output = Result<u64, Error>>,
    (document, before): (&str, u64),
    (netd, patience): (&Netd, Duration),
    context: &Context,
) -> Result<Answer, Error> {
    let why = match with_progress(work, (netd, patience), context).await {
        Err(Error::Unreachable(why)) => why,
        answer => return Ok(Answer::Made(answer?)),
    };
    match found_applied(document, before, context).await {
        Some(Found::Applied(generation)) => Ok(Answer::Made(generation)),
        Some(Found::Not(running)) => Ok(Answer::Lost(format!(
            "corten: netd gave no answer ({why}), and the change was not applied: generation {running} runs.\n"
        ))),
        None => Err(Error::Failed(format!(
            "netd gave no answer ({why}), and it is not known whether the change was applied: `history` tells, once \
             netd answers again"
        ))),
    }
}

/// Waits for an answer, and tells a person now and then that it is waited for. On the screens the footer does.
async fn with_progress<T>(
    work: impl Future<Output = Result<T, Error>>,
    (netd, patience): (&Netd, Duration),
    context: &Context,
) -> Result<T, Error> {
    tokio::pin!(work);
    let mut waited = Duration::ZERO;
    loop {
        tokio::select! {
            answer = &mut work => return answer,
            () = tokio::time::sleep(STILL_PERIOD.min(patience / 2).max(Duration::from_millis(100))) => {}
        }
        waited += STILL_PERIOD.min(patience / 2);
        if context.sources == Sources::Any {
            let left = patience.saturating_sub(waited).as_secs();
            let doing = match netd.progress().await {
                words if words.is_empty() => words,
                words => format!(": {}", text::clean(&words)),
            };
            let words = format!(
                "netd is still making the change, after {} s{doing}; its answer is waited for another {left} s\n",
                waited.as_secs()
            );
            // Nothing can be said where standard error itself fails.
            let _ = io::stderr().write_all(words.as_bytes());
        }
    }
}

/// What became of a change whose answer did not come.
enum Found {
    /// It runs, as this generation.
    Applied(u64),
    /// This generation runs instead.
    Not(u64),
}

/// Asks netd until it answers. That it does is also the sign that it is done.
async fn found_applied(document: &str, before: u64, context: &Context) -> Option<Found> {
    let start = tokio::time::Instant::now();
    if context.sources == Sources::Any && io::stderr().is_terminal() {
        let _ = io::stderr().write_all(b"netd gave no answer; asking what became of the change\n");
    }
    while start.elapsed() < ASK_PATIENCE {
        let asked = async { super::connect_for(ASK_PATIENCE).await?.document(0).await };
        if let Ok((running, generation)) = asked.await {
            let is_ours = generation >= before && running == document;
            return Some(if is_ours { Found::Applied(generation) } else { Found::Not(generation) });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    None
}

fn not_applied(mut text: String) -> Outcome {
    text.push_str("Nothing was applied.\n");
    Outcome::failed(Exit::Refused, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_that_may_end_the_session_must_be_confirmed_unless_that_is_refused() {
        assert_eq!(Confirm::of(None, false, false).timeout_s(false), 0);
        assert_eq!(Confirm::of(None, false, false).timeout_s(true), 120);
        assert_eq!(Confirm::of(Some(30), false, false).timeout_s(true), 30);
        assert_eq!(Confirm::of(None, true, false).timeout_s(true), 0);
        assert_eq!(Confirm::of(Some(30), false, true), Confirm::IfSame(30));
        assert_eq!(Confirm::of(None, false, true).timeout_s(false), 120);
    }
}
