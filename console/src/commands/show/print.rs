//! Printing a table while it is read: the first rows at once, and in bounded memory.

use serde::Serialize;

use crate::cli::Format;
use crate::client::Error;
use crate::commands::{Context, print_now};
use crate::outcome::Outcome;
use crate::table::Table;

/// Rows that are laid out together: what a person sees of a long table at once lines up.
const PORTION_ROWS: usize = 500;
/// Rows after which the first are printed.
const FIRST_ROWS: usize = 20;

/// Lays rows out as they come. Where standard output is the reader's, they are printed; the screens get all of them at
/// the end.
pub struct Printer<'a, T, L> {
    context: &'a Context,
    format: Format,
    layout: L,
    waiting: Vec<T>,
    widths: Vec<usize>,
    /// Rows that were laid out.
    rows: u64,
    text: String,
}

impl<'a, T: Serialize, L: Fn(&[T]) -> Table> Printer<'a, T, L> {
    /// A printer that has printed nothing.
    pub fn new(layout: L, format: Format, context: &'a Context) -> Printer<'a, T, L> {
        Printer {
            context,
            format,
            layout,
            waiting: Vec::new(),
            widths: Vec::new(),
            rows: 0,
            text: String::new(),
        }
    }

    /// Takes a row.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn push(&mut self, row: T) -> Result<(), Error> {
        self.waiting.push(row);
        let enough = if self.rows == 0 { FIRST_ROWS } else { PORTION_ROWS };
        if self.context.prints() && self.waiting.len() >= enough { self.print() } else { Ok(()) }
    }

    /// The rest, and the end.
    ///
    /// # Errors
    /// As [`Printer::push`].
    pub fn finish(mut self) -> Result<Outcome, Error> {
        self.lay_out()?;
        if self.format.json {
            self.text.push_str(if self.rows == 0 { "[]\n" } else { "\n]\n" });
        }
        Ok(Outcome::done(self.text))
    }

    fn print(&mut self) -> Result<(), Error> {
        self.lay_out()?;
        let printed = print_now(&self.text);
        self.text.clear();
        printed
    }

    fn lay_out(&mut self) -> Result<(), Error> {
        let rows = std::mem::take(&mut self.waiting);
        let first = self.rows == 0;
        self.rows += rows.len() as u64;
        if !self.format.json {
            let table = (self.layout)(&rows);
            self.text.push_str(&table.render_part(
                &mut self.widths,
                first,
                self.context.width,
                self.context.look,
            ));
            return Ok(());
        }
        for (index, row) in rows.iter().enumerate() {
            self.text.push_str(if first && index == 0 { "[\n" } else { ",\n" });
            let row = serde_json::to_string_pretty(row).map_err(crate::commands::no_json)?;
            let mut lines = row.lines();
            if let Some(line) = lines.next() {
                self.text.push_str(&format!("  {}", crate::commands::escape(line)));
            }
            lines.for_each(|line| self.text.push_str(&format!("\n  {}", crate::commands::escape(line))));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Sources;
    use crate::look::Look;
    use crate::tables::{fdb, tests};

    /// A context of the screens, which print nothing by themselves.
    const SCREENS: Context =
        Context { width: None, look: Look::PLAIN, error_look: Look::PLAIN, sources: Sources::RegularFiles };

    fn printed(json: bool, times: usize) -> String {
        let mut printer = Printer::new(fdb::table, Format { json }, &SCREENS);
        for _ in 0..times {
            for row in tests::fdb() {
                printer.push(row).unwrap();
            }
            printer.lay_out().unwrap();
        }
        printer.finish().unwrap().out
    }

    #[test]
    fn table_in_portions_reads_as_one_table() {
        let once = printed(false, 1);
        assert_eq!(once, fdb::table(&tests::fdb()).render(None, Look::PLAIN));
        let rows: String = once.split_inclusive('\n').skip(1).collect();
        assert_eq!(printed(false, 3), format!("{once}{rows}{rows}"));
    }

    #[test]
    fn table_in_portions_is_one_json_array() {
        let whole: Vec<_> = tests::fdb().into_iter().chain(tests::fdb()).collect();
        assert_eq!(printed(true, 2), serde_json::to_string_pretty(&whole).unwrap() + "\n");
        assert_eq!(printed(true, 0), "[]\n");
    }
}
