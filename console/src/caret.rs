//! Mistakes in a document, shown at their place: `FILE:LINE:COLUMN: path: message`, the line, a caret.

use netd_api::diagnostic::Diagnostic;

use crate::look::{Look, Tone};
use crate::text;

/// Columns of a source line shown around a mistake.
const SHOWN_COLUMNS: usize = 76;

/// Renders mistakes in document order.
pub fn render(file: &str, document: &str, diagnostics: &[Diagnostic], look: Look) -> String {
    let lines: Vec<&str> = document.split('\n').collect();
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort();
    let mut out = String::new();
    for diagnostic in sorted {
        out.push_str(&look.paint(&headline(file, diagnostic), Tone::Bad));
        out.push('\n');
        let line = (diagnostic.line as usize).checked_sub(1).and_then(|index| lines.get(index));
        if let Some(line) = line
            && diagnostic.column > 0
        {
            render_source(line, diagnostic.column as usize, look, &mut out);
        }
    }
    out
}

/// `FILE:LINE:COLUMN: path: message`; without a place, `FILE: path: message`.
fn headline(file: &str, diagnostic: &Diagnostic) -> String {
    let mut headline = text::clean(file);
    if diagnostic.line > 0 {
        headline.push_str(&format!(":{}:{}", diagnostic.line, diagnostic.column));
    }
    headline.push_str(": ");
    if !diagnostic.path.is_empty() {
        headline.push_str(&format!("{}: ", text::clean(&diagnostic.path)));
    }
    headline.push_str(&text::clean(&diagnostic.message));
    headline
}

/// The source line with a caret under `column` (characters, from 1). Of a long line, the part around it.
fn render_source(line: &str, column: usize, look: Look, out: &mut String) {
    // Only the characters that can be shown are looked at: a line may be megabytes long.
    let first = if column > SHOWN_COLUMNS / 2 { column - SHOWN_COLUMNS / 2 } else { 1 };
    let first = if line.chars().nth(SHOWN_COLUMNS).is_none() { 1 } else { first };
    let shown = |characters: usize| -> String {
        // Each character keeps its place: harmful ones become a mark instead of vanishing.
        line.chars()
            .skip(first - 1)
            .take(characters)
            .map(|c| match c {
                '\t' => ' ',
                c if text::clean(c.encode_utf8(&mut [0; 4])).is_empty() => '?',
                c => c,
            })
            .collect()
    };
    let before = shown(column.saturating_sub(first));
    let whole = shown(SHOWN_COLUMNS);
    let indent = text::width(&before).min(text::width(&whole));
    out.push_str(&format!("  {}\n", whole.trim_end()));
    out.push_str(&format!("  {}{}\n", " ".repeat(indent), look.paint("^", Tone::Good)));
}

/// Diagnostics from the text of a D-Bus error: each line is `LINE:COLUMN: path: message`. Lines of
/// another form become a diagnostic without a place.
pub fn parse_lines(text: &str) -> Vec<Diagnostic> {
    text.lines().filter(|line| !line.trim().is_empty()).map(parse_line).collect()
}

fn parse_line(line: &str) -> Diagnostic {
    let placed = || {
        let mut parts = line.trim().splitn(3, ':');
        let place = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some((place, parts.next()?.trim_start()))
    };
    let ((line_number, column), rest) = placed().unwrap_or(((0, 0), line.trim()));
    // The path stays part of the message: where it ends cannot be told from the text alone.
    Diagnostic { line: line_number, column, path: String::new(), message: rest.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, column: u32, path: &str, message: &str) -> Diagnostic {
        Diagnostic { line, column, path: path.into(), message: message.into() }
    }

    #[test]
    fn every_mistake_is_shown_with_its_line_and_a_caret() {
        let document = "version = 1\n[ports.swp1]\nvlan.access = 4095\nmtuu = 9000\n";
        let shown = render(
            "switch.toml",
            document,
            &[
                at(4, 1, "ports.swp1.mtuu", "unknown setting, did you mean `mtu`?"),
                at(3, 15, "ports.swp1.vlan.access", "4095 is reserved; VLAN ids are 1 to 4094"),
            ],
            Look::PLAIN,
        );
        insta::assert_snapshot!(shown, @r"
        switch.toml:3:15: ports.swp1.vlan.access: 4095 is reserved; VLAN ids are 1 to 4094
          vlan.access = 4095
                        ^
        switch.toml:4:1: ports.swp1.mtuu: unknown setting, did you mean `mtu`?
          mtuu = 9000
          ^
        ");
    }

    #[test]
    fn columns_count_characters_and_carets_stand_under_wide_ones() {
        let shown = render("f", "d = \"東京\" x", &[at(1, 10, "", "junk")], Look::PLAIN);
        assert!(shown.starts_with("f:1:10: junk\n  d = \"東京\" x\n"), "{shown}");
        let caret = shown.lines().last().unwrap().find('^').unwrap();
        assert_eq!(caret, 2 + text::width("d = \"東京\" "));
    }

    #[test]
    fn of_a_long_line_the_part_around_the_mistake_is_shown() {
        let document = format!("{}X{}", "a".repeat(500_000), "b".repeat(500_000));
        let shown = render("f", &document, &[at(1, 500_001, "", "here")], Look::PLAIN);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].len() <= 80);
        assert_eq!(lines[1].find('X'), lines[2].find('^'));
    }

    #[test]
    fn places_outside_the_document_do_no_harm() {
        let shown = render(
            "f",
            "a",
            &[at(99, 7, "p", "m"), at(0, 0, "", "whole"), at(1, 900, "", "far")],
            Look::PLAIN,
        );
        assert_eq!(shown, "f: whole\nf:1:900: far\n  a\n   ^\nf:99:7: p: m\n");
    }

    #[test]
    fn control_characters_of_the_document_are_not_printed() {
        let shown = render("f\x1b", "a\x1b[2Jb", &[at(1, 6, "", "bad\x07")], Look::PLAIN);
        assert_eq!(shown, "f:1:6: bad\n  a?[2Jb\n       ^\n");
    }

    #[test]
    fn diagnostics_are_read_back_from_an_error_text() {
        assert_eq!(
            parse_lines("3:15: ports.swp1.vlan.access: bad\n\nno place\n"),
            [at(3, 15, "", "ports.swp1.vlan.access: bad"), at(0, 0, "", "no place")]
        );
    }
}
