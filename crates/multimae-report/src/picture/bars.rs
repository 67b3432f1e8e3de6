//! Bars: one value per class, from 0 to 1.

use super::text::LINE_HEIGHT;
use super::{BLACK, Picture, TextStyle, WHITE, text_width};

/// The colour of text.
const INK: [u8; 3] = [40; 3];
/// The colour behind a bar: how long it could be.
const TRACK: [u8; 3] = [238; 3];
/// Between things that belong together, in pixels.
const GAP: usize = 8;
/// Height of a bar, in pixels.
const THICKNESS: usize = 12;

const TEXT: TextStyle = TextStyle::Regular;

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// The text before it.
    pub name: String,
    /// Its colour.
    pub color: [u8; 3],
    /// Its length from 0 to 1; none if there is no value.
    pub value: Option<f64>,
    /// The text behind it.
    pub note: String,
}

/// Bars one below the other, about `width` pixels wide with their text.
#[must_use]
pub fn bars(bars: &[Bar], width: usize) -> Picture {
    let widest = |text: fn(&Bar) -> &String| {
        bars.iter().map(|bar| text_width(text(bar), TEXT)).max().unwrap_or(0)
    };
    let (names, notes) = (widest(|bar| &bar.name), widest(|bar| &bar.note));
    let length = width.saturating_sub(names + notes + 2 * GAP).max(80);
    let width = names + notes + length + 2 * GAP;
    let mut picture = Picture::filled((bars.len() * LINE_HEIGHT, width), WHITE);
    for (index, bar) in bars.iter().enumerate() {
        let top = index * LINE_HEIGHT;
        let indent = names - text_width(&bar.name, TEXT);
        picture.draw_text((indent, top), &bar.name, TEXT, INK);
        draw_bar(&mut picture, bar, (names + GAP, top + (LINE_HEIGHT - THICKNESS) / 2), length);
        picture.draw_text((names + length + 2 * GAP, top), &bar.note, TEXT, INK);
    }
    picture
}

fn draw_bar(picture: &mut Picture, bar: &Bar, (x, y): (usize, usize), length: usize) {
    picture.fill_rectangle((x, y), (THICKNESS, length), TRACK);
    let Some(value) = bar.value else { return };
    let filled = (value.clamp(0.0, 1.0) * length as f64).round() as usize;
    if filled > 0 {
        // A thin border, so that light colours show too.
        picture.fill_rectangle((x, y), (THICKNESS, filled), BLACK);
        let inside = (THICKNESS - 2, filled.saturating_sub(2));
        picture.fill_rectangle((x + 1, y + 1), inside, bar.color);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar = |value| Bar { name: String::new(), color: [9; 3], value, note: String::new() };
        let picture = bars(&[bar(Some(0.5)), bar(None), bar(Some(7.0))], 216);
        assert_eq!(picture.size(), (3 * LINE_HEIGHT, 216));
        let at = |x, row| picture.pixel(x, row * LINE_HEIGHT + LINE_HEIGHT / 2);
        assert_eq!([at(GAP + 50, 0), at(GAP + 99, 0), at(GAP + 101, 0)], [[9; 3], BLACK, TRACK]);
        assert_eq!(at(GAP + 1, 1), TRACK);
        assert_eq!(at(GAP + 198, 2), [9; 3]);
        assert_eq!(bars(&[], 10).height(), 0);
    }
}
