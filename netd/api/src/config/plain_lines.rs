//! The lines that [`super::plain_routes`] knows: a small part of TOML, read without a tree. What is not of
//! this part is `None` here, and never wrong.

use std::ops::ControlFlow;

/// What the lines of a block say. Each key is there at most once.
#[derive(Default)]
pub(super) struct Fields<'d> {
    pub(super) prefix: Option<&'d str>,
    pub(super) via: Option<Vec<&'d str>>,
    pub(super) dev: Option<&'d str>,
    pub(super) vrf: Option<&'d str>,
    pub(super) metric: Option<u32>,
    pub(super) distance: Option<u32>,
    pub(super) blackhole: Option<bool>,
    pub(super) unreachable: Option<bool>,
    pub(super) weights: Option<Vec<u32>>,
}

/// Reads the header of a block, `[[routes]]`, with its line end.
pub(super) fn read_header(text: &str) -> Option<&str> {
    Cursor(text.strip_prefix(HEADER)?).line_end()
}

pub(super) const HEADER: &str = "[[routes]]";

/// Reads a line with `prefix`: what it says, and what follows the line.
pub(super) fn read_prefix_line(text: &str) -> Option<(&str, &str)> {
    let mut cursor = Cursor(text);
    cursor.blanks();
    cursor.0 = cursor.0.strip_prefix("prefix")?;
    cursor.equals()?;
    let prefix = cursor.string()?;
    Some((prefix, cursor.line_end()?))
}

/// Reads lines up to the end of the text.
pub(super) fn read_fields(text: &str) -> Option<Fields<'_>> {
    let mut fields = Fields::default();
    let mut rest = text;
    while !rest.is_empty() {
        let mut cursor = Cursor(rest);
        cursor.blanks();
        let key = cursor.key();
        if !key.is_empty() {
            cursor.equals()?;
            read_value(&mut cursor, key, &mut fields)?;
        }
        rest = cursor.line_end()?;
    }
    Some(fields)
}

fn read_value<'d>(cursor: &mut Cursor<'d>, key: &str, fields: &mut Fields<'d>) -> Option<()> {
    match key {
        "prefix" => set(&mut fields.prefix, cursor.string()?),
        "via" => {
            let hops = match cursor.0.starts_with('[') {
                true => cursor.array(Cursor::string)?,
                false => vec![cursor.string()?],
            };
            set(&mut fields.via, hops)
        }
        "dev" => set(&mut fields.dev, cursor.string()?),
        "vrf" => set(&mut fields.vrf, cursor.string()?),
        "metric" => set(&mut fields.metric, cursor.number()?),
        "distance" => set(&mut fields.distance, cursor.number()?),
        "blackhole" => set(&mut fields.blackhole, cursor.boolean()?),
        "unreachable" => set(&mut fields.unreachable, cursor.boolean()?),
        "weights" => set(&mut fields.weights, cursor.array(Cursor::number)?),
        _ => None,
    }
}

/// Sets a key that is not set yet.
fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Reads a text from its front.
struct Cursor<'d>(&'d str);

impl<'d> Cursor<'d> {
    fn blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn eat(&mut self, byte: char) -> Option<()> {
        self.0 = self.0.strip_prefix(byte)?;
        Some(())
    }

    /// A bare key; empty when there is none.
    fn key(&mut self) -> &'d str {
        let end = self.0.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
        self.split(end.unwrap_or(self.0.len()))
    }

    fn split(&mut self, at: usize) -> &'d str {
        let (head, tail) = self.0.split_at(at);
        self.0 = tail;
        head
    }

    fn equals(&mut self) -> Option<()> {
        self.blanks();
        self.eat('=')?;
        self.blanks();
        Some(())
    }

    /// A string in double quotes, without escapes.
    fn string(&mut self) -> Option<&'d str> {
        self.eat('"')?;
        let end = self.0.bytes().try_fold(0, |end, byte| match byte {
            b'"' => ControlFlow::Break(Some(end)),
            b'\\' | 0..0x20 | 0x7f => ControlFlow::Break(None),
            _ => ControlFlow::Continue(end + 1),
        });
        let ControlFlow::Break(Some(end)) = end else {
            return None;
        };
        let text = self.split(end);
        self.eat('"')?;
        Some(text)
    }

    /// A decimal number without sign, separators or leading zeros.
    fn number(&mut self) -> Option<u32> {
        let end = self.0.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let digits = self.split(end);
        if digits.starts_with('0') && digits.len() > 1 {
            return None;
        }
        digits.parse().ok()
    }

    fn boolean(&mut self) -> Option<bool> {
        let (value, rest) = match self.0.strip_prefix("true") {
            Some(rest) => (true, rest),
            None => (false, self.0.strip_prefix("false")?),
        };
        self.0 = rest;
        Some(value)
    }

    /// An array on one line.
    fn array<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.eat('[')?;
        let mut items = Vec::new();
        loop {
            self.blanks();
            if self.eat(']').is_some() {
                return Some(items);
            }
            items.push(item(self)?);
            self.blanks();
            if self.eat(',').is_none() {
                self.eat(']')?;
                return Some(items);
            }
        }
    }

    /// The end of a line, with a comment or without; answers what follows.
    fn line_end(mut self) -> Option<&'d str> {
        self.blanks();
        if self.eat('#').is_some() {
            let end = self.0.bytes().position(|byte| byte == b'\n' || is_refused_in_comments(byte));
            self.split(end.unwrap_or(self.0.len()));
        }
        if self.0.is_empty() {
            return Some(self.0);
        }
        self.0.strip_prefix('\n').or_else(|| self.0.strip_prefix("\r\n"))
    }
}

/// TOML refuses control characters but for the tab.
fn is_refused_in_comments(byte: u8) -> bool {
    matches!(byte, 0..0x20 | 0x7f) && byte != b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_read() {
        let fields = read_fields(
            "# one\n prefix\t=  \"10.0.0.0/8\" # two\r\n\nvia=[ \"10.0.0.1\" ,\"10.0.0.2\", ]\nmetric = 0\nblackhole=false",
        )
        .unwrap();
        assert_eq!(fields.prefix, Some("10.0.0.0/8"));
        assert_eq!(fields.via.unwrap(), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!((fields.metric, fields.blackhole, fields.dev), (Some(0), Some(false), None));
        assert_eq!(read_header("[[routes]] # x\nvia"), Some("via"));
        assert_eq!(read_prefix_line("prefix=\"::/0\"\nvia"), Some(("::/0", "via")));
    }

    #[test]
    fn everything_else_is_left_alone() {
        for text in [
            "prefix = '10.0.0.0/8'",
            "prefix = \"\"\"10.0.0.0/8\"\"\"",
            "prefix = \"10.0.0.0\\u002f8\"",
            "prefix = \"10.0.0.0/8",
            "prefix = \"10.0.0.0/8\" x",
            "prefix = \"\"\nprefix = \"\"",
            "\"prefix\" = \"\"",
            "via = [\n\"10.0.0.1\"]",
            "via = [,]",
            "via = [[\"10.0.0.1\"]]",
            "metric = 01",
            "metric = +1",
            "metric = 1_0",
            "metric = 4294967296",
            "metric =",
            "metric = 1 \r",
            "metric.a = 1",
            "blackhole = truefalse",
            "# \u{1}",
            "# a\rb",
            "mtu = 1",
            "=",
            "[vlans.1]",
        ] {
            assert!(read_fields(text).is_none(), "{text}");
        }
        for text in ["[[routes]]]", "[[routes ]]", "[[routes]] x", "[[routes]]\r", " [[routes]]"] {
            assert!(read_header(text).is_none(), "{text}");
        }
    }
}
