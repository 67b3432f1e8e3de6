//! Smaller frames on request.

use serde::{Deserialize, Serialize};

use crate::decode::{Form, Frame, FrameInfo, Order, Pixels, Problem, map_pixels};
use crate::resize::{CropBox, nearest_indices, resize_rgb};

/// The reduction of frames. Smaller ones keep their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shrink {
    /// The largest shorter side, in pixels.
    ShortSide(usize),
    /// The largest longer side, in pixels.
    MaxSide(usize),
}

impl Shrink {
    /// The size of a reduced frame; both sides by the same factor, rounded. `None` if it stays.
    #[must_use]
    pub fn size(self, (height, width): (usize, usize)) -> Option<(usize, usize)> {
        let (side, most) = match self {
            Self::ShortSide(most) => (height.min(width), most),
            Self::MaxSide(most) => (height.max(width), most),
        };
        if side <= most {
            return None;
        }
        let factor = most as f64 / side as f64;
        let scaled = |pixels: usize| ((pixels as f64 * factor).round_ties_even() as usize).max(1);
        Some((scaled(height), scaled(width)))
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::ShortSide(pixels) => format!("a short side of {pixels} pixels"),
            Self::MaxSide(pixels) => format!("a long side of {pixels} pixels"),
        }
    }
}

/// A frame at a smaller size: colours as the pipeline reduces them, bicubically and smoothed; all
/// other values to the nearest pixel, so that none appears that was not there.
pub(super) fn resize(frame: Frame, to: (usize, usize)) -> Result<Frame, Problem> {
    let (from, info) = (frame.size(), frame.info);
    let pixels = match frame.pixels {
        Pixels::U8(rgb) if info.form == Form::Color => {
            let resized = resize_rgb(&rgb, from, CropBox::whole(from), to);
            Pixels::U8(resized.map_err(|error| error.to_string())?)
        }
        pixels => map_pixels!(pixels, values => pick(&values, &info, to)),
    };
    Ok(Frame { info: FrameInfo { height: to.0, width: to.1, ..info }, pixels })
}

/// The nearest pixels of every plane.
fn pick<T: Copy>(values: &[T], info: &FrameInfo, to: (usize, usize)) -> Vec<T> {
    let (rows, columns) = (nearest_indices(info.height, to.0), nearest_indices(info.width, to.1));
    // Of interleaved values a pixel is a run of all channels, of planar ones a plane at a time.
    let (planes, run) = match info.order {
        Order::Interleaved => (1, info.channels),
        Order::Planar => (info.channels, 1),
    };
    let mut picked = Vec::with_capacity(info.channels * to.0 * to.1);
    for plane in values.chunks_exact(info.height * info.width * run).take(planes) {
        for &row in &rows {
            for &column in &columns {
                let first = (row * info.width + column) * run;
                picked.extend_from_slice(&plane[first..first + run]);
            }
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_their_aspect() {
        assert_eq!(Shrink::ShortSide(240).size((480, 640)), Some((240, 320)));
        assert_eq!(Shrink::MaxSide(320).size((480, 640)), Some((240, 320)));
        assert_eq!(Shrink::MaxSide(100).size((33, 1000)), Some((3, 100)));
        assert_eq!(Shrink::MaxSide(10).size((1, 1000)), Some((1, 10)));
        assert_eq!(Shrink::ShortSide(480).size((480, 640)), None);
        assert_eq!(Shrink::MaxSide(900).size((480, 640)), None);
    }

    #[test]
    fn values_are_picked_plane_by_plane() {
        let info = |order| FrameInfo {
            height: 2,
            width: 4,
            channels: 2,
            form: Form::Npy { axes: 3 },
            order,
        };
        let planar = Frame { info: info(Order::Planar), pixels: Pixels::U16((0..16).collect()) };
        let small = resize(planar, (1, 2)).unwrap();
        assert_eq!(small.pixels, Pixels::U16(vec![5, 7, 13, 15]));
        assert_eq!(small.size(), (1, 2));
        let interleaved =
            Frame { info: info(Order::Interleaved), pixels: Pixels::U16((0..16).collect()) };
        let small = resize(interleaved, (1, 2)).unwrap();
        assert_eq!(small.pixels, Pixels::U16(vec![10, 11, 14, 15]));
    }
}
