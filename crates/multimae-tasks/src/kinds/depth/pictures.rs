//! Pictures of depth with its errors.

use multimae_report::colormap::{Colormap, ValueRange};
use multimae_report::picture::{Grid, Picture, color_bar};

use crate::Result;
use crate::pictures::{COLUMNS, PictureRow};

/// The relative error that the last colour of pictures stands for.
const LARGEST_ERROR: f64 = 0.5;

/// Input, target, prediction and relative error of frames with depth. Pixels whose target is not
/// finite do not count, and are white.
pub(crate) fn depth_grid(frames: &[&PictureRow<f32>]) -> Result<Picture> {
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
