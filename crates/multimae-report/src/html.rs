//! Reports: one HTML file that opens without a network.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::Result;
use crate::chart::Svg;
use crate::picture::Picture;
use multimae_io::atomic::write_atomically;

/// The style of the page.
const STYLE: &str = include_str!("report.css");

/// The browser is to load nothing from elsewhere and to run nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Reports with at least as many sections begin with links to them.
const SECTIONS_FOR_LINKS: usize = 3;

/// A report that is being written, from top to bottom. All text is escaped.
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    sections: Vec<String>,
    body: Vec<Markup>,
}

/// The importance of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Numbers may not mean what they seem to.
    Warning,
    /// Something failed.
    Error,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), sections: Vec::new(), body: Vec::new() }
    }

    /// Begins a section.
    pub fn section(&mut self, title: impl Into<String>) -> &mut Self {
        let title = title.into();
        let id = section_id(self.sections.len());
        self.sections.push(title.clone());
        self.push(html! { h2 id=(id) { (title) } })
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        self.push(html! { p { (text) } })
    }

    /// Adds a table. Columns of numbers are aligned right.
    pub fn table<H: AsRef<str>, C: AsRef<str>>(
        &mut self,
        headers: &[H],
        rows: &[Vec<C>],
    ) -> &mut Self {
        let numeric: Vec<bool> = (0..headers.len()).map(|c| is_numeric(rows, c)).collect();
        let class = |column: usize| numeric.get(column).copied().unwrap_or(false).then_some("n");
        self.push(html! {
            div.table { table {
                thead { tr {
                    @for (column, header) in headers.iter().enumerate() {
                        th class=[class(column)] { (header.as_ref()) }
                    }
                } }
                tbody { @for row in rows { tr {
                    @for (column, cell) in row.iter().enumerate() {
                        td class=[class(column)] { (cell.as_ref()) }
                    }
                } } }
            } }
        })
    }

    /// Adds a list of names and their values.
    pub fn definitions<K: AsRef<str>, V: AsRef<str>>(&mut self, entries: &[(K, V)]) -> &mut Self {
        self.push(html! {
            dl { @for (name, value) in entries {
                dt { (name.as_ref()) }
                dd { (value.as_ref()) }
            } }
        })
    }

    /// Adds a chart.
    pub fn chart(&mut self, chart: &Svg) -> &mut Self {
        self.charts(std::slice::from_ref(chart))
    }

    /// Adds charts, two side by side where the page is wide enough.
    pub fn charts(&mut self, charts: &[Svg]) -> &mut Self {
        self.push(html! {
            div.charts {
                @for chart in charts { figure.chart { (PreEscaped(chart.as_str())) } }
            }
        })
    }

    /// Adds a picture with a caption.
    ///
    /// # Errors
    /// If the picture cannot be encoded as PNG.
    pub fn picture(&mut self, picture: &Picture, caption: &str) -> Result<&mut Self> {
        let source = format!("data:image/png;base64,{}", STANDARD.encode(picture.png()?));
        Ok(self.push(html! {
            figure {
                // A click switches between the page's width and full size, without a script.
                label {
                    input type="checkbox" aria-label="full size";
                    img src=(source) width=(picture.width()) height=(picture.height())
                        alt=(caption);
                }
                @if !caption.is_empty() { figcaption { (caption) } }
            }
        }))
    }

    /// Adds a notice.
    pub fn notice(&mut self, level: Level, text: &str) -> &mut Self {
        let (class, word) = match level {
            Level::Info => ("notice info", "Note"),
            Level::Warning => ("notice warning", "Warning"),
            Level::Error => ("notice error", "Error"),
        };
        self.push(html! { p class=(class) { strong { (word) ": " } (text) } })
    }

    /// Adds text whose line breaks and spaces count, such as a recipe.
    pub fn code(&mut self, text: &str) -> &mut Self {
        self.push(html! { pre { code { (text) } } })
    }

    /// The HTML page.
    #[must_use]
    pub fn render(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body { main {
                    h1 { (self.title) }
                    @if self.sections.len() >= SECTIONS_FOR_LINKS {
                        nav { @for (index, section) in self.sections.iter().enumerate() {
                            a href={ "#" (section_id(index)) } { (section) }
                        } }
                    }
                    @for block in &self.body { (block) "\n" }
                } }
            }
        };
        page.into_string()
    }

    /// Writes the page, atomically.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(write_atomically(path, self.render().as_bytes())?)
    }

    fn push(&mut self, block: Markup) -> &mut Self {
        self.body.push(block);
        self
    }
}

fn section_id(index: usize) -> String {
    format!("section-{}", index + 1)
}

/// Whether a column holds numbers, and at least one; gaps are allowed.
pub(crate) fn is_numeric<C: AsRef<str>>(rows: &[Vec<C>], column: usize) -> bool {
    let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.as_ref().trim());
    let mut filled = cells.filter(|cell| !matches!(*cell, "" | "-" | "–" | "—")).peekable();
    filled.peek().is_some() && filled.all(starts_with_number)
}

/// A number, perhaps with a unit or a spread after it: `12`, `0.31 ± 0.02`, `85.1 %`, `3.1M`.
fn starts_with_number(cell: &str) -> bool {
    let first = cell.split_whitespace().next().unwrap_or("");
    let number = first.trim_end_matches(|c: char| c.is_alphabetic() || matches!(c, '%' | '×'));
    let plain: String = number.chars().filter(|c| *c != ',').collect();
    plain.replace('−', "-").parse::<f64>().is_ok() || first.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::LineChart;

    #[test]
    fn everything_is_escaped() {
        let evil = "<script>alert('x')</script> & \"q\"";
        let mut report = Report::new(evil);
        report
            .section(evil)
            .section(evil)
            .section(evil)
            .paragraph(evil)
            .table(&[evil], &[vec![evil]])
            .definitions(&[(evil, evil)])
            .notice(Level::Error, evil)
            .code(evil)
            .chart(&LineChart::new(evil, evil, evil).svg())
            .picture(&Picture::filled((1, 1), [0; 3]), evil)
            .unwrap();
        let page = report.render();
        assert!(!page.contains("<script") && !page.contains("\"q\""));
        assert!(page.matches("&lt;script&gt;").count() >= 12);
    }

    #[test]
    fn numbers_are_aligned_right() {
        let rows =
            [vec!["prompts", "0.31 ± 0.02", "1,204", "–"], vec!["12-layer", "1e-3", "–", ""]];
        assert_eq!(
            [0, 1, 2, 3].map(|column| is_numeric(&rows, column)),
            [false, true, true, false]
        );
        assert!(["85.1 %", "85%", "−3", "3.1M", "NaN", "2.5×"].into_iter().all(starts_with_number));
        assert!(!["adam", "", "-", "v2"].into_iter().any(starts_with_number));
    }

    #[test]
    fn pictures_are_inside_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        let mut report = Report::new("run");
        report.picture(&Picture::filled((2, 3), [1; 3]), "").unwrap();
        report.write(&path).unwrap();
        let page = fs_err::read_to_string(&path).unwrap();
        assert!(page.contains("src=\"data:image/png;base64,iVBOR"));
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert!(report.picture(&Picture::filled((0, 0), [1; 3]), "").is_err());
    }
}
