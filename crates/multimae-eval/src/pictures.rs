//! Pictures of an evaluation: the worst frames, the scores of the classes.

use multimae::modality::Size;
use multimae_data::{RawMap, RawSample};
use multimae_report::colormap::{Colormap, ValueRange};
use multimae_report::palette::Palette;
use multimae_report::picture::{Bar, Grid, Picture, bars, color_bar, palette_legend};

use super::results::percent;
use super::semseg::SemsegRow;
use crate::Result;

const COLUMNS: [&str; 4] = ["input", "target", "prediction", "error"];
/// Pictures in a grid are at most about so wide, in pixels.
const WIDEST: usize = 320;
/// Width of the classes' bars with their text, in pixels.
const BARS: usize = 640;
/// The relative error that the last colour stands for.
const LARGEST_ERROR: f64 = 0.5;

const WRONG: [u8; 3] = [214, 39, 40];
const RIGHT: [u8; 3] = [222, 226, 230];
const UNKNOWN: [u8; 3] = [255; 3];

/// One frame of a grid.
#[derive(Debug, Clone)]
pub(super) struct Shown<T> {
    /// Its name and score.
    pub(super) title: String,
    /// What the model saw.
    pub(super) input: Option<Picture>,
    /// The size of the maps.
    pub(super) size: Size,
    /// `(H, W)`.
    pub(super) target: Vec<T>,
    /// `(H, W)`.
    pub(super) prediction: Vec<T>,
}

impl<T> Shown<T> {
    /// Every how many pixels one is drawn.
    fn step(&self) -> usize {
        self.size.width.div_ceil(WIDEST).max(1)
    }

    fn cells(&self, maps: [Picture; 3]) -> Vec<Option<Picture>> {
        let input = self.input.clone();
        let cells = std::iter::once(input).chain(maps.into_iter().map(Some));
        cells.map(|cell| cell.map(|picture| picture.subsample(self.step()))).collect()
    }

    fn size(&self) -> (usize, usize) {
        (self.size.height, self.size.width)
    }
}

/// A frame's RGB, or its first other map.
pub(super) fn input_picture(frame: &RawSample, inputs: &[String]) -> Option<Picture> {
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

/// Input, target, prediction and relative error of frames with depth. Pixels whose target is not
/// finite do not count, and are white.
pub(super) fn depth_grid(frames: &[Shown<f32>]) -> Result<Picture> {
    let targets: Vec<f32> = frames.iter().flat_map(|frame| frame.target.iter().copied()).collect();
    let range = ValueRange::quantiles(&targets, 0.01, 0.99);
    let errors = ValueRange::new(0.0, LARGEST_ERROR)?;
    let mut grid = Grid::new(COLUMNS);
    for frame in frames {
        let of_pixel = |(p, t): (&f32, &f32)| (p - t).abs() / t;
        let error: Vec<f32> = frame.prediction.iter().zip(&frame.target).map(of_pixel).collect();
        let depth = |map: &[f32]| Picture::from_map(map, frame.size(), Colormap::Viridis, range);
        let maps = [
            depth(&frame.target)?,
            depth(&frame.prediction)?,
            Picture::from_map(&error, frame.size(), Colormap::Magma, errors)?,
        ];
        grid.row(frame.title.clone(), frame.cells(maps));
    }
    let width = grid.content_width();
    grid.footer(color_bar(Colormap::Viridis, range, "depth", "m", width));
    let label = "error relative to the target, white: does not count";
    grid.footer(color_bar(Colormap::Magma, errors, label, "and more", width));
    Ok(grid.render())
}

/// Input, target, prediction and wrong pixels of frames with labels. Labels beyond the palette do
/// not count.
pub(super) fn label_grid(frames: &[Shown<i64>], palette: &Palette) -> Result<Picture> {
    let mut grid = Grid::new(COLUMNS);
    for frame in frames {
        let known = |label: i64| (0..palette.len() as i64).contains(&label);
        let color = |(&p, &t): (&i64, &i64)| match (known(t), p == t) {
            (false, _) => UNKNOWN,
            (true, true) => RIGHT,
            (true, false) => WRONG,
        };
        let wrong = frame.prediction.iter().zip(&frame.target).flat_map(color).collect();
        let labels = |map: &[i64]| Picture::from_labels(map, frame.size(), palette, 1);
        let maps = [
            labels(&frame.target)?,
            labels(&frame.prediction)?,
            Picture::new(frame.size(), wrong)?,
        ];
        grid.row(frame.title.clone(), frame.cells(maps));
    }
    let width = grid.content_width();
    let labels = frames.iter().flat_map(|frame| frame.target.iter().chain(&frame.prediction));
    grid.footer(palette_legend(palette, labels, width));
    let meaning = Palette::new(
        [("right", RIGHT), ("wrong", WRONG), ("does not count", UNKNOWN)]
            .map(|(name, color)| (name.to_owned(), color))
            .to_vec(),
    );
    grid.footer(palette_legend(&meaning, &[0, 1, 2], width));
    Ok(grid.render())
}

/// The IoU of every class that is labelled or predicted, the best first.
pub(super) fn class_bars(row: &SemsegRow, palette: &Palette) -> Picture {
    let mut classes: Vec<_> = row.classes.iter().enumerate().collect();
    classes.retain(|(_, class)| class.iou.is_some());
    classes
        .sort_by(|(_, a), (_, b)| b.iou.partial_cmp(&a.iou).unwrap_or(std::cmp::Ordering::Equal));
    let bar = |(index, class): (usize, &super::semseg::ClassScore)| Bar {
        name: class.name.clone(),
        color: palette.color(index as i64),
        value: class.iou,
        note: format!("{:>6}", percent(class.iou.unwrap_or_default())),
    };
    let mean = Bar {
        name: "mean".to_owned(),
        color: [60; 3],
        value: Some(row.miou),
        note: format!("{:>6} %", percent(row.miou)),
    };
    let all: Vec<Bar> = std::iter::once(mean).chain(classes.into_iter().map(bar)).collect();
    let mut grid = Grid::new([format!("IoU, {}", row.label_set.name())]);
    grid.row("", [bars(&all, BARS)]);
    grid.render()
}
