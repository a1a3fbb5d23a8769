//! The tools with which the sections are read: values with their places, and one list of everything
//! that is wrong with them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use super::document::{Lines, shortened};
use super::layer3::VrfReference;
use super::model::Place;
use crate::diagnostic::Diagnostic;

/// More mistakes than this are not looked into.
pub(super) const MAX_KEPT: usize = 2000;

/// Longest name of an object in bytes; what is allowed is shorter for each sort.
const MAX_NAME: usize = 255;

/// Longest alias of an interface in bytes (`IFALIASZ` of linux/if.h, less the final zero).
const MAX_ALIAS_BYTES: usize = 255;

/// Collects what is wrong and where everything stands, while the sections are read.
pub(super) struct Reader<'d> {
    pub(super) lines: &'d Lines<'d>,
    diagnostics: Vec<Diagnostic>,
    /// Places of settings by dotted path, for [`super::Config::locate`].
    pub(super) places: BTreeMap<String, Place>,
    /// Whether parts of the document are missing for syntax errors, so that absence proves nothing.
    pub(super) partial: bool,
    /// Whether an address could not be read, so that what depends on addresses cannot be judged.
    pub(super) addresses_incomplete: bool,
    /// VRFs that settings name.
    pub(super) vrf_references: Vec<VrfReference>,
    /// Keys each kind of section was asked for: what the schema has to list.
    #[cfg(test)]
    pub(super) known: BTreeMap<&'static str, std::collections::BTreeSet<&'static str>>,
}

/// A value of the document, at its place.
#[derive(Clone, Debug)]
pub(super) struct Node<'d> {
    pub(super) value: &'d DeValue<'d>,
    pub(super) place: Place,
    pub(super) path: String,
    /// Whether the places of what is inside are kept for [`super::Config::locate`].
    pub(super) placed: bool,
}

/// A table that is read key by key; whatever was not asked for by [`Reader::finish`] is unknown.
pub(super) struct Section<'d> {
    table: &'d DeTable<'d>,
    /// Sort of section; only the test that compares reader and schema asks for it.
    #[cfg_attr(not(test), expect(dead_code))]
    kind: &'static str,
    pub(super) place: Place,
    pub(super) path: String,
    placed: bool,
    asked: RefCell<Vec<&'static str>>,
}

impl<'d> Reader<'d> {
    pub(super) fn new(lines: &'d Lines<'d>, partial: bool) -> Self {
        Reader {
            lines,
            diagnostics: Vec::new(),
            places: BTreeMap::new(),
            partial,
            addresses_incomplete: false,
            vrf_references: Vec::new(),
            #[cfg(test)]
            known: BTreeMap::new(),
        }
    }

    /// Notes a mistake.
    pub(super) fn wrong(&mut self, place: Place, path: &str, message: impl Into<String>) {
        if self.diagnostics.len() < MAX_KEPT {
            let Place { line, column } = place;
            self.diagnostics.push(Diagnostic {
                line,
                column,
                path: path.to_owned(),
                message: message.into(),
            });
        }
    }

    /// Notes a mistake in a value.
    pub(super) fn wrong_value(&mut self, node: &Node<'d>, message: impl Into<String>) {
        self.wrong(node.place, &node.path, message);
    }

    /// Notes that something required is absent, unless the document could be read in part only or the
    /// section holds keys that are not known ([`Reader::finish`]): one of them may be the one meant.
    pub(super) fn missing(&mut self, node: &Node<'d>, all_known: bool, message: &str) {
        if all_known && !self.partial {
            self.wrong_value(node, message);
        }
    }

    /// Paths of the members of an array of tables, by their places: mistakes in one leave gaps in what was
    /// read, so a member's number there is not its number in the document.
    pub(super) fn paths_of(&self, array: &str) -> HashMap<Place, String> {
        let first = format!("{array}[");
        let members = self.places.range(first.clone()..).take_while(|(path, _)| path.starts_with(&first));
        members.filter(|(path, _)| path.ends_with(']')).map(|(path, place)| (*place, path.clone())).collect()
    }

    /// Whether no more mistakes are looked into.
    pub(super) fn is_full(&self) -> bool {
        self.diagnostics.len() >= MAX_KEPT
    }

    /// Number of mistakes so far.
    pub(super) fn count(&self) -> usize {
        self.diagnostics.len()
    }

    /// All mistakes so far.
    pub(super) fn into_parts(self) -> (Vec<Diagnostic>, BTreeMap<String, Place>) {
        (self.diagnostics, self.places)
    }

    /// The document's outermost table.
    pub(super) fn root(&self, table: &'d DeTable<'d>) -> Section<'d> {
        let place = Place { line: 1, column: 1 };
        Section { table, kind: "", place, path: String::new(), placed: true, asked: RefCell::default() }
    }

    /// A value of a section, if it is there.
    pub(super) fn take(&mut self, section: &Section<'d>, key: &'static str) -> Option<Node<'d>> {
        section.asked.borrow_mut().push(key);
        #[cfg(test)]
        self.known.entry(section.kind).or_default().insert(key);
        let (name, value) = section.table.get_key_value(key)?;
        // A table's place is its name: the table itself may be spread over the document.
        let span = if value.get_ref().is_table() { name.span() } else { value.span() };
        let place = self.lines.place(span.start);
        let path = join(&section.path, key);
        if section.placed {
            self.places.insert(path.clone(), place);
        }
        Some(Node { value: value.get_ref(), place, path, placed: section.placed })
    }

    /// The named members of a table of objects, in document order.
    pub(super) fn members(&mut self, node: &Node<'d>, max: usize) -> Vec<(&'d str, Node<'d>)> {
        let Some(table) = self.expect(node, "a table", DeValue::as_table) else {
            return Vec::new();
        };
        if table.len() > max {
            self.wrong_value(node, format!("{} entries; at most {max} are supported", table.len()));
            return Vec::new();
        }
        let mut members: Vec<_> = table.iter().collect();
        members.sort_by_key(|(name, _)| name.span().start);
        // Paths repeat the names, so a name without bounds would be multiplied.
        for (name, _) in members.extract_if(.., |(name, _)| name.get_ref().len() > MAX_NAME) {
            let place = self.lines.place(name.span().start);
            let name = shortened(name.get_ref());
            self.wrong(
                place,
                &join(&node.path, &name),
                format!("the name is too long: at most {MAX_NAME} bytes"),
            );
        }
        let member = |(name, value): (&'d toml::Spanned<_>, &'d toml::Spanned<DeValue<'d>>)| {
            let name_text: &'d str = AsRef::<std::borrow::Cow<'d, str>>::as_ref(name);
            let path = join(&node.path, name_text);
            let place = self.lines.place(name.span().start);
            (name_text, Node { value: value.get_ref(), place, path, placed: true })
        };
        let members: Vec<_> = members.into_iter().map(member).collect();
        self.places.extend(members.iter().map(|(_, node)| (node.path.clone(), node.place)));
        members
    }

    /// The value as a section. `kind` names its sort, the same for all sections with the same keys.
    pub(super) fn section(&mut self, node: &Node<'d>, kind: &'static str) -> Option<Section<'d>> {
        let table = self.expect(node, "a table", DeValue::as_table)?;
        let (place, path) = (node.place, node.path.clone());
        Some(Section { table, kind, place, path, placed: node.placed, asked: RefCell::default() })
    }

    /// Refuses every key of a section that nobody asked for. Answers whether there was none: where one is
    /// mistyped, nothing else can be said to be missing.
    pub(super) fn finish(&mut self, section: &Section<'d>) -> bool {
        let before = self.diagnostics.len();
        let asked = section.asked.borrow();
        for name in section.table.keys() {
            let text: &str = name.get_ref();
            if asked.contains(&text) {
                continue;
            }
            if self.diagnostics.len() >= MAX_KEPT {
                return false;
            }
            let place = self.lines.place(name.span().start);
            let known = asked.iter().copied();
            let message = match nearest(text, asked.iter().copied()) {
                Some(near) => format!("unknown key `{}`; did you mean `{near}`?", shortened(text)),
                None => format!("unknown key `{}`; known here: {}", shortened(text), list(known)),
            };
            self.wrong(place, &join(&section.path, &shortened(text)), message);
        }
        self.diagnostics.len() == before
    }

    pub(super) fn expect<T>(
        &mut self,
        node: &Node<'d>,
        what: &str,
        get: impl Fn(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<T> {
        let found = get(node.value);
        if found.is_none() {
            self.wrong_value(node, format!("expected {what}, found {}", kind_of(node.value)));
        }
        found
    }

    /// A string without control characters, of at most `max` characters.
    pub(super) fn text(&mut self, node: &Node<'d>, max: usize) -> Option<&'d str> {
        let text = self.expect(node, "a string", |value| value.as_str())?;
        if text.chars().nth(max).is_some() {
            self.wrong_value(node, format!("too long: at most {max} characters"));
            return None;
        }
        if text.contains(char::is_control) {
            self.wrong_value(node, "control characters are not allowed here");
            return None;
        }
        Some(text)
    }

    /// A text that becomes the alias of an interface: of at most `max` characters, and of as many bytes of UTF-8
    /// as the kernel takes.
    pub(super) fn alias(&mut self, node: &Node<'d>, max: usize) -> Option<&'d str> {
        let text = self.text(node, max)?;
        if text.len() > MAX_ALIAS_BYTES {
            let bytes = text.len();
            self.wrong_value(node, format!("too long: {bytes} bytes in UTF-8, at most {MAX_ALIAS_BYTES}"));
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, node: &Node<'d>) -> Option<bool> {
        self.expect(node, "true or false", DeValue::as_bool)
    }

    /// A key of a section that is `true` or `false`.
    pub(super) fn flag(&mut self, section: &Section<'d>, key: &'static str) -> Option<bool> {
        let node = self.take(section, key)?;
        self.boolean(&node)
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node<'d>, choices: &[(&str, T)]) -> Option<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        let known = || words().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let Some(text) = node.value.as_str() else {
            self.wrong_value(node, format!("expected one of {}, found {}", known(), kind_of(node.value)));
            return None;
        };
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let near = nearest(text, words()).map(|near| format!("did you mean \"{near}\"? "));
            let (shown, near) = (shortened(text), near.unwrap_or_default());
            self.wrong_value(node, format!("`{shown}` is not known here; {near}known are {}", known()));
        }
        found
    }

    /// An integer within a range.
    pub(super) fn integer(&mut self, node: &Node<'d>, range: RangeInclusive<i64>) -> Option<i64> {
        let number = self.any_integer(node)?;
        if range.contains(&number) {
            return Some(number);
        }
        let (first, last) = range.into_inner();
        let found =
            node.value.as_integer().map(|integer| shortened(&integer.to_string())).unwrap_or_default();
        self.wrong_value(node, format!("{found} is out of range: {first} to {last}"));
        None
    }

    /// A bound of a table, where a section has the key.
    pub(super) fn bound(
        &mut self,
        section: &Section<'d>,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<u32> {
        let number = self.take(section, key).and_then(|node| self.integer(&node, range));
        number.and_then(|number| u32::try_from(number).ok())
    }

    /// An integer; one that does not fit the type becomes the largest one, out of every range.
    pub(super) fn any_integer(&mut self, node: &Node<'d>) -> Option<i64> {
        let integer = self.expect(node, "an integer", DeValue::as_integer)?;
        Some(i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i64::MAX))
    }

    /// The members of an array of at most `max`.
    pub(super) fn array(&mut self, node: &Node<'d>, max: usize) -> Vec<Node<'d>> {
        let Some(array) = self.expect(node, "an array", DeValue::as_array) else {
            return Vec::new();
        };
        if array.len() > max {
            self.wrong_value(node, format!("{} entries; at most {max} are supported", array.len()));
            return Vec::new();
        }
        let nodes: Vec<_> =
            array.iter().enumerate().map(|(index, item)| self.item(node, index, item)).collect();
        if node.placed {
            self.places.extend(nodes.iter().map(|node| (node.path.clone(), node.place)));
        }
        nodes
    }

    /// A member of an array.
    pub(super) fn item(
        &self,
        array: &Node<'d>,
        index: usize,
        item: &'d toml::Spanned<DeValue<'d>>,
    ) -> Node<'d> {
        let path = format!("{}[{index}]", array.path);
        Node { value: item.get_ref(), place: self.lines.place(item.span().start), path, placed: array.placed }
    }

    /// The members of an array, or the one value that stands alone.
    pub(super) fn one_or_many(&mut self, node: &Node<'d>, max: usize) -> Vec<Node<'d>> {
        if node.value.is_array() { self.array(node, max) } else { vec![node.clone()] }
    }

    /// A string that a function turns into a value, or explains why not.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        node: &Node<'d>,
        max: usize,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(node, max)?;
        parse(text).map_err(|error| self.wrong_value(node, error.to_string())).ok()
    }
}

/// Adds a key to a dotted path.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The candidate that looks most like the text, if one looks much like it.
pub(super) fn nearest<'c>(text: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    // The distance costs length times length, and nobody mistypes a name into sixty characters.
    if text.len() > 60 {
        return None;
    }
    candidates
        .map(|candidate| (strsim::jaro_winkler(text, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Words in a row, for a message.
pub(super) fn list<'c>(words: impl Iterator<Item = &'c str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
