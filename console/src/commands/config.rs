//! `corten config`: the running document, or that of an earlier generation.

use serde::Serialize;

use super::Context;
use crate::client::Error;
use crate::outcome::Outcome;

#[derive(Serialize)]
struct Document {
    generation: u64,
    document: String,
}

/// Prints a document as it was applied, or with its generation as JSON.
pub async fn run(generation: Option<u64>, json: bool, context: &Context) -> Result<Outcome, Error> {
    let (document, generation) = super::connect().await?.document(generation.unwrap_or(0)).await?;
    if json {
        return super::json(&Document { generation, document });
    }
    // Byte for byte for programs, harmless for terminals.
    let mut document = if context.width.is_some() { crate::text::clean_lines(&document) } else { document };
    if !document.is_empty() && !document.ends_with('\n') {
        document.push('\n');
    }
    Ok(Outcome::done(document))
}
