//! How deep a document goes, told from its tokens before the TOML parser descends into it.
//!
//! The parser has a limit of its own for brackets, but loses count in broken documents and then goes as deep as
//! they lead it; and each bracket may stand behind a key of many parts, each of which is a table.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::document::Lines;
use crate::diagnostic::Diagnostic;

/// Most levels of brackets and parts of keys.
const MAX_DEPTH: usize = 80;

/// Refuses a text that goes too deep.
pub(super) fn check(text: &str, lines: &Lines<'_>) -> Result<(), Diagnostic> {
    let mut depth = Depth::default();
    for token in Source::new(text).lex() {
        let start = token.span().start();
        depth.count(token.kind(), start);
        if depth.levels() > MAX_DEPTH {
            let place = lines.place(start);
            let mut message = format!("more than {MAX_DEPTH} levels of brackets and parts of keys");
            if let Some(first) = depth.open.first() {
                let line = lines.place(first.start).line;
                message += &format!("; the first bracket that is still open is in line {line}");
            }
            return Err(Diagnostic { line: place.line, column: place.column, path: String::new(), message });
        }
    }
    Ok(())
}

/// What is open at one place of a text. The parser is never deeper than this: it leaves a bracket at the latest
/// where its counterpart comes and no other is open in between.
#[derive(Default)]
struct Depth {
    open: Vec<Bracket>,
    /// Levels of those that are open, with the keys before them.
    inside: usize,
    /// Levels of the longest header: keys below it begin there.
    header: usize,
    /// Dots since the last comma, bracket or line.
    dots: usize,
    /// Most dots of a key outside of brackets, in this line.
    longest: usize,
}

struct Bracket {
    kind: TokenKind,
    start: usize,
    levels: usize,
    /// Most dots of a key in it: after a mistake the parser may keep a key when another bracket opens.
    longest: usize,
}

impl Depth {
    fn levels(&self) -> usize {
        self.header + self.inside + self.longest()
    }

    fn longest(&self) -> usize {
        self.open.last().map_or(self.longest, |last| last.longest)
    }

    fn count(&mut self, kind: TokenKind, start: usize) {
        match kind {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                let levels = 1 + self.longest();
                self.dots = 0;
                self.inside += levels;
                self.open.push(Bracket { kind, start, levels, longest: 0 });
            }
            TokenKind::RightSquareBracket => self.close(TokenKind::LeftSquareBracket),
            TokenKind::RightCurlyBracket => self.close(TokenKind::LeftCurlyBracket),
            TokenKind::Dot => {
                self.dots += 1;
                let longest = self.open.last_mut().map_or(&mut self.longest, |last| &mut last.longest);
                *longest = self.dots.max(*longest);
                // A part of a header may be an array of tables: two levels.
                if self.open.last().is_some_and(|last| last.kind == TokenKind::LeftSquareBracket) {
                    self.header = self.header.max(2 * self.dots + 1);
                }
            }
            TokenKind::Comma => self.dots = 0,
            TokenKind::Newline if self.open.is_empty() => (self.dots, self.longest) = (0, 0),
            _ => {}
        }
    }

    fn close(&mut self, kind: TokenKind) {
        self.dots = 0;
        if self.open.last().is_some_and(|last| last.kind == kind) {
            self.inside -= self.open.pop().map_or(0, |last| last.levels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deepest(text: &str) -> usize {
        let mut depth = Depth::default();
        let tokens = Source::new(text).lex();
        tokens.fold(0, |deepest, token| {
            depth.count(token.kind(), token.span().start());
            depth.levels().max(deepest)
        })
    }

    #[test]
    fn brackets_count_with_the_keys_before_them() {
        for (text, levels) in [
            ("", 0),
            ("a = 1\nb.c = 2\n", 1),
            ("a = [[1], [2], \"[[[\"] # [[[\n", 2),
            ("[a.b]\nc.d = { e.f = { g = [1] } }\n[h]\n", 3 + 2 + 2 + 1),
            ("[[a.\"b.c\"]]\nd = 1\n", 3 + 2 + 1),
            ("a = { b.c = , { b ] = { d = 1 } } }\n", 1 + 2 + 1),
            ("a = { b = [ }\nc = [ ] ]\n }", 3),
        ] {
            assert_eq!(deepest(text), levels, "{text}");
        }
    }
}
