//! A quick way through documents with very many routes: blocks of plain lines are read as they stand, and only
//! the rest of the document becomes a tree.
//!
//! Nobody can tell from outside which way a block was read:
//! - Only blocks without mistakes of their own are taken out. Those that are like none of the known forms
//!   are left to the tree's reader, which is the one to say what is wrong.
//! - Of blocks in a row the first and the last stay in the document. The first one shows that a block may
//!   stand there at all: if the tree does not have it among its routes (since it is part of a text of
//!   several lines, say), nothing is taken out. To the last one belongs what follows, such as
//!   `[routes.x]`.
//! - [`Lines`] knows the gaps, and the numbers of routes count what was taken out.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};

use super::document::{Gap, Lines};
use super::model::Place;
use super::plain_lines::{Cursor, Fields, HEADER, RawWays};
use super::plain_ways::{self, Family, PlainWays};
use super::reader::MAX_KEPT;
use super::routes::{
    NEVER, Source, WaysTable, WrittenRoute, default_metric, metric_of_distance, parse_destination,
};

/// Most different ways that are remembered as they are written, to read those that are alike only once.
const MAX_REMEMBERED: usize = 65_536;

/// What remains of a document, and what was taken out.
pub(super) struct Split<'d> {
    pub(super) rest: String,
    /// Where lines are missing in the rest.
    pub(super) gaps: Vec<Gap>,
    pub(super) plain: PlainRoutes<'d>,
}

/// Routes that were taken out of a document.
pub(super) struct PlainRoutes<'d> {
    /// The whole document.
    pub(super) text: &'d str,
    pub(super) cuts: Vec<Cut>,
    /// Those of all cuts. `index` is not set.
    pub(super) routes: Vec<WrittenRoute>,
    pub(super) ways: WaysTable,
}

/// A row of blocks that was taken out.
pub(super) struct Cut {
    /// Where the block before it begins, in the rest.
    pub(super) anchor: usize,
    /// Number of blocks.
    pub(super) blocks: u32,
    /// Number of routes: fewer, when there are more mistakes than anybody will be told of.
    pub(super) routes: u32,
}

/// Splits a document, if anything can be taken out. The error is the number of bytes that would remain, when
/// they are more than `max`.
pub(super) fn split(text: &str, max: usize) -> Result<Option<Split<'_>>, usize> {
    let mut scanner = Scanner::new(text);
    scanner.scan();
    let Scanner { rows, routes, ways, .. } = scanner;
    let rest_len = text.len() - rows.iter().map(|row| row.end.offset - row.start.offset).sum::<usize>();
    if rest_len > max {
        return Err(rest_len);
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let mut rest = String::with_capacity(rest_len);
    let (mut gaps, mut cuts) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    let mut kept_from = Position::default();
    let mut missing = Position::default();
    for row in rows {
        rest.push_str(&text[kept_from.offset..row.start.offset]);
        let (anchor, first_line) = (row.anchor - missing.offset, row.start.line - missing.line);
        missing.offset += row.end.offset - row.start.offset;
        missing.line += row.end.line - row.start.line;
        gaps.push(Gap { line: first_line, missing: missing.line });
        cuts.push(Cut { anchor, blocks: row.blocks, routes: row.routes });
        kept_from = row.end;
    }
    rest.push_str(&text[kept_from.offset..]);
    Ok(Some(Split { rest, gaps, plain: PlainRoutes { text, cuts, routes, ways } }))
}

impl<'d> PlainRoutes<'d> {
    /// Of a document of which nothing is taken out.
    pub(super) fn none(text: &'d str) -> Self {
        PlainRoutes { text, cuts: Vec::new(), routes: Vec::new(), ways: WaysTable::default() }
    }

    /// Whether the tree of the rest has a route where each cut says that it follows one.
    pub(super) fn fits(&self, tree: &DeTable<'_>) -> bool {
        let routes = tree.get("routes").and_then(|value| value.get_ref().as_array());
        let mut begins = routes.into_iter().flat_map(|routes| routes.iter()).map(|item| item.span().start);
        self.cuts.iter().all(|cut| begins.any(|begin| begin == cut.anchor))
    }
}

/// Reads a block that was taken out as the tree's reader would, to tell where in it a mistake is. Lines count
/// from the block's first.
pub(super) fn read_again<T>(
    text: &str,
    offset: u32,
    find: impl FnOnce(&Lines<'_>, &DeValue<'_>) -> Option<T>,
) -> Option<T> {
    let block = text.get(offset as usize..)?;
    let block = &block[..block_len(block)];
    let tree = DeTable::parse(block).ok()?;
    let route = tree.get_ref().get("routes")?.get_ref().as_array()?.first()?;
    find(&Lines::new(block), route.get_ref())
}

/// Length of the block that a text begins with: up to the next line that begins with a bracket.
fn block_len(text: &str) -> usize {
    text.find("\n[").map_or(text.len(), |end| end + 1)
}

/// A place in the document: byte offset, and the number of lines before.
#[derive(Clone, Copy, Default)]
struct Position {
    offset: usize,
    line: u32,
}

/// Blocks that are taken out.
struct Row {
    /// Where the block before begins.
    anchor: usize,
    start: Position,
    end: Position,
    blocks: u32,
    routes: u32,
}

/// What the lines of a block mean that say anything but its prefix.
#[derive(Clone, Copy)]
struct Form {
    metric: Metric,
    ways: PlainWays,
}

#[derive(Clone, Copy)]
enum Metric {
    Default,
    Number(u32),
    Distance(u32),
}

/// What a block is.
enum Block {
    Plain(WrittenRoute),
    Wrong,
    Unknown,
}

/// A block that may be taken out, unless it is the last of its row.
struct Candidate {
    start: Position,
    route: Option<WrittenRoute>,
}

/// Goes through a document once.
struct Scanner<'d> {
    text: &'d str,
    at: Position,
    /// Where the block begins that is directly before `at`; `None` when something else is.
    anchor: Option<usize>,
    candidate: Option<Candidate>,
    /// Whether the last of `rows` may go on.
    open: bool,
    rows: Vec<Row>,
    routes: Vec<WrittenRoute>,
    ways: WaysTable,
    known: HashMap<RawWays<'d>, PlainWays>,
    /// The lines after the prefix of the last block, their number, and what they mean.
    last: Option<(&'d str, u32, Form)>,
    mistakes: usize,
}

impl<'d> Scanner<'d> {
    fn new(text: &'d str) -> Self {
        Scanner {
            text,
            at: Position::default(),
            anchor: None,
            candidate: None,
            open: false,
            rows: Vec::new(),
            routes: Vec::new(),
            ways: WaysTable::default(),
            known: HashMap::new(),
            last: None,
            mistakes: 0,
        }
    }

    fn scan(&mut self) {
        while self.at.offset < self.text.len() {
            let start = self.at;
            let rest = &self.text[start.offset..];
            let block = if rest.starts_with(HEADER) { self.read_block(rest) } else { None };
            match block {
                Some((block, len, lines)) => {
                    self.at = Position { offset: start.offset + len, line: start.line + lines };
                    self.take(start, block);
                }
                None => {
                    let line = rest.bytes().position(|byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
                    self.at = Position { offset: start.offset + line, line: start.line + 1 };
                    self.end_row();
                }
            }
        }
        self.end_row();
    }

    /// Puts a block into its row.
    fn take(&mut self, start: Position, block: Block) {
        let route = match block {
            Block::Plain(route) => Some(route),
            Block::Wrong => {
                self.mistakes += 1;
                None
            }
            Block::Unknown => return self.end_row(),
        };
        // As many mistakes as anybody is told of stay in the document.
        let may_go = self.anchor.is_some() && (route.is_some() || self.mistakes > MAX_KEPT);
        self.remove_candidate(start);
        if may_go {
            self.candidate = Some(Candidate { start, route });
        } else {
            self.open = false;
            self.anchor = Some(start.offset);
        }
    }

    /// Takes the candidate out, since it is not the last of its row: another block begins at `end`.
    fn remove_candidate(&mut self, end: Position) {
        let (Some(Candidate { start, route }), Some(anchor)) = (self.candidate.take(), self.anchor) else {
            return;
        };
        if !self.open {
            self.rows.push(Row { anchor, start, end, blocks: 0, routes: 0 });
            self.open = true;
        }
        if let Some(row) = self.rows.last_mut() {
            row.end = end;
            row.blocks += 1;
            row.routes += u32::from(route.is_some());
        }
        self.routes.extend(route);
    }

    fn end_row(&mut self) {
        self.candidate = None;
        self.anchor = None;
        self.open = false;
    }

    /// Reads the block a text begins with: what it is, its length and its number of lines.
    fn read_block(&mut self, text: &'d str) -> Option<(Block, usize, u32)> {
        let mut cursor = Cursor::new(text);
        cursor.header()?;
        let body = (cursor.at, cursor.lines);
        if let Some(prefix) = cursor.prefix_line() {
            let form = self.read_form(&mut cursor)?;
            return Some((self.block(prefix, form), cursor.at, cursor.lines));
        }
        (cursor.at, cursor.lines) = body;
        let mut fields = Fields::default();
        cursor.fields(&mut fields)?;
        let form = self.form_of(&fields)?;
        Some((self.block(fields.prefix?, form), cursor.at, cursor.lines))
    }

    /// Reads what follows the line of a prefix.
    fn read_form(&mut self, cursor: &mut Cursor<'d>) -> Option<Form> {
        let text = cursor.rest();
        if let Some((written, lines, form)) = self.last
            && let Some(rest) = text.strip_prefix(written)
            && (rest.is_empty() || rest.starts_with('['))
        {
            cursor.at += written.len();
            cursor.lines += lines;
            return Some(form);
        }
        let (start, before) = (cursor.at, cursor.lines);
        let mut fields = Fields::default();
        cursor.fields(&mut fields)?;
        let form = self.form_of(&fields).filter(|_| fields.prefix.is_none())?;
        let written = &text[..cursor.at - start];
        // Without a line end, more may follow on the line elsewhere.
        if written.ends_with('\n') {
            self.last = Some((written, cursor.lines - before, form));
        }
        Some(form)
    }

    fn block(&self, prefix: &str, form: Form) -> Block {
        let (ways, family) = match form.ways {
            PlainWays::Known { number, family } => (number, family),
            PlainWays::Wrong => return Block::Wrong,
            PlainWays::Unknown => return Block::Unknown,
        };
        let Ok(prefix) = parse_destination(prefix) else {
            return Block::Wrong;
        };
        let of_prefix = Family::of(prefix.addr());
        let is_ipv6 = of_prefix == Family::V6;
        if family.is_some_and(|family| family != of_prefix) {
            return Block::Wrong;
        }
        let (metric, installed) = match form.metric {
            Metric::Default => (default_metric(is_ipv6), true),
            Metric::Number(0) if is_ipv6 => return Block::Unknown,
            Metric::Number(metric) => (metric, true),
            Metric::Distance(distance) => metric_of_distance(distance, is_ipv6),
        };
        let place = Place { line: self.at.line + 1, column: 1 };
        let source = Source::Text(u32::try_from(self.at.offset).unwrap_or(u32::MAX));
        Block::Plain(WrittenRoute {
            index: 0,
            place,
            source,
            prefix,
            metric,
            metric_known: true,
            installed,
            ways,
        })
    }

    fn form_of(&mut self, fields: &Fields<'d>) -> Option<Form> {
        let metric = match (fields.metric, fields.distance) {
            (None, None) => Metric::Default,
            (Some(metric), None) => Metric::Number(metric),
            (None, Some(distance @ 1..=NEVER)) => Metric::Distance(distance),
            _ => return None,
        };
        let ways = match self.known.get(&fields.rest) {
            Some(ways) => *ways,
            None => {
                let ways = plain_ways::read(&fields.rest, &mut self.ways).unwrap_or(PlainWays::Unknown);
                if self.known.len() < MAX_REMEMBERED {
                    self.known.insert(fields.rest, ways);
                }
                ways
            }
        };
        Some(Form { metric, ways })
    }
}
