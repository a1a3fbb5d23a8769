//! `corten diff`: what applying a document would change.

use std::time::Duration;

use serde::Serialize;
use similar::TextDiff;

use super::{Context, check};
use crate::client::{Error, Netd};
use crate::document::{self, Document};
use crate::look::{Look, Tone};
use crate::outcome::{Exit, Outcome};
use crate::text;

/// How long to look for the shortest difference of two documents; then a longer one does.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `corten diff --json` prints.
#[derive(Serialize)]
struct Difference {
    /// The running generation.
    generation: u64,
    /// What would be done to the network, in order.
    steps: Vec<String>,
    /// Unified difference from the running document; empty when there is none.
    document: String,
}

/// Compares a document with what runs.
pub async fn run(file: &str, json: bool, context: &Context) -> Result<Outcome, Error> {
    let document = match document::read(file, context.sources) {
        Ok(document) => document,
        Err(message) => return Ok(check::unreadable(&message)),
    };
    let explained =
        |mistakes: &[_]| Outcome::failed(Exit::Refused, check::explain(&document, mistakes, context));
    let mistakes = check::mistakes(&document);
    if !mistakes.is_empty() {
        return Ok(explained(&mistakes));
    }
    let netd = super::connect().await?;
    let mistakes = netd.validate(&document.text).await?;
    if !mistakes.is_empty() {
        return Ok(explained(&mistakes));
    }
    match json {
        true => super::json(&difference(&document, &netd).await?),
        false => Ok(Outcome::done(told(&document, &netd, context.look).await?.0)),
    }
}

/// What applying a valid document would change, for a person, and the generation it was compared with.
pub(super) async fn told(document: &Document, netd: &Netd, look: Look) -> Result<(String, u64), Error> {
    let difference = difference(document, netd).await?;
    Ok((show(&difference, document, look), difference.generation))
}

async fn difference(document: &Document, netd: &Netd) -> Result<Difference, Error> {
    // In this order: of a change that lands between the two, the generation tells that it was not seen.
    let (running, generation) = netd.document(0).await?;
    let steps = netd.diff(&document.text).await?;
    Ok(Difference { generation, steps, document: unified(&running, generation, document) })
}

/// The unified difference of two documents, as diff(1) and patch(1) have it.
fn unified(running: &str, generation: u64, document: &Document) -> String {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(running, document.text.as_str());
    let (from, to) = (format!("generation {generation}"), document.name.clone());
    diff.unified_diff().context_radius(3).header(&from, &to).to_string()
}

fn show(difference: &Difference, document: &Document, look: Look) -> String {
    let Difference { generation, steps, document: changes } = difference;
    let mut out = String::new();
    for line in text::clean_lines(changes).lines() {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@') => Tone::Heading,
            _ => Tone::Normal,
        };
        out.push_str(&format!("{}\n", look.paint(line, tone)));
    }
    if changes.is_empty() {
        out.push_str(&format!("{}: the document of generation {generation}\n", document.name));
    }
    if steps.is_empty() {
        out.push_str("The network stays as it is.\n");
        return out;
    }
    let count = if steps.len() == 1 { "1 step".to_owned() } else { format!("{} steps", steps.len()) };
    out.push_str(&format!("{}\n", look.paint(&format!("{count} on the network:"), Tone::Heading)));
    for step in steps {
        out.push_str(&format!("  {}\n", text::clean(step)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document { name: "switch.toml".into(), text: text.into(), broken: None }
    }

    fn difference(steps: &[&str], running: &str, new: &str) -> String {
        let document = document(new);
        let changes = unified(running, 7, &document);
        let steps = steps.iter().map(|step| (*step).to_owned()).collect();
        show(&Difference { generation: 7, steps, document: changes }, &document, Look::PLAIN)
    }

    #[test]
    fn lines_and_steps_are_shown() {
        let shown =
            difference(&["swp1: set mtu 9216"], "version = 1\n", "version = 1\n[ports.swp1]\nmtu = 9216\n");
        insta::assert_snapshot!(shown, @r"
        --- generation 7
        +++ switch.toml
        @@ -1 +1,3 @@
         version = 1
        +[ports.swp1]
        +mtu = 9216
        1 step on the network:
          swp1: set mtu 9216
        ");
    }

    #[test]
    fn the_same_document_is_told_to_be_the_same() {
        assert_eq!(
            difference(&[], "version = 1\n", "version = 1\n"),
            "switch.toml: the document of generation 7\nThe network stays as it is.\n"
        );
    }

    #[test]
    fn what_is_shown_moves_no_cursor() {
        let shown = difference(&["swp1: set description \"\x1b[2J\""], "a\n", "b\x1b[2J\n");
        assert!(!shown.contains('\x1b'), "{shown:?}");
    }
}
