//! Tables of text that read well on a terminal and as Markdown.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, ContentArrangement};

use crate::html::is_numeric;

/// Rows under a header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new<S: Into<String>>(headers: impl IntoIterator<Item = S>) -> Self {
        Self { headers: headers.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row of as many cells as there are headers.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    /// The titles of the columns.
    #[must_use]
    pub fn headers(&self) -> &[String] {
        &self.headers
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// As Markdown with its columns aligned, those of numbers to the right. Ends with a line break.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.headers.iter().map(|text| escaped(text)));
        for row in &self.rows {
            table.add_row(row.iter().map(|text| escaped(text)));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            if is_numeric(&self.rows, index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{}\n", table.trim_fmt())
    }
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_are_right() {
        let mut table = Table::new(["class", "IoU %"]);
        table.row(["floor mat", "7.25"]).row(["a|b", "100.00"]);
        let lines: Vec<String> = table.markdown().lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "| class     |  IoU % |",
                "|-----------|--------|",
                "| floor mat |   7.25 |",
                "| a\\|b      | 100.00 |",
            ]
        );
    }
}
