//! `corten apply`: a document becomes the running configuration, whole or not at all.

use super::{Context, check, lockout};
use crate::caret;
use crate::client::{Error, Netd};
use crate::document::{self, Document, Sources};
use crate::outcome::{Exit, Outcome};
use crate::{text, timespan};

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

/// How a document is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The generation it is based on.
    pub base: Base,
    /// In what time it must be confirmed; `None` when it need not be.
    pub confirm_timeout_s: Option<u32>,
    /// What the history is to say.
    pub comment: Option<String>,
}

/// Reads, checks and applies a document.
pub async fn run(file: &str, change: Change, context: &Context) -> Result<Outcome, Error> {
    let document = match document::read(file, context.sources) {
        Ok(document) => document,
        Err(message) => return Ok(check::unreadable(&message)),
    };
    // Found before netd is asked: a document that is wrong is wrong without a switch, too.
    let mistakes = check::mistakes(&document);
    if !mistakes.is_empty() {
        return Ok(not_applied(check::explain(&document, &mistakes, context)));
    }
    let netd = super::connect().await?;
    let advice = "Apply it with --confirm, so that it is rolled back by itself, or with --force.";
    match apply(&document, change, advice, &netd, context).await {
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
    netd: &Netd,
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
    let timeout_s = change.confirm_timeout_s.unwrap_or(0);
    let lockout = lockout::warning(&document.text, netd).await?;
    if let Some(warning) = &lockout
        && timeout_s == 0
        && change.base != Base::Any
    {
        return Ok(not_applied(format!("{}: {warning}\n{lockout_advice}\n", document.name)));
    }
    let generation = netd.apply(&document.text, base_generation, timeout_s, change.comment).await?;
    let mut out = match generation == running {
        true => format!("{}: unchanged, generation {generation} runs already\n", document.name),
        false => format!("{}: applied as generation {generation}\n", document.name),
    };
    if let Some(warning) = lockout {
        out.push_str(&format!("Warning: {warning}.\n"));
    }
    if timeout_s != 0 {
        // It is applied, whatever becomes of this question.
        let until = netd.status().await.map_or(0, |status| status.confirm_by_s);
        let way = if context.sources == Sources::RegularFiles { ":" } else { "corten " };
        out.push_str(&format!(
            "It is rolled back {} unless you confirm it: `{way}confirm`.\n\
             `{way}rollback` takes it back at once.\n",
            when(until, timeout_s)
        ));
    }
    Ok(Outcome::done(out))
}

/// `at 14:05:09 UTC, in 2 min`.
fn when(until_s: u64, timeout_s: u32) -> String {
    let within = timespan::show(timeout_s);
    match until_s {
        0 => format!("in {within}"),
        until_s => format!("at {}, in {within}", text::clock(until_s)),
    }
}

fn not_applied(mut text: String) -> Outcome {
    text.push_str("Nothing was applied.\n");
    Outcome::failed(Exit::Refused, text)
}
