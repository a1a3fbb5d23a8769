//! The lines that [`super::plain_routes`] knows: a small part of TOML, read without a tree. What is not of
//! this part is `None` here, and never wrong.

/// What the lines of a block say. Each key is there at most once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'d> {
    pub(super) prefix: Option<&'d str>,
    pub(super) metric: Option<u32>,
    pub(super) distance: Option<u32>,
    pub(super) rest: RawWays<'d>,
}

/// What a block says beside its prefix and metric. Arrays are as they are written, without their brackets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct RawWays<'d> {
    pub(super) via: Option<&'d str>,
    pub(super) dev: Option<&'d str>,
    pub(super) vrf: Option<&'d str>,
    pub(super) blackhole: Option<bool>,
    pub(super) unreachable: Option<bool>,
    pub(super) weights: Option<&'d str>,
}

impl<'d> RawWays<'d> {
    /// The texts in `via`.
    pub(super) fn via(&self) -> Option<Vec<&'d str>> {
        let mut cursor = Cursor::new(self.via?);
        cursor.items(|cursor| cursor.string())
    }

    /// The numbers in `weights`.
    pub(super) fn weights(&self) -> Option<Vec<u32>> {
        let mut cursor = Cursor::new(self.weights?);
        cursor.items(|cursor| cursor.number())
    }
}

/// How a block begins.
pub(super) const HEADER: &str = "[[routes]]";

/// Reads a text from its front.
pub(super) struct Cursor<'d> {
    text: &'d str,
    /// Number of bytes that are read.
    pub(super) at: usize,
    /// Number of lines that are read.
    pub(super) lines: u32,
}

impl<'d> Cursor<'d> {
    pub(super) fn new(text: &'d str) -> Self {
        Cursor { text, at: 0, lines: 0 }
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'d str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Reads the header of a block with its line end.
    pub(super) fn header(&mut self) -> Option<()> {
        self.eat_all(HEADER)?;
        self.line_end()
    }

    /// Reads a line with `prefix`, if that comes first.
    pub(super) fn prefix_line(&mut self) -> Option<&'d str> {
        self.blanks();
        self.eat_all("prefix")?;
        self.equals()?;
        let prefix = self.string()?;
        self.line_end()?;
        Some(prefix)
    }

    /// Reads lines up to one that begins with a bracket, or up to the end.
    pub(super) fn fields(&mut self, fields: &mut Fields<'d>) -> Option<()> {
        while self.peek().is_some_and(|byte| byte != b'[') {
            self.blanks();
            let key = self.key();
            if !key.is_empty() {
                self.equals()?;
                self.value(key, fields)?;
            }
            self.line_end()?;
        }
        Some(())
    }

    fn value(&mut self, key: &str, fields: &mut Fields<'d>) -> Option<()> {
        let rest = &mut fields.rest;
        match key {
            "prefix" => set(&mut fields.prefix, self.string()?),
            "via" if self.peek() == Some(b'[') => set(&mut rest.via, self.array(|cursor| cursor.string())?),
            "via" => {
                let start = self.at;
                self.string()?;
                set(&mut rest.via, self.text.get(start..self.at)?)
            }
            "dev" => set(&mut rest.dev, self.string()?),
            "vrf" => set(&mut rest.vrf, self.string()?),
            "metric" => set(&mut fields.metric, self.number()?),
            "distance" => set(&mut fields.distance, self.number()?),
            "blackhole" => set(&mut rest.blackhole, self.boolean()?),
            "unreachable" => set(&mut rest.unreachable, self.boolean()?),
            "weights" => set(&mut rest.weights, self.array(|cursor| cursor.number())?),
            _ => None,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn eat_all(&mut self, word: &str) -> Option<()> {
        self.rest().as_bytes().starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    /// Reads bytes of ASCII as long as a condition holds; answers them.
    fn take_while(&mut self, condition: impl Fn(u8) -> bool) -> &'d str {
        let start = self.at;
        while self.peek().is_some_and(&condition) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    /// A bare key; empty when there is none.
    fn key(&mut self) -> &'d str {
        self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    }

    fn equals(&mut self) -> Option<()> {
        self.blanks();
        self.eat(b'=')?;
        self.blanks();
        Some(())
    }

    /// A string in double quotes, without escapes.
    fn string(&mut self) -> Option<&'d str> {
        self.eat(b'"')?;
        let text = self.take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7f));
        self.eat(b'"')?;
        Some(text)
    }

    /// A decimal number without sign, separators or leading zeros.
    fn number(&mut self) -> Option<u32> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.starts_with('0') && digits.len() > 1 {
            return None;
        }
        digits.parse().ok()
    }

    fn boolean(&mut self) -> Option<bool> {
        match self.key() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// An array on one line; answers what is between the brackets.
    fn array<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<&'d str> {
        self.eat(b'[')?;
        let start = self.at;
        self.each(item, |_| ())?;
        let end = self.at;
        self.eat(b']')?;
        self.text.get(start..end)
    }

    /// The items of an array, which is all that remains.
    fn items<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        self.each(item, |item| items.push(item))?;
        Some(items)
    }

    /// Reads items with commas between them, and perhaps one after them.
    fn each<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>, mut with: impl FnMut(T)) -> Option<()> {
        loop {
            self.blanks();
            if matches!(self.peek(), None | Some(b']')) {
                return Some(());
            }
            with(item(self)?);
            self.blanks();
            if self.eat(b',').is_none() {
                return Some(());
            }
        }
    }

    /// The end of a line, with a comment or without. Where the text ends, so does the line.
    fn line_end(&mut self) -> Option<()> {
        self.blanks();
        if self.eat(b'#').is_some() {
            // TOML refuses control characters but for the tab.
            self.take_while(|byte| !matches!(byte, 0..0x20 | 0x7f) || byte == b'\t');
        }
        self.lines += 1;
        match self.peek() {
            None => Some(()),
            Some(b'\r') => self.eat_all("\r\n"),
            Some(_) => self.eat(b'\n'),
        }
    }
}

/// Sets a key that is not set yet.
fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Fields<'_>> {
        let mut cursor = Cursor::new(text);
        let mut fields = Fields::default();
        cursor.fields(&mut fields)?;
        cursor.rest().is_empty().then_some(fields)
    }

    #[test]
    fn plain_lines_are_read() {
        let fields = read(
            "# one\n prefix\t=  \"10.0.0.0/8\" # two é\r\n\nvia=[ \"10.0.0.1\" ,\"10.0.0.2\", ]\nmetric = 0\nblackhole=false\nweights = [1, 20]",
        )
        .unwrap();
        assert_eq!(fields.prefix, Some("10.0.0.0/8"));
        assert_eq!(fields.rest.via().unwrap(), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(fields.rest.weights().unwrap(), [1, 20]);
        assert_eq!((fields.metric, fields.rest.blackhole, fields.rest.dev), (Some(0), Some(false), None));
        assert_eq!(read("via = \"10.0.0.1\"").unwrap().rest.via().unwrap(), ["10.0.0.1"]);
        assert_eq!(read("via = []").unwrap().rest.via().unwrap(), [""; 0]);
        let mut cursor = Cursor::new("[[routes]] # x\nprefix=\"::/0\"\nvia");
        assert_eq!((cursor.header(), cursor.prefix_line()), (Some(()), Some("::/0")));
        assert_eq!((cursor.rest(), cursor.lines), ("via", 2));
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
            "via = [\"10.0.0.1\",,]",
            "via = [[\"10.0.0.1\"]]",
            "via = [\"10.0.0.1\"",
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
            assert!(read(text).is_none(), "{text}");
        }
        for text in ["[[routes]]]", "[[routes ]]", "[[routes]] x", "[[routes]]\r", " [[routes]]"] {
            assert!(Cursor::new(text).header().is_none(), "{text}");
        }
    }
}
