//! Legends: what the colours of a figure mean.

use std::collections::BTreeSet;

use super::text::LINE_HEIGHT;
use super::{BLACK, Picture, TextStyle, WHITE, text_width};
use crate::colormap::{Colormap, ValueRange};
use crate::palette::Palette;

/// The colour of text.
const INK: [u8; 3] = [40; 3];

/// The side of a class's colour square, in pixels.
const SQUARE: usize = 14;

/// Between things that belong together, in pixels.
const GAP: usize = 6;

const TEXT: TextStyle = TextStyle::Regular;

/// The colours and names of the classes that occur in `labels`, in as many rows as `width` pixels
/// need.
#[must_use]
pub fn palette_legend<'a>(
    palette: &Palette,
    labels: impl IntoIterator<Item = &'a i64>,
    width: usize,
) -> Picture {
    let occurring: BTreeSet<i64> = labels.into_iter().copied().collect();
    // Labels beyond the palette are all void, however many they are.
    let entries: BTreeSet<(i64, &str, [u8; 3])> = occurring
        .into_iter()
        .map(|label| (label, palette.name(label), palette.color(label)))
        .map(|(label, name, color)| (if name == "void" { -1 } else { label }, name, color))
        .collect();
    let widest = entries.iter().map(|(_, name, _)| text_width(name, TEXT)).max().unwrap_or(0);
    let cell = SQUARE + GAP + widest + 3 * GAP;
    let columns = (width / cell).clamp(1, entries.len().max(1));
    let rows = entries.len().div_ceil(columns);
    let mut legend = Picture::filled((rows * LINE_HEIGHT, width.max(cell)), WHITE);
    for (index, (_, name, color)) in entries.into_iter().enumerate() {
        let (x, y) = (index % columns * cell, index / columns * LINE_HEIGHT);
        draw_square(&mut legend, (x, y + (LINE_HEIGHT - SQUARE) / 2), color);
        legend.draw_text((x + SQUARE + GAP, y), name, TEXT, INK);
    }
    legend
}

/// A colour map with the values at its ends, such as `depth 0.7 ▒▒▒ 9.9 m`; `width` pixels wide or
/// as wide as its text needs.
#[must_use]
pub fn color_bar(
    colormap: Colormap,
    range: ValueRange,
    label: &str,
    unit: &str,
    width: usize,
) -> Picture {
    let before = [label.to_owned(), number(range.min)].join(" ");
    let after = [number(range.max), unit.to_owned()].join(" ");
    let (before, after) = (before.trim(), after.trim());
    let text = text_width(before, TEXT) + text_width(after, TEXT) + 2 * GAP;
    let bar = width.saturating_sub(text).clamp(80, 260);
    let mut picture = Picture::filled((LINE_HEIGHT, width.max(text + bar)), WHITE);
    picture.draw_text((0, 0), before, TEXT, INK);
    let left = text_width(before, TEXT) + GAP;
    let top = (LINE_HEIGHT - SQUARE) / 2;
    for x in 0..bar {
        let color = colormap.color(x as f64 / (bar - 1) as f64);
        picture.fill_rectangle((left + x, top), (SQUARE, 1), color);
    }
    picture.draw_text((left + bar + GAP, 0), after, TEXT, INK);
    picture
}

/// Three digits that count.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// A square with a thin border, so that white classes show too.
fn draw_square(picture: &mut Picture, (x, y): (usize, usize), color: [u8; 3]) {
    picture.fill_rectangle((x, y), (SQUARE, SQUARE), BLACK);
    picture.fill_rectangle((x + 1, y + 1), (SQUARE - 2, SQUARE - 2), color);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_classes_that_occur_are_shown() {
        let palette = Palette::nyu40();
        let one = palette_legend(&palette, &[3, 3, 3], 400);
        assert_eq!(one.pixel(2, 4), palette.color(3));
        assert_eq!(one.height(), LINE_HEIGHT);
        let void = palette_legend(&palette, &[0, 255, -1, 77], 400);
        assert_eq!(void.height(), LINE_HEIGHT);
        let narrow = palette_legend(&palette, &[1, 2, 255], 10);
        assert_eq!(narrow.height(), 3 * LINE_HEIGHT);
        assert_eq!(palette_legend(&palette, &[], 10).height(), 0);
    }

    #[test]
    fn bars_are_as_wide_as_asked_for() {
        let range = ValueRange { min: 0.7, max: 9.9 };
        assert_eq!(color_bar(Colormap::Viridis, range, "depth", "m", 500).width(), 500);
        assert!(color_bar(Colormap::Viridis, range, "", "", 1).width() > 80);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.713, 9.98, 12.34, 9976.2].map(number),
            ["0", "0.71", "9.98", "12.3", "9976"]
        );
    }
}
