//! How much a terminal can show: colours, and characters beyond ASCII.

use std::io::IsTerminal;

use ratatui::style::{Color, Modifier, Style};

/// What the terminal in front of the user can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether colours may be used (`NO_COLOR` is empty, the terminal has them).
    pub colour: bool,
    /// Whether characters beyond ASCII may be used (a UTF-8 locale, and a terminal that knows them).
    pub unicode: bool,
    /// Whether the terminal has an alternate screen, so that what was on it comes back at the end.
    pub alternate_screen: bool,
}

/// Meaning of a piece of text, from which its style follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Plain.
    #[default]
    Normal,
    /// Works.
    Good,
    /// Does not work.
    Bad,
    /// Of little interest.
    Quiet,
    /// A title of columns.
    Heading,
    /// A selected row, a bar.
    Bar,
}

impl Look {
    /// Plain ASCII, for programs and the simplest terminals.
    pub const PLAIN: Look = Look { colour: false, unicode: false, alternate_screen: false };

    /// The look for this process's standard output.
    pub fn of_stdout() -> Look {
        let look = Look::of_environment();
        Look { colour: look.colour && std::io::stdout().is_terminal(), ..look }
    }

    /// The look for this process, whatever it writes to.
    pub fn of_environment() -> Look {
        Look::of(|name| std::env::var(name).unwrap_or_default())
    }

    /// The look for an environment. VT terminals (a serial line), the kernel's own console, `dumb` and an
    /// unknown terminal get plain ASCII.
    fn of(variable: impl Fn(&str) -> String) -> Look {
        let term = variable("TERM");
        if term.is_empty() || term == "dumb" || term == "linux" || term.starts_with("vt") {
            return Look::PLAIN;
        }
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].map(&variable).into_iter().find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Look {
            colour: variable("NO_COLOR").is_empty(),
            unicode: locale.ends_with("utf-8") || locale.ends_with("utf8"),
            alternate_screen: true,
        }
    }

    /// The mark at the end of a text that was cut.
    pub fn cut_mark(self) -> char {
        if self.unicode { '…' } else { '~' }
    }

    /// The text as this terminal can show it: harmless, and ASCII where nothing else is possible.
    pub fn text(self, text: &str) -> String {
        let text = crate::text::clean(text);
        if self.unicode { text } else { crate::text::ascii(&text) }
    }

    /// The style of a tone on the screens.
    pub fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        match (tone, self.colour) {
            (Tone::Normal, _) | (Tone::Good | Tone::Quiet, false) => plain,
            (Tone::Good, true) => plain.fg(Color::Green),
            (Tone::Bad, true) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Bad, false) => plain.add_modifier(Modifier::BOLD),
            (Tone::Quiet, true) => plain.fg(Color::DarkGray),
            (Tone::Heading, true) => plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            (Tone::Heading, false) => plain.add_modifier(Modifier::UNDERLINED),
            (Tone::Bar, _) => plain.add_modifier(Modifier::REVERSED),
        }
    }

    /// The text wrapped in the escape sequences of a tone, for one-shot output.
    pub fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            _ if !self.colour || text.is_empty() => return text.to_owned(),
            Tone::Normal => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Quiet => "90",
            Tone::Heading => "1",
            Tone::Bar => "7",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Look {
        Look::of(|name| {
            pairs.iter().find(|(key, _)| *key == name).map_or(String::new(), |(_, value)| (*value).into())
        })
    }

    #[test]
    fn serial_terminals_get_plain_ascii() {
        for term in ["vt220", "vt100", "vt102", "linux", "dumb", ""] {
            assert_eq!(of(&[("TERM", term), ("LANG", "C.UTF-8")]), Look::PLAIN, "{term}");
        }
    }

    #[test]
    fn unicode_needs_a_utf8_locale() {
        assert!(of(&[("TERM", "xterm"), ("LANG", "en_GB.UTF-8")]).unicode);
        assert!(!of(&[("TERM", "xterm"), ("LANG", "C")]).unicode);
        assert!(!of(&[("TERM", "xterm")]).unicode);
        assert!(!of(&[("TERM", "xterm"), ("LC_ALL", "C"), ("LANG", "C.UTF-8")]).unicode);
    }

    #[test]
    fn no_color_turns_colours_off_and_nothing_else() {
        let look = of(&[("TERM", "xterm"), ("LANG", "C.UTF-8"), ("NO_COLOR", "1")]);
        assert_eq!(look, Look { colour: false, unicode: true, alternate_screen: true });
        assert!(of(&[("TERM", "xterm"), ("NO_COLOR", "")]).colour);
    }

    #[test]
    fn plain_looks_write_no_escape_sequence() {
        assert_eq!(Look::PLAIN.paint("down", Tone::Bad), "down");
    }
}
