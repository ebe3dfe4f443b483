// SPDX-License-Identifier: MIT OR Apache-2.0

//! The terminal, or the file, the demonstration is shown on.

use std::io::{Result, Write};

use super::Shown;

/// Column in which the outcome of a step is written, that of the set-up's steps.
const OUTCOME: usize = 58;

/// Where things are shown.
pub struct Screen<W> {
    to: W,
    /// Width of the terminal; none when it is no terminal, where nothing can be drawn over.
    columns: Option<usize>,
    /// The table that was shown last, when nothing has been since.
    table: Option<String>,
}

impl<W: Write> Screen<W> {
    /// A screen of this many columns, or a file.
    pub fn new(to: W, columns: Option<usize>) -> Self {
        Self {
            to,
            columns,
            table: None,
        }
    }

    /// Shows something.
    pub fn show(&mut self, shown: Shown) -> Result<()> {
        match shown {
            Shown::Begins(what) => {
                self.table = None;
                write!(self.to, "  {what:<OUTCOME$} ")?;
            }
            Shown::Over(outcome) => writeln!(self.to, "{outcome}")?,
            Shown::Text(text) => {
                self.table = None;
                writeln!(self.to, "{text}")?;
            }
            Shown::Table(table) => self.table(table)?,
        }
        self.to.flush()
    }

    /// Draws over the table before on a terminal that holds it without breaking lines. Elsewhere
    /// the new rows follow the old ones, below one header as long as the columns are the same, if
    /// a little wider.
    fn table(&mut self, table: String) -> Result<()> {
        match &self.table {
            Some(before) if self.holds(before) && self.holds(&table) => {
                // Up, and erase all below (ECMA-48: CUU, ED).
                write!(self.to, "\x1b[{}A\x1b[J{table}", before.lines().count())?;
            }
            Some(before) if columns(before).eq(columns(&table)) => {
                for row in table.lines().skip(1) {
                    writeln!(self.to, "{row}")?;
                }
            }
            _ => write!(self.to, "{table}")?,
        }
        self.table = Some(table);
        Ok(())
    }

    fn holds(&self, table: &str) -> bool {
        self.columns
            .is_some_and(|columns| table.lines().all(|line| line.chars().count() < columns))
    }
}

/// The names of a table's columns.
fn columns(table: &str) -> impl Iterator<Item = &str> {
    table.lines().next().unwrap_or_default().split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "ID  PACKETS\n 1       50\n";
    const SECOND: &str = "ID  PACKETS\n 1      100\n";
    const WIDER: &str = "ID    PACKETS\n 1  1,000,000\n";
    const NONE: &str = "no sessions\n";

    fn shown(columns: Option<usize>, what: &[Shown]) -> String {
        let mut to = Vec::new();
        let mut screen = Screen::new(&mut to, columns);
        for one in what {
            screen.show(one.clone()).unwrap();
        }
        String::from_utf8(to).unwrap()
    }

    fn table(text: &str) -> Shown {
        Shown::Table(text.to_owned())
    }

    #[test]
    fn a_terminal_draws_over_the_table_before() {
        let seen = shown(Some(80), &[table(FIRST), table(SECOND)]);
        assert_eq!(seen, format!("{FIRST}\x1b[2A\x1b[J{SECOND}"));
    }

    #[test]
    fn a_file_gets_one_header_and_all_rows() {
        let seen = shown(None, &[table(FIRST), table(SECOND)]);
        assert_eq!(seen, "ID  PACKETS\n 1       50\n 1      100\n");
    }

    #[test]
    fn a_wider_column_needs_no_other_header() {
        let seen = shown(None, &[table(FIRST), table(WIDER)]);
        assert_eq!(seen, format!("{FIRST} 1  1,000,000\n"));
    }

    #[test]
    fn another_header_is_written() {
        let seen = shown(None, &[table(FIRST), table(NONE), table(FIRST)]);
        assert_eq!(seen, format!("{FIRST}{NONE}{FIRST}"));
    }

    #[test]
    fn a_terminal_that_breaks_the_lines_is_not_drawn_over() {
        let seen = shown(Some(11), &[table(FIRST), table(SECOND)]);
        assert_eq!(seen, "ID  PACKETS\n 1       50\n 1      100\n");
    }

    #[test]
    fn a_table_below_other_lines_is_drawn_in_full() {
        let text = Shown::Text("and then".to_owned());
        let seen = shown(Some(80), &[table(FIRST), text, table(SECOND)]);
        assert_eq!(seen, format!("{FIRST}and then\n{SECOND}"));
    }
}
