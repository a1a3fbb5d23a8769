//! `corten apply`: a document becomes the running configuration, whole or not at all.

use super::{Context, check};
use crate::caret;
use crate::client::{Error, Netd};
use crate::document::{self, Document};
use crate::outcome::{Exit, Outcome};

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

/// Reads, checks and applies a document.
pub async fn run(file: &str, base: Base, context: &Context) -> Result<Outcome, Error> {
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
    match apply(&document, base, &netd, context).await {
        Ok(outcome) => Ok(outcome),
        Err(Error::Invalid(text)) => {
            Ok(not_applied(check::explain(&document, &caret::parse_lines(&text), context)))
        }
        Err(Error::Denied(text)) => Ok(not_applied(format!(
            "corten: not allowed: applying a configuration needs the role admin ({text})\n"
        ))),
        Err(Error::Conflict(text)) => Ok(not_applied(format!(
            "corten: {text}\n\
             The running configuration was changed by someone else: see `corten config`, then apply again \
             (--force overwrites).\n"
        ))),
        Err(error @ Error::Unreachable(_)) => Err(error),
        Err(error) => Ok(not_applied(format!("corten: {error}\n"))),
    }
}

async fn apply(document: &Document, base: Base, netd: &Netd, context: &Context) -> Result<Outcome, Error> {
    let base_generation = match base {
        Base::Any => 0,
        Base::Is(generation) => generation,
        Base::Running => netd.running().await?.1,
    };
    let mistakes = check::all_mistakes(document, netd).await?;
    if !mistakes.is_empty() {
        return Ok(not_applied(check::explain(document, &mistakes, context)));
    }
    let generation = netd.apply(&document.text, base_generation).await?;
    Ok(Outcome::done(format!("{}: applied as generation {generation}\n", document.name)))
}

fn not_applied(mut text: String) -> Outcome {
    text.push_str("Nothing was applied.\n");
    Outcome::failed(Exit::Refused, text)
}
