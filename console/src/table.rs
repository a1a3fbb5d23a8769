//! Aligned tables, for one-shot output and for the screens.

use crate::look::{Look, Tone};
use crate::text;

/// Columns between two columns.
pub const GAP: usize = 2;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Title.
    pub title: &'static str,
    /// Whether the cells stand at the right: numbers.
    pub right: bool,
    /// Width it has at least, so that a live table does not jump.
    pub at_least: usize,
    /// Width it may be cut to where space is short; `None` when it is never cut.
    pub cut_to: Option<usize>,
}

impl Column {
    /// A column of texts that are never cut.
    pub const fn text(title: &'static str) -> Column {
        Column { title, right: false, at_least: 0, cut_to: None }
    }

    /// A column of numbers.
    pub const fn number(title: &'static str) -> Column {
        Column { title, right: true, at_least: 0, cut_to: None }
    }

    /// The same column with a width it has at least.
    pub const fn at_least(self, columns: usize) -> Column {
        Column { at_least: columns, ..self }
    }

    /// The same column, which may be cut to this width.
    pub const fn cut_to(self, columns: usize) -> Column {
        Column { cut_to: Some(columns), ..self }
    }
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Text, cleaned.
    pub text: String,
    /// Meaning.
    pub tone: Tone,
}

impl Cell {
    /// A cell of a tone.
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Cell {
        Cell { text: text::clean(text.as_ref()).trim_end().to_owned(), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(text, Tone::Normal)
    }
}

/// A table: columns and rows of cells.
#[derive(Clone, Debug)]
pub struct Table {
    /// Columns, left to right.
    pub columns: &'static [Column],
    /// Rows; each has a cell for every column.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub fn new(columns: &'static [Column]) -> Table {
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }

    /// Widths of the columns, within `limit` terminal columns as far as cutting allows. Columns that may
    /// be cut are cut from the right.
    pub fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> =
            self.columns.iter().map(|column| text::width(column.title).max(column.at_least)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(text::width(&cell.text));
            }
        }
        let Some(limit) = limit else { return widths };
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let mut excess = total.saturating_sub(limit);
        for (column, width) in self.columns.iter().zip(widths.iter_mut()).rev() {
            if let Some(least) = column.cut_to {
                let cut = excess.min(width.saturating_sub(least));
                *width -= cut;
                excess -= cut;
            }
        }
        widths
    }

    /// The table as lines of text, cut to `limit` terminal columns where there is a limit.
    pub fn render(&self, limit: Option<usize>, look: Look) -> String {
        self.render_part(&mut Vec::new(), true, limit, look)
    }

    /// A part of a longer table, the first one with the titles. `widths` are those of the parts before, so that this
    /// one lines up with them.
    pub fn render_part(
        &self,
        widths: &mut Vec<usize>,
        first: bool,
        limit: Option<usize>,
        look: Look,
    ) -> String {
        let own = self.widths(limit);
        let before = std::mem::take(widths);
        *widths = own
            .iter()
            .enumerate()
            .map(|(index, own)| before.get(index).map_or(*own, |before| *own.max(before)))
            .collect();
        let titles: Vec<Cell> =
            self.columns.iter().map(|column| Cell::new(column.title, Tone::Heading)).collect();
        let mut out = String::new();
        for row in first.then_some(&titles).into_iter().chain(&self.rows) {
            self.render_row(row, widths, look, &mut out);
        }
        out
    }

    fn render_row(&self, row: &[Cell], widths: &[usize], look: Look, out: &mut String) {
        let mut blank = 0;
        for ((cell, column), width) in row.iter().zip(self.columns).zip(widths) {
            let cell_text = text::fit(&cell.text, *width, look.cut_mark());
            let padding = width.saturating_sub(text::width(&cell_text));
            if column.right {
                blank += padding;
            }
            // Blanks are held back until text follows: no line ends in blanks.
            if !cell_text.is_empty() {
                out.extend(std::iter::repeat_n(' ', blank));
                out.push_str(&look.paint(&cell_text, cell.tone));
                blank = 0;
            }
            if !column.right {
                blank += padding;
            }
            blank += GAP;
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] =
        &[Column::text("PORT"), Column::number("MTU"), Column::text("DESCRIPTION").cut_to(6)];

    fn table() -> Table {
        let mut table = Table::new(COLUMNS);
        table.push(["swp1".into(), "9216".into(), "server a, rack 7".into()]);
        table.push(["swp12".into(), "1500".into(), "".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        assert_eq!(
            table().render(None, Look::PLAIN),
            "PORT    MTU  DESCRIPTION\nswp1   9216  server a, rack 7\nswp12  1500\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_what_may_be_cut() {
        let lines = table().render(Some(24), Look::PLAIN);
        assert!(lines.contains("swp1   9216  server a, ~\n"), "{lines}");
        assert!(lines.lines().all(|line| line.len() <= 24), "{lines}");
    }

    #[test]
    fn what_may_not_be_cut_stays_whole() {
        let lines = table().render(Some(5), Look::PLAIN);
        assert!(lines.contains("swp1   9216  serve~\n"), "{lines}");
    }

    #[test]
    fn hostile_cells_stay_in_their_cell() {
        let mut table = Table::new(COLUMNS);
        table.push(["swp1".into(), "1".into(), "\x1b[2J\nswp2 faked".into()]);
        assert_eq!(table.render(None, Look::PLAIN), "PORT  MTU  DESCRIPTION\nswp1    1  [2J swp2 faked\n");
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let mut table = Table::new(COLUMNS);
        table.push([Cell::new("swp1", Tone::Bad), "1".into(), "x".into()]);
        let look = Look { colour: true, ..Look::PLAIN };
        assert!(table.render(None, look).contains("\x1b[1;31mswp1\x1b[0m    1  x"));
    }
}
