//! Manual pages as text: the part of man(7) and mdoc(7) that the pages of this switch use.

/// Columns of an indented step.
const INDENT: usize = 4;

/// Shows a page in lines of at most `columns`.
pub fn show(page: &str, columns: usize) -> String {
    let mut text = Text { columns: columns.max(20), ..Text::default() };
    for line in page.lines() {
        match line.strip_prefix(['.', '\'']) {
            Some(request) => text.request(request),
            None if text.long_tag.is_some() => text.add_to_tag(&plain(line)),
            None if text.verbatim => text.line(&plain(line)),
            None => text.words(&plain(line), true),
        }
    }
    text.end_paragraph();
    text.out.trim_start_matches('\n').to_owned()
}

#[derive(Default)]
struct Text {
    out: String,
    columns: usize,
    /// The paragraph under way.
    paragraph: String,
    /// Lists around it.
    depth: usize,
    verbatim: bool,
    /// The next text is the tag of a list's item (man(7) `.TP`).
    tag: bool,
    /// A tag that goes on over several lines, from mdoc(7) `Xo` to `Xc`.
    long_tag: Option<String>,
    /// Inside an item of man(7): what follows its tag is indented.
    item: bool,
    /// Name of the page (`.Nm` without a word).
    name: String,
    /// Whether the next word follows without a blank.
    joined: bool,
}

impl Text {
    fn request(&mut self, request: &str) {
        let words = words(request);
        let Some((name, rest)) = words.split_first() else { return };
        let text = || rest.join(" ");
        if name == "Xc" {
            let tag = self.long_tag.take().unwrap_or_default();
            return self.item(&tag);
        }
        if self.long_tag.is_some() {
            return self.add_to_tag(&inline(&words, &self.name));
        }
        match name.as_str() {
            "SH" | "Sh" => self.heading(&text(), 0),
            "SS" | "Ss" => self.heading(&text(), 2),
            "PP" | "P" | "LP" | "Pp" => {
                self.blank_line();
                self.item = false;
            }
            "TP" => {
                self.end_paragraph();
                self.item = false;
                self.tag = true;
            }
            "br" => self.end_paragraph(),
            "nf" | "EX" | "Bd" => {
                self.blank_line();
                self.verbatim = true;
            }
            "fi" | "EE" | "Ed" => {
                self.verbatim = false;
                self.blank_line();
            }
            "Bl" => {
                self.end_paragraph();
                self.depth += 1;
            }
            "El" => {
                self.end_paragraph();
                self.depth = self.depth.saturating_sub(1);
            }
            "It" => {
                self.end_paragraph();
                let tag = inline(rest, &self.name);
                match rest.last().is_some_and(|word| word == "Xo") {
                    true => self.long_tag = Some(tag),
                    false => self.item(&tag),
                }
            }
            "Nd" => self.words(&format!("- {}", text()), true),
            "B" | "I" | "R" => self.words(&text(), true),
            "BR" | "BI" | "IR" | "RB" | "RI" | "IB" => self.words(&rest.concat(), true),
            "Nm" | "Ic" | "Li" | "Fl" | "Ev" | "Pa" | "Ql" | "Dq" | "Pq" | "Xr" | "Ar" | "Em" | "Sy"
            | "Cm" | "Po" | "Pc" | "Ns" | "No" => {
                if name == "Nm" && self.name.is_empty() {
                    self.name = text();
                }
                let said = inline(&words, &self.name);
                match name.as_str() {
                    "Po" => {
                        self.words("(", true);
                        self.joined = true;
                        self.words(said.trim_start_matches('(').trim_start(), true);
                        self.joined = rest.is_empty();
                    }
                    "Pc" => {
                        self.joined = true;
                        self.words(&said, true);
                    }
                    _ => self.words(&said, true),
                }
            }
            // The title, comments, and what only printers know.
            _ => {}
        }
    }

    fn heading(&mut self, text: &str, indent: usize) {
        self.end_paragraph();
        (self.depth, self.item, self.verbatim) = (0, false, false);
        self.out.push('\n');
        for (at, line) in crate::text::wrap(text, self.columns - 2 * INDENT).into_iter().enumerate() {
            // What goes on is indented further.
            let indent = if at > 0 { indent + INDENT } else { indent };
            self.out.push_str(&format!("{}{line}\n", " ".repeat(indent)));
        }
    }

    fn words(&mut self, words: &str, spaced: bool) {
        if self.tag {
            self.tag = false;
            self.item = true;
            let indent = self.indent() - INDENT;
            self.put(words, indent);
            return;
        }
        if spaced && !self.paragraph.is_empty() && !std::mem::take(&mut self.joined) {
            self.paragraph.push(' ');
        }
        self.joined = false;
        self.paragraph.push_str(words);
    }

    fn indent(&self) -> usize {
        INDENT + self.depth * INDENT + if self.item { INDENT } else { 0 }
    }

    fn end_paragraph(&mut self) {
        let paragraph = std::mem::take(&mut self.paragraph);
        let indent = self.indent();
        for line in crate::text::wrap(&paragraph, self.columns.saturating_sub(indent)) {
            self.out.push_str(&format!("{}{line}\n", " ".repeat(indent)));
        }
    }

    fn blank_line(&mut self) {
        self.end_paragraph();
        if !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// The tag of an item of mdoc(7), in lines of its own.
    fn item(&mut self, tag: &str) {
        let indent = self.depth * INDENT;
        for line in crate::text::wrap(tag, self.columns.saturating_sub(indent)) {
            self.put(&line, indent.saturating_sub(INDENT));
        }
    }

    fn add_to_tag(&mut self, words: &str) {
        if let Some(tag) = &mut self.long_tag {
            if !tag.is_empty() {
                tag.push(' ');
            }
            tag.push_str(words);
        }
    }

    fn put(&mut self, text: &str, indent: usize) {
        self.out
            .push_str(&format!("{}{text}\n", " ".repeat(indent + if self.depth > 0 { INDENT } else { 0 })));
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(format!("{}{text}", " ".repeat(self.indent())).trim_end());
        self.out.push('\n');
    }
}

/// The words of a request; quotes hold words together.
fn words(request: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = request.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(plain(word));
        rest = after.trim_start();
    }
    words
}

/// A line of mdoc(7) macros as text.
fn inline(words: &[String], name: &str) -> String {
    let mut out = String::new();
    let mut joined = true;
    let mut close: Vec<&str> = Vec::new();
    // Punctuation at the end stands behind what is closed.
    let ends = |word: &str| matches!(word, "," | "." | ";" | ":" | ")" | "?" | "!" | "]");
    let last = words.iter().rposition(|word| !ends(word)).map_or(0, |at| at + 1);
    let push = |out: &mut String, text: &str, joined: &mut bool| {
        if !*joined && !out.is_empty() {
            out.push(' ');
        }
        out.push_str(text);
        *joined = false;
    };
    for (index, word) in words[..last].iter().enumerate() {
        match word.as_str() {
            "Ic" | "Li" | "Ev" | "Pa" | "Ar" | "Em" | "Sy" | "Cm" | "No" | "Xo" => {}
            "Nm" if words.get(index + 1).is_none_or(|next| ends(next)) => push(&mut out, name, &mut joined),
            "Nm" => {}
            "Fl" => {
                push(&mut out, "-", &mut joined);
                joined = true;
            }
            "Ns" => joined = true,
            "Po" | "Pq" => {
                push(&mut out, "(", &mut joined);
                joined = true;
                if word == "Pq" {
                    close.push(")");
                }
            }
            "Pc" => {
                joined = true;
                push(&mut out, ")", &mut joined);
            }
            "Dq" | "Ql" => {
                let sign = if word == "Dq" { "\"" } else { "`" };
                push(&mut out, sign, &mut joined);
                joined = true;
                close.push(sign);
            }
            "Xr" => {}
            section if index >= 2 && words[index - 2] == "Xr" => {
                out.push_str(&format!("({section})"));
            }
            "(" => {
                push(&mut out, "(", &mut joined);
                joined = true;
            }
            text if ends(text) => {
                joined = true;
                push(&mut out, text, &mut joined);
            }
            text => push(&mut out, text, &mut joined),
        }
    }
    close.into_iter().rev().for_each(|sign| out.push_str(sign));
    words[last..].iter().for_each(|word| out.push_str(word));
    out
}

/// Text without roff's escapes.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut characters = after.chars();
        rest = match characters.next() {
            Some('-') => {
                out.push('-');
                characters.as_str()
            }
            Some('e') => {
                out.push('\\');
                characters.as_str()
            }
            Some(' ' | '~') => {
                out.push(' ');
                characters.as_str()
            }
            Some('(') => {
                let code: String = characters.by_ref().take(2).collect();
                out.push_str(match code.as_str() {
                    "dq" => "\"",
                    "aq" => "'",
                    "em" | "en" | "mi" => "-",
                    "bu" => "*",
                    "rs" => "\\",
                    _ => "",
                });
                characters.as_str()
            }
            // \fB and its like; \fR ends it.
            Some('f') => {
                characters.next();
                characters.as_str()
            }
            Some('"') => "",
            // \& has no width.
            _ => characters.as_str(),
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_headings_paragraphs_and_lists() {
        let page = ".TH X 1\n.SH NAME\nx \\- a thing\n.SH KEYS\n.TP\n.B Ctrl\\-L\nPaint\nagain.\n.PP\nEnd.\n.nf\n  a  b\n.fi\n";
        let shown = show(page, 60);
        assert_eq!(
            shown,
            "NAME\n    x - a thing\n\nKEYS\n    Ctrl-L\n        Paint again.\n\n    End.\n\n      a  b\n\n"
        );
    }

    #[test]
    fn mdoc_reads_as_mandoc_shows_it() {
        let page = ".Dd x\n.Dt X 5\n.Sh NAME\n.Nm x\n.Nd a file\n.Sh USE\nSee\n.Xr y 8 ,\nor\n.Ic corten check Ar file\n.Po Li swp Ns Ar N ,\n.Li lo\nand the like\n.Pc .\n.Bl -tag -width Ds\n.It Ic version\nRequired.\n.Li 1 .\n.El\nMore\n.Ql _ ,\n.Pq Dq a .\n";
        let shown = show(page, 79);
        insta::assert_snapshot!(shown, @r#"
        NAME
            x - a file

        USE
            See y(8), or corten check file (swpN, lo and the like).
            version
                Required. 1.
            More `_`, ("a").
        "#);
    }

    #[test]
    fn a_tag_over_several_lines_is_one_tag() {
        let page = ".Sh X\n.Bl -tag -width Ds\n.It Xo\n.Ic mtu , mac ,\n.Ic vrf\n.Xc\nAs of a port.\n.It Ev NETD_LOG\nSee\n.Ev TERM .\n.El\n";
        let shown = "X\n    mtu, mac, vrf\n        As of a port.\n    NETD_LOG\n        See TERM.\n";
        assert_eq!(show(page, 79), shown);
    }

    #[test]
    fn no_line_of_any_page_is_wider_than_the_terminal_and_no_escape_is_left() {
        let pages = [
            (include_str!("../../../os-image/rootfs/usr/share/man/man5/switch.toml.5"), "[system]"),
            (include_str!("../../../os-image/rootfs/usr/share/man/man8/netd.8"), "NETD_LOG"),
            (
                include_str!("../../../os-image/rootfs/usr/share/man/man8/containerd-shim-corten-v1.8"),
                "crun(1)",
            ),
            (&super::super::page(), "corten apply FILE"),
        ];
        for (page, words) in pages {
            let shown = show(page, 78);
            // But for what is shown as it is: a key, a command line.
            let verbatim = |line: &str| page.contains(line.trim()) || line.contains("ssh ana@switch");
            let wide = shown.lines().find(|line| crate::text::width(line) > 78 && !verbatim(line));
            assert_eq!(wide, None, "{words}");
            assert!(!shown.contains("\\(") && !shown.contains("\\&") && !shown.contains("\\f"), "{shown}");
            let request = |line: &&str| {
                let macros =
                    ["Ev", "Xo", "Xc", "Ic", "Li", "Pa", "Ns", "Ar", "Fl", "Pq", "Nm", "Xr", "Ql", "Dq"];
                line.split([' ', '(']).any(|word| macros.contains(&word))
                    || line.trim_start().starts_with('.')
            };
            assert_eq!(shown.lines().find(request), None, "{words}");
            assert!(shown.contains(words), "{words}: {shown}");
        }
    }
}
