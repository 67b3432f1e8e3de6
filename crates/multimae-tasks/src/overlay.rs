//! Predictions over the frame that they are for, with what the colours mean below.

use multimae_report::Colormap;
use multimae_report::colormap::ValueRange;
use multimae_report::palette::Palette;
use multimae_report::picture::{Picture, color_bar, palette_legend};

use crate::Result;

/// The opacity of the labels' colours over the frame.
const LABEL_OPACITY: f32 = 0.6;
/// The opacity of the values' colours over the grey frame.
const DEPTH_OPACITY: f32 = 0.75;
/// Legends are at least so wide, in pixels, even below a small frame.
const LEGEND: usize = 320;
/// Between frame and legend, in pixels.
const GAP: usize = 8;

/// Draws values in colours over the grey frame, with a scale bar of a name and unit.
///
/// # Shapes
/// `values (H, W)`, of the frame's size.
pub(crate) fn map_overlay(
    frame: Option<&Picture>,
    values: &[f32],
    size: (usize, usize),
    (name, unit): (&str, &str),
) -> Result<Picture> {
    let range = ValueRange::quantiles(values, 0.01, 0.99);
    let colors = Picture::from_map(values, size, Colormap::Viridis, range)?;
    let picture = over(frame.map(grey), colors, DEPTH_OPACITY)?;
    let bar = color_bar(Colormap::Viridis, range, name, unit, size.1.max(LEGEND));
    Ok(Picture::stack(&[picture, bar], GAP))
}

/// Draws colours over the grey frame.
pub(crate) fn color_overlay(frame: Option<&Picture>, colors: Picture) -> Result<Picture> {
    over(frame.map(grey), colors, DEPTH_OPACITY)
}

/// Labels in colours over the frame, with a legend of the classes that occur.
///
/// # Shapes
/// `labels (H, W)`, of the frame's size.
pub(crate) fn label_overlay(
    frame: Option<&Picture>,
    labels: &[i64],
    palette: &Palette,
    size: (usize, usize),
) -> Result<Picture> {
    let colors = Picture::from_labels(labels, size, palette, 1)?;
    let picture = over(frame.cloned(), colors, LABEL_OPACITY)?;
    let legend = palette_legend(palette, labels, size.1.max(LEGEND));
    Ok(Picture::stack(&[picture, legend], GAP))
}

fn over(frame: Option<Picture>, colors: Picture, opacity: f32) -> Result<Picture> {
    match frame {
        Some(mut frame) => {
            frame.blend(&colors, opacity)?;
            Ok(frame)
        }
        None => Ok(colors),
    }
}

/// The luma of a picture (ITU-R BT.601).
fn grey(picture: &Picture) -> Picture {
    let luma = |rgb: &[u8; 3]| {
        let [r, g, b] = rgb.map(f32::from);
        [(0.299 * r + 0.587 * g + 0.114 * b).round() as u8; 3]
    };
    let rgb = picture.rgb().as_chunks::<3>().0.iter().flat_map(luma).collect();
    Picture::new(picture.size(), rgb).unwrap_or_else(|_| picture.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlays_keep_the_frame_s_pixels_in_place() {
        let frame = Picture::filled((10, 400), [200, 0, 0]);
        let labels: Vec<i64> = (0..4000).map(|i| i64::from(i % 400 >= 200)).collect();
        let palette =
            Palette::new(vec![("a".to_owned(), [0, 0, 100]), ("b".to_owned(), [0, 100, 0])]);
        let overlay = label_overlay(Some(&frame), &labels, &palette, (10, 400)).unwrap();
        assert_eq!(overlay.width(), 400);
        assert!(overlay.height() > 10 + GAP);
        assert_eq!(overlay.pixel(0, 0), [80, 0, 60]);
        assert_eq!(overlay.pixel(399, 9), [80, 60, 0]);
        let depth: Vec<f32> = (0..4000).map(|i| (i % 400) as f32).collect();
        let colors = map_overlay(None, &depth, (10, 400), ("depth", "m")).unwrap();
        let seen = map_overlay(Some(&frame), &depth, (10, 400), ("depth", "m")).unwrap();
        let expected = |c: u8| (0.25 * 60.0 + 0.75 * f32::from(c)).round() as u8;
        assert_eq!(seen.pixel(200, 5), colors.pixel(200, 5).map(expected));
    }
}
