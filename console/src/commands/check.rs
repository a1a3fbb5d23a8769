//! `corten check`: every mistake of a document, at its place.

use netd_api::diagnostic::Diagnostic;

use super::Context;
use crate::client::{self, Error, Netd};
use crate::document::{self, Document};
use crate::outcome::{Exit, Outcome};

/// Checks a document by itself and, where netd can be reached, against this switch.
pub async fn run(file: &str, json: bool, context: &Context) -> Result<Outcome, Error> {
    let document = match document::read(file, context.sources) {
        Ok(document) => document,
        Err(message) => return Ok(unreadable(&message)),
    };
    let (mistakes, note) = match mistakes(&document) {
        mistakes if !mistakes.is_empty() => (mistakes, None),
        _ => against_switch(&document).await?,
    };
    let mut outcome = match json {
        true => super::json(&mistakes)?,
        false => Outcome::default(),
    };
    if mistakes.is_empty() {
        if !json {
            outcome.out = format!("{}: valid\n", document.name);
        }
        outcome.err = warnings(&document);
    } else {
        outcome.exit = Exit::Refused;
        if !json {
            outcome.err = explain(&document, &mistakes, context);
        }
    }
    if let Some(note) = note {
        outcome.err.push_str(&format!("corten: {note}\n"));
    }
    Ok(outcome)
}

/// What is valid and probably not meant, a line each. A program that reads the mistakes does not read these.
fn warnings(document: &Document) -> String {
    let Ok(config) = netd_api::config::parse(&document.text) else { return String::new() };
    let line = |warning: Diagnostic| {
        let Diagnostic { line, column, path, message } = warning;
        format!("{}:{line}:{column}: warning: {path}: {message}\n", document.name)
    };
    netd_api::warnings::of(&config).into_iter().map(line).collect()
}

/// The mistakes the document shows by itself.
pub fn mistakes(document: &Document) -> Vec<Diagnostic> {
    match &document.broken {
        Some(broken) => vec![broken.clone()],
        None => netd_api::config::parse(&document.text).err().unwrap_or_default(),
    }
}

/// What this switch finds, or a note that it could not be asked.
async fn against_switch(document: &Document) -> Result<(Vec<Diagnostic>, Option<String>), Error> {
    let asked = match super::connect().await {
        Ok(netd) => netd.validate(&document.text).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(mistakes) => Ok((mistakes, None)),
        Err(error @ (Error::Unreachable(_) | Error::Denied(_))) => {
            Ok((Vec::new(), Some(format!("checked by itself only, not against this switch: {error}"))))
        }
        Err(error) => Err(error),
    }
}

/// What a person reads about the mistakes of a document.
pub fn explain(document: &Document, mistakes: &[Diagnostic], context: &Context) -> String {
    let mut text = crate::caret::render(&document.name, &document.text, mistakes, context.error_look);
    let plural = if mistakes.len() == 1 { "" } else { "s" };
    text.push_str(&format!("{}: {} mistake{plural}\n", document.name, mistakes.len()));
    text
}

/// The outcome for a file that cannot be read.
pub fn unreadable(message: &str) -> Outcome {
    Outcome::failed(Exit::Refused, format!("corten: {message}\n"))
}

/// Both checks in the order a change goes through them.
///
/// # Errors
/// What netd failed with, other than mistakes of the document.
pub async fn all_mistakes(document: &Document, netd: &Netd) -> Result<Vec<Diagnostic>, client::Error> {
    match mistakes(document) {
        mistakes if !mistakes.is_empty() => Ok(mistakes),
        _ => netd.validate(&document.text).await,
    }
}
