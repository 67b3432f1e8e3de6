//! Figures: rows and columns of pictures with titles.

use super::text::{LINE_HEIGHT, wrap};
use super::{Picture, TextStyle, WHITE, text_width};

/// The colour of titles.
const INK: [u8; 3] = [40; 3];

/// The colour of the thin frame around a picture, which shows how far white patches reach.
const FRAME: [u8; 3] = [205; 3];

/// White around the figure, in pixels.
const MARGIN: usize = 10;

/// Between a title and what it names, in pixels.
const TITLE_GAP: usize = 6;

/// Row titles break beyond this width, in pixels.
const MAX_ROW_TITLE: usize = 160;

/// A figure: for example a row per modality and the columns masked input, prediction and original.
///
/// Several samples lie side by side as groups of columns, see [`Grid::group`]. Figures up to about
/// 1000 pixels wide show in full size in a [`Report`](crate::Report).
#[derive(Debug, Clone, Default)]
pub struct Grid {
    rows: Vec<(String, Vec<Option<Picture>>)>,
    groups: Vec<Group>,
    footer: Vec<Picture>,
}

#[derive(Debug, Clone)]
struct Group {
    title: String,
    columns: Vec<String>,
}

/// The places of all elements, in pixels.
struct Layout {
    /// Left edge and width of every column.
    columns: Vec<(usize, usize)>,
    /// Upper edge and height of every row.
    rows: Vec<(usize, usize)>,
    /// Right edge of the row titles.
    row_titles: usize,
    width: usize,
    /// Lower edge of the last row.
    bottom: usize,
}

impl Grid {
    /// A figure with these column titles.
    #[must_use]
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self::default().group("", columns)
    }

    /// Adds a group of columns to the right, with a title above them and a wider gap to their left.
    #[must_use]
    pub fn group<S: Into<String>>(
        mut self,
        title: impl Into<String>,
        columns: impl IntoIterator<Item = S>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        self.groups.push(Group { title: title.into(), columns });
        self
    }

    /// Adds a row; `None` leaves a cell blank. Pictures beyond the columns are not shown.
    pub fn row<P: Into<Option<Picture>>>(
        &mut self,
        title: impl Into<String>,
        pictures: impl IntoIterator<Item = P>,
    ) -> &mut Self {
        self.rows.push((title.into(), pictures.into_iter().map(Into::into).collect()));
        self
    }

    /// Adds a picture below the rows, such as a legend.
    pub fn footer(&mut self, picture: Picture) -> &mut Self {
        self.footer.push(picture);
        self
    }

    /// The width of the rows' pictures with the gaps between them, in pixels: a good width for
    /// legends.
    #[must_use]
    pub fn content_width(&self) -> usize {
        self.layout().width.saturating_sub(self.left() + MARGIN)
    }

    /// Draws the figure. All cells of a column are as wide as the widest, all cells of a row as
    /// high as the highest picture.
    #[must_use]
    pub fn render(&self) -> Picture {
        let layout = self.layout();
        let footer = Picture::stack(&self.footer, TITLE_GAP);
        let below = if self.footer.is_empty() { 0 } else { footer.height + 2 * TITLE_GAP };
        let width = layout.width.max(self.left() + footer.width + MARGIN);
        let mut picture = Picture::filled((layout.bottom + below + MARGIN, width), WHITE);
        self.draw_titles(&mut picture, &layout);
        for ((_, cells), &(y, height)) in self.rows.iter().zip(&layout.rows) {
            for (cell, &(x, width)) in cells.iter().zip(&layout.columns) {
                if let Some(cell) = cell {
                    let (left, top) = ((width - cell.width) / 2, (height - cell.height) / 2);
                    draw_framed(&mut picture, cell, (x + left, y + top));
                }
            }
        }
        picture.draw(&footer, self.left(), layout.bottom + 2 * TITLE_GAP);
        picture
    }

    fn draw_titles(&self, picture: &mut Picture, layout: &Layout) {
        let mut columns = layout.columns.iter();
        for group in &self.groups {
            let columns: Vec<_> = columns.by_ref().take(group.columns.len()).collect();
            if let (Some(first), Some(last)) = (columns.first(), columns.last()) {
                let span = (first.0, last.0 + last.1 - first.0);
                let lines = [group.title.clone()];
                draw_centred(picture, &lines, span, MARGIN, TextStyle::Bold);
            }
            for (title, &&span) in group.columns.iter().zip(&columns) {
                let lines = wrap(title, span.1, TextStyle::Regular);
                let height = lines.len() * LINE_HEIGHT;
                let bottom = layout.rows.first().map_or(layout.bottom, |row| row.0);
                let y = bottom.saturating_sub(TITLE_GAP + height);
                draw_centred(picture, &lines, span, y, TextStyle::Regular);
            }
        }
        for ((title, _), &(y, height)) in self.rows.iter().zip(&layout.rows) {
            let lines = wrap(title, MAX_ROW_TITLE, TextStyle::Regular);
            let text_height = lines.len() * LINE_HEIGHT;
            let mut y = y + height.saturating_sub(text_height) / 2;
            for line in lines {
                let x = layout.row_titles.saturating_sub(text_width(&line, TextStyle::Regular));
                picture.draw_text((x, y), &line, TextStyle::Regular, INK);
                y += LINE_HEIGHT;
            }
        }
    }

    /// The left edge of the first column.
    fn left(&self) -> usize {
        let titles = self.row_title_width();
        MARGIN + titles + if titles > 0 { TITLE_GAP } else { 0 }
    }

    fn row_title_width(&self) -> usize {
        let lines = self.rows.iter().flat_map(|(t, _)| wrap(t, MAX_ROW_TITLE, TextStyle::Regular));
        lines.map(|line| text_width(&line, TextStyle::Regular)).max().unwrap_or(0)
    }

    fn layout(&self) -> Layout {
        let columns = self.place_columns();
        let right = columns.last().map_or(self.left(), |&(x, width)| x + width);
        let (rows, bottom) = self.place_rows(MARGIN + self.header_height(&columns));
        let row_titles = MARGIN + self.row_title_width();
        Layout { columns, rows, row_titles, width: right + MARGIN, bottom }
    }

    fn place_columns(&self) -> Vec<(usize, usize)> {
        let gap = self.gap();
        let mut columns: Vec<(usize, usize)> = Vec::new();
        let mut x = self.left();
        for (index, group) in self.groups.iter().filter(|g| !g.columns.is_empty()).enumerate() {
            x += if index > 0 { 3 * gap } else { 0 };
            for title in &group.columns {
                let width = self.column_width(columns.len(), title);
                columns.push((x, width));
                x += width + gap;
            }
        }
        columns
    }

    /// The widest picture of a column, and no word of its title is wider.
    fn column_width(&self, column: usize, title: &str) -> usize {
        let pictures = self.rows.iter().filter_map(|(_, cells)| cells.get(column)?.as_ref());
        let words = title.split_whitespace().map(|word| text_width(word, TextStyle::Regular));
        pictures.map(Picture::width).chain(words).max().unwrap_or(0)
    }

    fn place_rows(&self, top: usize) -> (Vec<(usize, usize)>, usize) {
        let mut y = top;
        let mut rows = Vec::new();
        for (_, cells) in &self.rows {
            y += if rows.is_empty() { 0 } else { self.gap() };
            let height = cells.iter().flatten().map(Picture::height).max().unwrap_or(0);
            rows.push((y, height));
            y += height;
        }
        (rows, y)
    }

    /// Group titles and column titles together.
    fn header_height(&self, columns: &[(usize, usize)]) -> usize {
        let titles = self.groups.iter().flat_map(|group| &group.columns);
        let lines = titles
            .zip(columns)
            .filter(|(title, _)| !title.is_empty())
            .map(|(title, &(_, width))| wrap(title, width, TextStyle::Regular).len())
            .max()
            .unwrap_or(0);
        let groups = usize::from(self.groups.iter().any(|group| !group.title.is_empty()));
        let gaps = usize::from(lines > 0) + groups;
        (lines + groups) * LINE_HEIGHT + gaps * TITLE_GAP
    }

    /// Between cells: a little, but visible, in proportion to the pictures.
    fn gap(&self) -> usize {
        let cells = self.rows.iter().flat_map(|(_, cells)| cells.iter().flatten());
        (cells.map(Picture::width).max().unwrap_or(0) / 40).clamp(4, 10)
    }
}

/// The frame lies outside of the picture, in the gap.
fn draw_framed(picture: &mut Picture, cell: &Picture, (x, y): (usize, usize)) {
    picture.fill_rectangle((x - 1, y - 1), (cell.height + 2, cell.width + 2), FRAME);
    picture.draw(cell, x, y);
}

fn draw_centred(
    picture: &mut Picture,
    lines: &[String],
    (x, width): (usize, usize),
    mut y: usize,
    style: TextStyle,
) {
    for line in lines {
        let indent = width.saturating_sub(text_width(line, style)) / 2;
        picture.draw_text((x + indent, y), line, style, INK);
        y += LINE_HEIGHT;
    }
}

#[cfg(test)]
mod tests {
    use super::super::BLACK;
    use super::*;

    #[test]
    fn cells_lie_in_their_rows_and_columns() {
        let mut grid = Grid::new(["", ""]);
        grid.row("", [Picture::filled((30, 40), BLACK), Picture::filled((30, 40), [9; 3])]);
        grid.row("", [Some(Picture::filled((30, 40), [7; 3])), None]);
        let figure = grid.render();
        let gap = 4;
        assert_eq!(figure.size(), (2 * MARGIN + 60 + gap, 2 * MARGIN + 80 + gap));
        assert_eq!(figure.pixel(MARGIN, MARGIN), BLACK);
        assert_eq!(figure.pixel(MARGIN + 39, MARGIN + 29), BLACK);
        assert_eq!(figure.pixel(MARGIN + 40, MARGIN), FRAME);
        assert_eq!(figure.pixel(MARGIN + 41, MARGIN), WHITE);
        assert_eq!(figure.pixel(MARGIN + 44, MARGIN), [9; 3]);
        assert_eq!(figure.pixel(MARGIN, MARGIN + 34), [7; 3]);
        assert_eq!(figure.pixel(MARGIN + 44, MARGIN + 34), WHITE);
        assert_eq!(grid.content_width(), 84);
    }

    #[test]
    fn odd_figures_do_not_fail() {
        assert!(Grid::default().render().width() > 0);
        let mut grid = Grid::new(Vec::<String>::new()).group("sample 1", ["prediction"]);
        grid.row("depth", Vec::<Picture>::new());
        grid.row("rgb", vec![Picture::filled((2, 2), BLACK); 3]);
        grid.footer(Picture::filled((5, 400), BLACK));
        assert!(grid.render().width() > 400);
    }
}
