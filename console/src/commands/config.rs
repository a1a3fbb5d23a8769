//! `corten config`: the running document.

use serde::Serialize;

use super::Context;
use crate::client::Error;
use crate::outcome::Outcome;

#[derive(Serialize)]
struct Running {
    generation: u64,
    document: String,
}

/// Prints the running document as it was applied, or with its generation as JSON.
pub async fn run(json: bool, context: &Context) -> Result<Outcome, Error> {
    let (document, generation) = super::connect().await?.running().await?;
    if json {
        return super::json(&Running { generation, document });
    }
    // Byte for byte for programs, harmless for terminals.
    let mut document = if context.width.is_some() { crate::text::clean_lines(&document) } else { document };
    if !document.is_empty() && !document.ends_with('\n') {
        document.push('\n');
    }
    Ok(Outcome::done(document))
}
