//! A change from the screens: a document that was typed or pasted, or an earlier generation; checked, compared,
//! applied.

use netd_api::diagnostic::Diagnostic;

use super::{Context, apply, check, diff, generations};
use crate::client::Error;
use crate::document::{Document, TYPED};
use crate::outcome::{Exit, Outcome};

pub use super::apply::{Base, CONFIRM_TIMEOUT_S, Change, Confirm};
pub use super::generations::{RollBack, RollBackReview};

/// What a look at a document brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// What is wrong with it, in document order.
    Mistakes(Vec<Diagnostic>),
    /// What applying it would change.
    Difference {
        /// That, for a person.
        text: String,
        /// The generation it was compared with.
        generation: u64,
    },
    /// It could not be looked at; why.
    Failed(String),
}

/// What became of applying a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It runs; what there is to say.
    Done(Outcome),
    /// It does not: mistakes, or netd's words.
    Not(Review),
}

/// The document of a text.
fn document(text: &str) -> Document {
    Document { name: TYPED.to_owned(), text: text.to_owned(), broken: None }
}

/// The running document and its generation.
pub async fn running() -> Result<(String, u64), String> {
    let asked = async { super::connect().await?.document(0).await };
    asked.await.map_err(|error: Error| error.to_string())
}

/// Looks for mistakes, then for what would change.
pub async fn review(text: &str, context: &Context) -> Review {
    let document = document(text);
    let asked = async {
        let mistakes = check::mistakes(&document);
        if !mistakes.is_empty() {
            return Ok(Review::Mistakes(mistakes));
        }
        let netd = super::connect().await?;
        let mistakes = netd.validate(&document.text).await?;
        if !mistakes.is_empty() {
            return Ok(Review::Mistakes(mistakes));
        }
        let told = diff::told(&document, &netd, context.look).await?;
        Ok(Review::Difference { text: told.text, generation: told.generation })
    };
    match asked.await {
        Ok(Review::Mistakes(mut mistakes)) => {
            mistakes.sort();
            Review::Mistakes(mistakes)
        }
        Ok(review) => review,
        Err(error) => failed(error),
    }
}

/// Applies a text.
pub async fn apply(text: &str, change: Change, context: &Context) -> Applied {
    let document = document(text);
    let asked = async {
        let netd = super::connect().await?;
        let advice = "Apply it with `a`, so that it is taken back unless you confirm it.";
        apply::apply(&document, change, advice, (&netd, super::CALL_TIMEOUT), context).await
    };
    match asked.await {
        Ok(outcome) if outcome.exit == Exit::Done => Applied::Done(outcome),
        Ok(outcome) => Applied::Not(Review::Failed(outcome.err)),
        Err(Error::Invalid(text)) => Applied::Not(Review::Mistakes(crate::caret::parse_lines(&text))),
        Err(Error::Conflict(text)) => Applied::Not(Review::Failed(format!(
            "{text}: somebody else changed the running configuration. Ctrl-D compares with it anew."
        ))),
        Err(error) => Applied::Not(failed(error)),
    }
}

/// Compares an earlier generation with what runs.
pub async fn review_roll_back(request: RollBack, context: &Context) -> RollBackReview {
    let review = generations::review_roll_back(request, context).await;
    review.unwrap_or_else(|error| RollBackReview::Over(Outcome::from(error)))
}

/// Goes back to a generation that was compared.
pub async fn roll_back(request: RollBack, context: &Context) -> Outcome {
    generations::carry_out(request, context).await.unwrap_or_else(Outcome::from)
}

fn failed(error: Error) -> Review {
    Review::Failed(super::refusal(error).unwrap_or_else(|error| format!("corten: {error}\n")))
}
