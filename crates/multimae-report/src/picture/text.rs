//! Text in pictures, in Noto Sans Mono.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::Picture;

/// Drawn for characters that the font lacks.
const MISSING: char = '?';

/// How large text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TextSize {
    /// 16 pixels high.
    #[default]
    Small,
    /// 16 pixels high and bold.
    SmallBold,
    /// 24 pixels high.
    Large,
}

impl TextSize {
    /// Height of a line in pixels.
    #[must_use]
    pub fn line_height(self) -> usize {
        self.raster().1.val() + 2
    }

    fn raster(self) -> (FontWeight, RasterHeight) {
        match self {
            Self::Small => (FontWeight::Regular, RasterHeight::Size16),
            Self::SmallBold => (FontWeight::Bold, RasterHeight::Size16),
            Self::Large => (FontWeight::Regular, RasterHeight::Size24),
        }
    }
}

/// Width of a line of text in pixels.
#[must_use]
pub fn text_width(text: &str, size: TextSize) -> usize {
    let (weight, height) = size.raster();
    text.chars().count() * get_raster_width(weight, height)
}

impl Picture {
    /// Draws a line of text whose upper left corner is `(x, y)`; what lies outside is cut.
    pub fn draw_text(
        &mut self,
        (x, y): (usize, usize),
        text: &str,
        size: TextSize,
        color: [u8; 3],
    ) {
        let (weight, height) = size.raster();
        let advance = get_raster_width(weight, height);
        for (index, character) in text.chars().enumerate() {
            let glyph = get_raster(character, weight, height)
                .or_else(|| get_raster(MISSING, weight, height));
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

/// Breaks text into lines of at most `width` pixels, between words where possible. `\n` breaks too.
pub(super) fn wrap(text: &str, width: usize, size: TextSize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if !line.is_empty() && text_width(&longer, size) > width {
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
        let size = TextSize::Small;
        let (height, width) = (size.line_height(), text_width("Äg|", size));
        let mut picture = Picture::filled((height + 20, width + 20), WHITE);
        picture.draw_text((10, 10), "Äg|", size, BLACK);
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
        picture.draw_text((2, 2), "漢字 text", TextSize::Large, BLACK);
    }

    #[test]
    fn wraps_between_words() {
        let width = text_width("masked", TextSize::Small);
        assert_eq!(
            wrap("masked input\nof it", width, TextSize::Small),
            ["masked", "input", "of it"]
        );
        assert_eq!(wrap("", 10, TextSize::Small), [""]);
    }
}
