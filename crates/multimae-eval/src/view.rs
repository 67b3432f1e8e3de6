//! The published evaluation's view of a frame.

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::interpolate::{Interpolation, resize};
use multimae::modality::Size;
use multimae_data::resize::{CropBox, gather};
use multimae_data::{RawMap, RawSample};

use crate::{Error, Result};
use multimae_tasks::EvaluationView;

/// The most pixels of a scaled frame.
const MAX_SCALED: usize = 1 << 26;

/// The frame at the size at which the protocol scores it. RGB is resized linearly without
/// smoothing, everything else to the nearest pixel, as OpenCV does.
///
/// # Errors
/// If a map has not the frame's size.
pub(crate) fn apply(view: EvaluationView, frame: RawSample) -> Result<RawSample> {
    let (height, width) = (frame.height, frame.width);
    match view {
        EvaluationView::Native => Ok(frame),
        EvaluationView::CentralSquare { side } => {
            let frame = scale(frame, side as f64 / height.min(width) as f64)?;
            let (top, left) = ((frame.height - side) / 2, (frame.width - side) / 2);
            crop(frame, CropBox { top, left, height: side, width: side })
        }
        EvaluationView::PaddedSquare { side } => {
            scale(frame, side as f64 / height.max(width) as f64)
        }
    }
}

/// Brings all maps to `factor` times their size, rounded half to even.
fn scale(frame: RawSample, factor: f64) -> Result<RawSample> {
    let side = |pixels: usize| ((pixels as f64 * factor).round_ties_even() as usize).max(1);
    let (from, to) = ((frame.height, frame.width), (side(frame.height), side(frame.width)));
    if from == to {
        return Ok(frame);
    }
    if to.0.checked_mul(to.1).is_none_or(|pixels| pixels > MAX_SCALED) {
        return Err(Error::Evaluation(format!(
            "frame `{}` has {} x {} pixels and would be scored at {} x {}; at most {MAX_SCALED} \
             pixels are computed, so leave it out or crop it",
            frame.id, from.0, from.1, to.0, to.1
        )));
    }
    let pick = |from: usize, to: usize| -> Vec<usize> {
        (0..to).map(|i| (i * from / to).min(from.saturating_sub(1))).collect()
    };
    let (rows, columns) = (pick(from.0, to.0), pick(from.1, to.1));
    map(frame, to, |map| match map {
        RawMap::Color(rgb) => Ok(RawMap::Color(resize_rgb(&rgb, from, to))),
        other => picked(other, from, CropBox::whole(from), &rows, &columns),
    })
}

fn crop(frame: RawSample, area: CropBox) -> Result<RawSample> {
    let from = (frame.height, frame.width);
    let rows: Vec<usize> = (0..area.height).collect();
    let columns: Vec<usize> = (0..area.width).collect();
    map(frame, (area.height, area.width), |map| picked(map, from, area, &rows, &columns))
}

fn map(
    frame: RawSample,
    (height, width): (usize, usize),
    change: impl Fn(RawMap) -> Result<RawMap>,
) -> Result<RawSample> {
    let maps = frame.maps.into_iter().map(|(name, map)| Ok((name, change(map)?)));
    let maps = maps.collect::<Result<IndexMap<_, _>>>()?;
    Ok(RawSample { height, width, maps, ..frame })
}

fn picked(
    map: RawMap,
    from: (usize, usize),
    area: CropBox,
    rows: &[usize],
    columns: &[usize],
) -> Result<RawMap> {
    Ok(match map {
        RawMap::Color(rgb) => {
            let picked = gather(rgb.as_chunks::<3>().0, from, area, rows, columns)?;
            RawMap::Color(picked.into_flattened())
        }
        RawMap::Continuous { channels, data } => {
            let planes = data.chunks_exact((from.0 * from.1).max(1));
            let planes = planes.map(|plane| Ok(gather(plane, from, area, rows, columns)?));
            RawMap::Continuous { channels, data: planes.collect::<Result<Vec<_>>>()?.concat() }
        }
        RawMap::Labels(labels) => RawMap::Labels(gather(&labels, from, area, rows, columns)?),
    })
}

/// `(H, W, 3)` to another size.
fn resize_rgb(rgb: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let values: Vec<f32> = rgb.iter().map(|&value| f32::from(value)).collect();
    let data = TensorData::new(values, [1, from.0, from.1, 3]);
    let maps = Tensor::<4>::from_data(data, &Device::default()).permute([0, 3, 1, 2]);
    let resized = resize(maps, Size::new(to.0, to.1), Interpolation::Bilinear);
    let resized = resized.permute([0, 2, 3, 1]).into_data();
    resized.iter::<f32>().map(|value| value.round() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(height: usize, width: usize) -> RawSample {
        let pixels = 0..height * width;
        let ramp = |f: fn(usize, usize) -> usize| {
            pixels.clone().map(move |i| f(i / width, i % width)).collect::<Vec<usize>>()
        };
        let columns = ramp(|_, x| x);
        let rgb = columns.iter().flat_map(|&x| [(x % 256) as u8; 3]).collect();
        let depth = ramp(|y, x| 1000 * y + x).iter().map(|&d| d as f32).collect();
        let maps = [
            ("rgb".to_owned(), RawMap::Color(rgb)),
            ("depth".to_owned(), RawMap::Continuous { channels: 1, data: depth }),
            ("semseg".to_owned(), RawMap::Labels(columns.iter().map(|&x| x as i64).collect())),
        ];
        RawSample { id: "a".to_owned(), index: 0, height, width, maps: maps.into() }
    }

    fn depth(frame: &RawSample) -> &[f32] {
        match &frame.maps["depth"] {
            RawMap::Continuous { data, .. } => data,
            _ => panic!("depth"),
        }
    }

    #[test]
    fn the_central_square_of_the_published_depth_evaluation() {
        let seen = apply(EvaluationView::CentralSquare { side: 256 }, frame(480, 640)).unwrap();
        assert_eq!((seen.height, seen.width), (256, 256));
        // 341 columns, 42 cut on the left: column 42 of 341 is column floor(42 * 640 / 341) = 78.
        assert_eq!(depth(&seen)[0], 78.0);
        // Row 1 of 256 is row floor(480 / 256) = 1, the last row 478.
        assert_eq!(depth(&seen)[256], 1078.0);
        assert_eq!(depth(&seen)[255 * 256], 478_078.0);
        assert!(matches!(&seen.maps["semseg"], RawMap::Labels(labels) if labels[0] == 78));
        // Linear between columns: (42 + 1/2) * 640 / 341 - 1/2 = 79.27.
        assert!(matches!(&seen.maps["rgb"], RawMap::Color(rgb) if rgb[..3] == [79; 3]));
    }

    #[test]
    fn frames_of_the_published_labels_keep_their_size() {
        let view = EvaluationView::PaddedSquare { side: 640 };
        assert_eq!(apply(view, frame(480, 640)).unwrap(), frame(480, 640));
        assert_eq!(view.canvas(), Some(Size::square(640)));
        let half = apply(EvaluationView::PaddedSquare { side: 16 }, frame(24, 32)).unwrap();
        assert_eq!((half.height, half.width), (12, 16));
        assert_eq!(depth(&half)[17], 2002.0);
        assert_eq!(apply(EvaluationView::Native, frame(5, 7)).unwrap(), frame(5, 7));
        // A narrow frame keeps a pixel, and one that would be enlarged without end is refused.
        let narrow = apply(EvaluationView::PaddedSquare { side: 16 }, frame(1, 3000)).unwrap();
        assert_eq!((narrow.height, narrow.width), (1, 16));
        let endless = apply(EvaluationView::CentralSquare { side: 256 }, frame(1, 3000));
        assert!(endless.unwrap_err().to_string().contains("at most 67108864 pixels"));
    }
}
