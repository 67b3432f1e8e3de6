//! Text in pictures, in Noto Sans Mono.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::Picture;

/// Height of the letters' boxes.
const HEIGHT: RasterHeight = RasterHeight::Size16;

/// Height of a line of text in pixels.
pub const LINE_HEIGHT: usize = 18;

/// The style of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TextStyle {
    /// For nearly everything.
    #[default]
    Regular,
    /// For headings.
    Bold,
}

impl TextStyle {
    fn weight(self) -> FontWeight {
        match self {
            Self::Regular => FontWeight::Regular,
            Self::Bold => FontWeight::Bold,
        }
    }
}

/// Width of a line of text in pixels.
#[must_use]
pub fn text_width(text: &str, style: TextStyle) -> usize {
    text.chars().count() * get_raster_width(style.weight(), HEIGHT)
}

impl Picture {
    /// Draws a line of text whose upper left corner is `(x, y)`; what lies outside is cut.
    pub fn draw_text(
        &mut self,
        (x, y): (usize, usize),
        text: &str,
        style: TextStyle,
        color: [u8; 3],
    ) {
        let weight = style.weight();
        let advance = get_raster_width(weight, HEIGHT);
        for (index, character) in text.chars().enumerate() {
            let glyph = get_raster(printable(character), weight, HEIGHT);
            for (row, pixels) in glyph.iter().flat_map(|g| g.rows().enumerate()) {
                for (column, &ink) in pixels.iter().enumerate() {
                    self.ink((x + index * advance + column, y + row), color, ink);
                }
            }
        }
    }

    /// Mixes a colour into a pixel, as much as `ink` of 255.
    fn ink(&mut self, (x, y): (usize, usize), color: [u8; 3], ink: u8) {
        let mix = |under: u8, over: u8| {
            let (under, over, ink) = (u32::from(under), u32::from(over), u32::from(ink));
            ((under * (255 - ink) + over * ink + 127) / 255) as u8
        };
        let [r, g, b] = self.pixel(x, y);
        self.set_pixel(x, y, [mix(r, color[0]), mix(g, color[1]), mix(b, color[2])]);
    }
}

/// The character, or what stands for it where the font (Latin-1) lacks it.
fn printable(character: char) -> char {
    match character {
        '–' | '—' | '−' => '-',
        '‘' | '’' => '\'',
        '“' | '”' => '"',
        '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{ff}' => character,
        _ => '?',
    }
}

/// Breaks text into lines of at most `width` pixels, between words where possible. `\n` breaks too.
pub(super) fn wrap(text: &str, width: usize, style: TextStyle) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if !line.is_empty() && text_width(&longer, style) > width {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            } else {
                line = longer;
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{BLACK, WHITE};
    use super::*;

    #[test]
    fn text_stays_within_its_box() {
        let style = TextStyle::Regular;
        let (height, width) = (LINE_HEIGHT, text_width("Äg|", style));
        let mut picture = Picture::filled((height + 20, width + 20), WHITE);
        picture.draw_text((10, 10), "Äg|", style, BLACK);
        let inked = |x: usize, y: usize| picture.pixel(x, y) != WHITE;
        let mut any = false;
        for y in 0..height + 20 {
            for x in 0..width + 20 {
                let inside = (10..10 + width).contains(&x) && (10..10 + height).contains(&y);
                any |= inked(x, y);
                assert!(inside || !inked(x, y), "ink at {x}, {y}");
            }
        }
        assert!(any);
    }

    #[test]
    fn text_outside_is_cut() {
        let mut picture = Picture::filled((4, 4), WHITE);
        picture.draw_text((2, 2), "漢字 text", TextStyle::Bold, BLACK);
    }

    #[test]
    fn wraps_between_words() {
        let width = text_width("masked", TextStyle::Regular);
        assert_eq!(
            wrap("masked input\nof it", width, TextStyle::Regular),
            ["masked", "input", "of it"]
        );
        assert_eq!(wrap("", 10, TextStyle::Regular), [""]);
    }
}
