//! Tables as comma-separated values, with a line of names at the top.

/// A table whose columns have names.
#[derive(Debug, Default)]
pub(crate) struct Table {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// A row of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    names: &'a [String],
    cells: &'a [String],
    /// From 1, the line of names included.
    pub(crate) line: usize,
}

impl Table {
    /// Reads a table. Lines may end in LF, CR LF or CR alone; cells may be in quotes.
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty());
        let mut rows = lines.map(cells);
        Self { names: rows.next().unwrap_or_default(), rows: rows.collect() }
    }

    /// The first of some columns that the table lacks.
    pub(crate) fn lacks<'a>(&self, columns: &[&'a str]) -> Option<&'a str> {
        columns.iter().copied().find(|column| !self.names.iter().any(|name| name == column))
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let row = |(at, cells)| Row { names: &self.names, cells, line: at + 2 };
        self.rows.iter().map(Vec::as_slice).enumerate().map(row)
    }
}

impl<'a> Row<'a> {
    /// The cell of a column; empty if the row is short or there is no such column.
    pub(crate) fn get(self, column: &str) -> &'a str {
        let at = self.names.iter().position(|name| name == column);
        at.and_then(|at| self.cells.get(at)).map_or("", String::as_str)
    }

    pub(crate) fn first(self) -> Option<&'a str> {
        self.cells.first().map(String::as_str)
    }
}

/// The cells of a line. A quote inside of quotes is doubled.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(cell) = cells.last_mut() else { break };
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cell.push(other),
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::table_row;

    #[test]
    fn written_rows_are_read() {
        let row = ["1", "a,b", "say \"x\"", ""];
        let text = format!("id,b,c,d\n{}", table_row(&row));
        let table = Table::parse(&text);
        let read = table.rows().next().unwrap();
        assert_eq!(["id", "b", "c", "d"].map(|name| read.get(name)), row);
        assert_eq!((read.first(), read.get("e"), read.line), (Some("1"), "", 2));
        assert_eq!(table.lacks(&["id", "e"]), Some("e"));
    }

    #[test]
    fn bare_carriage_returns_end_lines() {
        let table = Table::parse("\u{feff}id,train\rhanson,1\r\nmerom,0\r");
        let ids: Vec<&str> = table.rows().map(|row| row.get("id")).collect();
        assert_eq!(ids, ["hanson", "merom"]);
        assert!(Table::parse("").rows().next().is_none());
    }
}
