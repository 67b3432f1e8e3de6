//! Pictures of labels with their errors, and of the classes' scores.

use multimae_report::palette::Palette;
use multimae_report::picture::{Bar, Grid, Picture, bars, palette_legend};

use super::scorer::{ClassScore, SemsegRow};
use crate::Result;
use crate::pictures::{COLUMNS, PictureRow, percent};

/// Width of the classes' bars with their text, in pixels.
const BARS: usize = 640;
const WRONG: [u8; 3] = [214, 39, 40];
const RIGHT: [u8; 3] = [222, 226, 230];
const UNKNOWN: [u8; 3] = [255; 3];

/// Input, target, prediction and wrong pixels of frames with labels. Labels beyond the palette do
/// not count.
pub(crate) fn label_grid(frames: &[&PictureRow<i64>], palette: &Palette) -> Result<Picture> {
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
pub(crate) fn class_bars(row: &SemsegRow, palette: &Palette) -> Picture {
    let mut classes: Vec<_> = row.classes.iter().enumerate().collect();
    classes.retain(|(_, class)| class.iou.is_some());
    classes
        .sort_by(|(_, a), (_, b)| b.iou.partial_cmp(&a.iou).unwrap_or(std::cmp::Ordering::Equal));
    let bar = |(index, class): (usize, &ClassScore)| Bar {
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
