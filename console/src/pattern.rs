//! Names as people give them: `swp1`, `SWP1`, `swp1*`, and ranges as the configuration and the tables write them,
//! `swp[1-3]`, `swp[1,4-6]`, `swp1,swp2`.

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// This very character.
    Char(char),
    /// Any text.
    Any,
    /// A number in one of these ranges.
    Number(Vec<(u64, u64)>),
}

/// A pattern of names, without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// The pattern of a text. What looks like a range and is none stands for itself.
    pub fn new(text: &str) -> Pattern {
        let text = text.to_lowercase();
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            let range = || {
                let (inside, after) = rest.strip_prefix('[')?.split_once(']')?;
                Some((ranges(inside)?, after))
            };
            if let Some((ranges, after)) = range() {
                pieces.push(Piece::Number(ranges));
                rest = after;
                continue;
            }
            pieces.push(if c == '*' { Piece::Any } else { Piece::Char(c) });
            rest = &rest[c.len_utf8()..];
        }
        Pattern(pieces)
    }

    /// Whether a name fits.
    pub fn matches(&self, name: &str) -> bool {
        fits(&self.0, &name.to_lowercase())
    }

    /// Whether a part of a text fits.
    pub fn is_in(&self, text: &str) -> bool {
        let around = [&[Piece::Any], self.0.as_slice(), &[Piece::Any]].concat();
        fits(&around, &text.to_lowercase())
    }

    /// Whether it may stand for several names.
    pub fn is_plural(&self) -> bool {
        self.0.iter().any(|piece| !matches!(piece, Piece::Char(_)))
    }
}

/// A list of names, `swp1,swp[3-4]`, as its items: commas in brackets part no items.
pub fn items(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut inside = false;
    for c in list.chars() {
        inside = (inside || c == '[') && c != ']';
        match items.last_mut() {
            Some(item) if c != ',' || inside => item.push(c),
            _ => items.push(String::new()),
        }
    }
    items.retain(|item| !item.is_empty());
    if items.is_empty() { vec![list.to_owned()] } else { items }
}

/// `1-3,7`.
fn ranges(text: &str) -> Option<Vec<(u64, u64)>> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    text.split(',')
        .map(|part| match part.split_once('-') {
            Some((first, last)) => Some((number(first)?, number(last)?)),
            None => number(part).map(|number| (number, number)),
        })
        .collect()
}

/// Whether a name fits. One star is tried at a time: with many of them this stays quadratic.
fn fits(pieces: &[Piece], name: &str) -> bool {
    let (mut at, mut rest) = (0, name);
    // Where to go on when what follows the last star does not fit.
    let mut again: Option<(usize, &str)> = None;
    loop {
        match pieces.get(at) {
            Some(Piece::Any) => {
                again = Some((at, rest));
                at += 1;
                continue;
            }
            Some(piece) => {
                if let Some(after) = step(piece, rest, name) {
                    (at, rest) = (at + 1, after);
                    continue;
                }
            }
            None if rest.is_empty() => return true,
            None => {}
        }
        let Some((star, from)) = again else { return false };
        let mut shorter = from.chars();
        if shorter.next().is_none() {
            return false;
        }
        again = Some((star, shorter.as_str()));
        (at, rest) = (star + 1, shorter.as_str());
    }
}

/// What is left after a piece; `None` when it does not fit.
fn step<'a>(piece: &Piece, rest: &'a str, name: &str) -> Option<&'a str> {
    match piece {
        Piece::Char(c) => rest.strip_prefix(*c),
        Piece::Any => Some(rest),
        Piece::Number(ranges) => {
            // A number is taken whole: the 2 of swp12 is none.
            let before = &name[..name.len() - rest.len()];
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let number: u64 = rest[..end].parse().ok()?;
            let whole = !before.ends_with(|c: char| c.is_ascii_digit());
            (whole && ranges.iter().any(|(first, last)| (*first..=*last).contains(&number)))
                .then_some(&rest[end..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stars_and_ranges_fit_whatever_the_case() {
        for (pattern, name, fit) in [
            ("swp1", "swp1", true),
            ("SWP1", "swp1", true),
            ("swp1", "swp12", false),
            ("swp1*", "swp12", true),
            ("*s1", "swp3s1", true),
            ("s*p*1", "swp21", true),
            ("s*p*1", "swp12", false),
            ("*", "", true),
            ("ab*ba", "aba", false),
            ("swp[1-3]", "swp2", true),
            ("swp[1-3]", "swp12", false),
            ("swp[1,4-6]", "swp5", true),
            ("swp[1,4-6]", "swp3", false),
            ("swp3s[0-1]", "swp3s1", true),
            ("swp[1-2]s*", "swp2s0", true),
            ("*[2]", "swp12", false),
            ("[", "[", true),
            ("swp[x]", "swp[x]", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn lists_part_at_commas_outside_of_brackets() {
        assert_eq!(items("swp1,swp[3,5-6],uplink"), ["swp1", "swp[3,5-6]", "uplink"]);
        assert_eq!(items("swp1"), ["swp1"]);
        assert_eq!(items(""), [""]);
    }

    #[test]
    fn a_filter_finds_ranges_inside_of_texts() {
        let pattern = Pattern::new("swp[1-2]");
        assert!(pattern.is_in("uplink of swp2, rack 7"));
        assert!(!pattern.is_in("swp12"));
    }

    #[test]
    fn many_stars_take_no_long_time() {
        let pattern = Pattern::new(&"a*".repeat(2000));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(1000))));
    }
}
