//! `corten confirm`, `rollback` and `history`: what becomes of changes, and what became of them.

use super::{Context, lockout};
use crate::cli::Format;
use crate::client::Error;
use crate::outcome::{Exit, Outcome};
use crate::tables;

/// Confirms the change that waits for it.
pub async fn confirm() -> Result<Outcome, Error> {
    let confirmed = super::connect().await?.confirm().await;
    told(confirmed, |generation| {
        format!("Generation {generation} is confirmed: the switch starts with it.\n")
    })
}

/// Takes back the change that waits, or goes back to an earlier generation. One that was named and would lock out
/// who asks needs `force`.
pub async fn roll_back(
    generation: Option<u64>,
    force: bool,
    comment: Option<String>,
) -> Result<Outcome, Error> {
    let netd = super::connect().await?;
    if let Some(generation) = generation.filter(|_| !force) {
        let (document, _) = netd.document(generation).await?;
        if let Some(warning) = lockout::warning(&document, &netd).await? {
            let words = format!(
                "generation {generation}: {warning}\nGo back to it with --force, or apply its document with --confirm.\n"
            );
            return Ok(Outcome::failed(Exit::Refused, words));
        }
    }
    let runs = netd.roll_back(generation.unwrap_or(0), comment).await;
    told(runs, |generation| match generation {
        0 => "No configuration runs now, as before the first one.\n".to_owned(),
        generation => format!("Generation {generation} runs now.\n"),
    })
}

fn told(answer: Result<u64, Error>, words: impl FnOnce(u64) -> String) -> Result<Outcome, Error> {
    match answer {
        Ok(generation) => Ok(Outcome::done(words(generation))),
        Err(error) => Ok(Outcome::failed(Exit::Refused, super::refusal(error)?)),
    }
}

/// Shows what was applied, the newest first.
pub async fn history(format: Format, context: &Context) -> Result<Outcome, Error> {
    let rows = super::connect().await?.history().await?;
    match format.json {
        true => super::json(&rows),
        false => Ok(Outcome::done(tables::history::table(&rows).render(context.width, context.look))),
    }
}
