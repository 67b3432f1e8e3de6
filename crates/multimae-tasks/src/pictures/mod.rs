//! Pictures of evaluations: rows of frames with their errors.

mod worst;

use multimae::modality::Size;
use multimae_data::{RawMap, RawSample};
use multimae_report::colormap::{Colormap, ValueRange};
use multimae_report::palette::Palette;
use multimae_report::picture::Picture;

pub(crate) use worst::Worst;

/// The columns of a grid.
pub(crate) const COLUMNS: [&str; 4] = ["input", "target", "prediction", "error"];
/// Pictures in a grid are at most about so wide, in pixels.
const WIDEST: usize = 320;

/// One frame of a grid.
#[derive(Debug, Clone)]
pub(crate) struct PictureRow<T> {
    /// Its name and score.
    pub(crate) title: String,
    /// The model's input.
    pub(crate) input: Option<Picture>,
    /// The size of the maps.
    pub(crate) size: Size,
    /// `(H, W)`.
    pub(crate) target: Vec<T>,
    /// `(H, W)`.
    pub(crate) prediction: Vec<T>,
}

impl<T> PictureRow<T> {
    /// Every how many pixels one is drawn.
    fn step(&self) -> usize {
        self.size.width.div_ceil(WIDEST).max(1)
    }

    pub(crate) fn cells(&self, maps: [Picture; 3]) -> Vec<Option<Picture>> {
        let input = self.input.clone();
        let cells = std::iter::once(input).chain(maps.into_iter().map(Some));
        cells.map(|cell| cell.map(|picture| picture.subsample(self.step()))).collect()
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        (self.size.height, self.size.width)
    }
}

/// A frame's RGB, or its first other map.
#[must_use]
pub fn input_picture(frame: &RawSample, inputs: &[String]) -> Option<Picture> {
    let size = (frame.height, frame.width);
    let maps = || inputs.iter().filter_map(|name| frame.maps.get(name));
    let colors = maps().chain(frame.maps.values()).find_map(|map| match map {
        RawMap::Color(rgb) => Picture::new(size, rgb.clone()).ok(),
        _ => None,
    });
    colors.or_else(|| {
        maps().find_map(|map| match map {
            RawMap::Continuous { data, .. } => {
                let plane = data.get(..size.0 * size.1)?;
                let range = ValueRange::quantiles(plane, 0.01, 0.99);
                Picture::from_map(plane, size, Colormap::Viridis, range).ok()
            }
            RawMap::Labels(labels) => {
                let most = labels.iter().max().map_or(0, |&most| most.clamp(0, 255) + 1);
                let palette = Palette::generated(most as usize);
                Picture::from_labels(labels, size, &palette, 1).ok()
            }
            RawMap::Color(_) => None,
        })
    })
}

/// A share in percent with two decimals.
#[must_use]
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}
