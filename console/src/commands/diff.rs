//! `corten diff`: what applying a document, or going back to a generation, would change.

use std::time::Duration;

use serde::Serialize;
use similar::TextDiff;

use super::{Context, check, risks};
use crate::client::{Error, Netd};
use crate::document::{self, Document};
use crate::look::{Look, Tone};
use crate::outcome::{Exit, Outcome};
use crate::target::Target;
use crate::text;

/// How long to look for the shortest difference of two documents; then a longer one does.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `corten diff --json` prints.
#[derive(Serialize)]
struct Difference {
    /// The generation compared with, the running one as a rule.
    generation: u64,
    /// What would have to be known before, the gravest first.
    warnings: Vec<String>,
    /// What would be done to the network, in order; empty between two generations.
    steps: Vec<String>,
    /// Unified difference from the other document; empty when there is none.
    document: String,
}

/// Compares a document, or an earlier generation, with what runs; or two generations with each other.
pub async fn run(what: &str, with: Option<Target>, json: bool, context: &Context) -> Result<Outcome, Error> {
    // A file of such a name can be given as `./2`.
    let generation = Target::parse(what).ok();
    if let (None, Some(_)) = (generation, with) {
        let words = format!(
            "corten: {}: two generations are compared, or a file with what runs\n",
            text::clean(what)
        );
        return Ok(Outcome::failed(Exit::Usage, words));
    }
    match (generation, with) {
        (Some(from), Some(to)) => between(from, to, json, context).await,
        (Some(target), None) => {
            let netd = super::connect().await?;
            let generation = target.resolve(&netd).await?;
            let document = past(generation, &netd).await?;
            show_against_running(&document, &netd, json, context).await
        }
        (None, _) => of_file(what, json, context).await,
    }
}

async fn of_file(file: &str, json: bool, context: &Context) -> Result<Outcome, Error> {
    let document = match document::read(file, context.sources) {
        Ok(document) => document,
        Err(message) => return Ok(check::unreadable(&message)),
    };
    let mistakes = check::mistakes(&document);
    if !mistakes.is_empty() {
        return Ok(Outcome::failed(Exit::Refused, check::explain(&document, &mistakes, context)));
    }
    show_against_running(&document, &super::connect().await?, json, context).await
}

async fn show_against_running(
    document: &Document,
    netd: &Netd,
    json: bool,
    context: &Context,
) -> Result<Outcome, Error> {
    let mistakes = netd.validate(&document.text).await?;
    if !mistakes.is_empty() {
        return Ok(Outcome::failed(Exit::Refused, check::explain(document, &mistakes, context)));
    }
    match json {
        true => super::json(&difference(document, netd).await?),
        false => Ok(Outcome::done(told(document, netd, context.look).await?.text)),
    }
}

/// Compares the documents of two generations.
async fn between(from: Target, to: Target, json: bool, context: &Context) -> Result<Outcome, Error> {
    let netd = super::connect().await?;
    let (from, to) = (from.resolve(&netd).await?, to.resolve(&netd).await?);
    let (before, _) = netd.document(from).await?;
    let after = past(to, &netd).await?;
    let difference = Difference {
        generation: from,
        warnings: Vec::new(),
        steps: Vec::new(),
        document: unified(&before, from, &after),
    };
    if json {
        return super::json(&difference);
    }
    if difference.document.is_empty() {
        return Ok(Outcome::done(format!("Generations {from} and {to} have the same document.\n")));
    }
    Ok(Outcome::done(show_document(&difference.document, context.look)))
}

/// How the documents of two generations differ, for a person.
pub(super) async fn documents(from: u64, to: u64, netd: &Netd, look: Look) -> Result<String, Error> {
    let (before, _) = netd.document(from).await?;
    Ok(show_document(&unified(&before, from, &past(to, netd).await?), look))
}

/// The document of a generation.
pub(super) async fn past(generation: u64, netd: &Netd) -> Result<Document, Error> {
    let (text, generation) = netd.document(generation).await?;
    Ok(Document { name: format!("generation {generation}"), text, broken: None })
}

/// A comparison for a person.
pub(super) struct Told {
    /// Warnings, steps, the difference of the documents.
    pub text: String,
    /// The generation it was compared with.
    pub generation: u64,
}

/// What applying a valid document would change.
pub(super) async fn told(document: &Document, netd: &Netd, look: Look) -> Result<Told, Error> {
    let difference = difference(document, netd).await?;
    Ok(Told { text: show(&difference, document, look), generation: difference.generation })
}

async fn difference(document: &Document, netd: &Netd) -> Result<Difference, Error> {
    // In this order: of a change that lands between the two, the generation tells that it was not seen.
    let (running, generation) = netd.document(0).await?;
    let risks = risks::of(&document.text, netd).await?;
    let steps = netd.diff(&document.text).await?;
    let warnings = risks.lines().map(str::to_owned).collect();
    Ok(Difference { generation, warnings, steps, document: unified(&running, generation, document) })
}

/// The unified difference of two documents, as diff(1) and patch(1) have it.
fn unified(running: &str, generation: u64, document: &Document) -> String {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(running, document.text.as_str());
    let (from, to) = (format!("generation {generation}"), document.name.clone());
    diff.unified_diff().context_radius(3).header(&from, &to).to_string()
}

/// What matters most comes first: it may be all that is read.
fn show(difference: &Difference, document: &Document, look: Look) -> String {
    let Difference { generation, warnings, steps, document: changes } = difference;
    let mut out: String = warnings
        .iter()
        .map(|warning| format!("{}\n", look.paint(&format!("Warning: {}.", text::clean(warning)), Tone::Bad)))
        .collect();
    if steps.is_empty() {
        out.push_str("The network stays as it is.\n");
    } else {
        let count = if steps.len() == 1 { "1 step".to_owned() } else { format!("{} steps", steps.len()) };
        out.push_str(&format!("{}\n", look.paint(&format!("{count} on the network:"), Tone::Heading)));
        for step in steps {
            out.push_str(&format!("  {}\n", text::clean(step)));
        }
    }
    match changes.is_empty() {
        true => out.push_str(&format!("{}: the document of generation {generation}\n", document.name)),
        false => out.push_str(&show_document(changes, look)),
    }
    out
}

fn show_document(changes: &str, look: Look) -> String {
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
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document { name: "switch.toml".into(), text: text.into(), broken: None }
    }

    fn difference(warnings: &[&str], steps: &[&str], running: &str, new: &str) -> String {
        let document = document(new);
        let changes = unified(running, 7, &document);
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let difference =
            Difference { generation: 7, warnings: owned(warnings), steps: owned(steps), document: changes };
        show(&difference, &document, Look::PLAIN)
    }

    #[test]
    fn comparison_begins_with_warnings_then_steps_then_the_text() {
        let shown = difference(
            &["no administrator could log in any more"],
            &["swp1: set mtu 9216"],
            "version = 1\n",
            "version = 1\n[ports.swp1]\nmtu = 9216\n",
        );
        insta::assert_snapshot!(shown, @r"
        Warning: no administrator could log in any more.
        1 step on the network:
          swp1: set mtu 9216
        --- generation 7
        +++ switch.toml
        @@ -1 +1,3 @@
         version = 1
        +[ports.swp1]
        +mtu = 9216
        ");
    }

    #[test]
    fn the_same_document_is_told_to_be_the_same() {
        assert_eq!(
            difference(&[], &[], "version = 1\n", "version = 1\n"),
            "The network stays as it is.\nswitch.toml: the document of generation 7\n"
        );
    }

    #[test]
    fn what_is_shown_moves_no_cursor() {
        let shown =
            difference(&["evil \x1b[2J"], &["swp1: set description \"\x1b[2J\""], "a\n", "b\x1b[2J\n");
        assert!(!shown.contains('\x1b'), "{shown:?}");
    }
}
