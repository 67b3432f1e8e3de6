//! Statistics of the values of frames: sums of integers, exact in any order.

use serde::{Deserialize, Serialize};

use crate::frame::Frame;

/// Sums over frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FrameStatistics {
    pixels: u64,
    rgb: [u64; 3],
    rgb_squares: [u64; 3],
    /// Pixels with valid depth, and sums over them.
    depths: u64,
    depth: u64,
    depth_squares: u64,
    depth_range: Option<(u16, u16)>,
    labels: Vec<u64>,
}

/// Means and standard deviations over all pixels of a list of frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Frames.
    pub frames: usize,
    /// Mean of the RGB channels, in `0..=1`.
    pub rgb_mean: [f64; 3],
    /// Standard deviation of the RGB channels.
    pub rgb_std: [f64; 3],
    /// Mean of the valid depths, metres; 0 if there are none.
    pub depth_mean: f64,
    /// Standard deviation of the valid depths, metres.
    pub depth_std: f64,
    /// The least valid depth, metres.
    pub depth_min: f64,
    /// The greatest valid depth, metres.
    pub depth_max: f64,
    /// Share of the pixels with valid depth.
    pub depth_valid: f64,
    /// Share of the pixels of every label, void first.
    pub label_share: Vec<f64>,
}

impl FrameStatistics {
    pub(crate) fn of(frame: &Frame) -> Self {
        let pixels = frame.rgb.as_chunks::<3>().0;
        let size = frame.height * frame.width;
        let mut sums = Self { pixels: size as u64, ..Self::default() };
        for pixel in pixels {
            for (channel, &value) in pixel.iter().enumerate() {
                sums.rgb[channel] += u64::from(value);
                sums.rgb_squares[channel] += u64::from(value).pow(2);
            }
        }
        let valid = |at: usize| frame.valid.as_ref().is_none_or(|valid| valid[at] > 0);
        let depths = frame.depth.iter().flatten().enumerate();
        for (_, &depth) in depths.filter(|&(at, &depth)| depth > 0 && valid(at)) {
            sums.depths += 1;
            sums.depth += u64::from(depth);
            sums.depth_squares += u64::from(depth).pow(2);
            sums.widen((depth, depth));
        }
        for label in frame.labels.iter().flatten().map(|&label| usize::from(label)) {
            if label >= sums.labels.len() {
                sums.labels.resize(label + 1, 0);
            }
            sums.labels[label] += 1;
        }
        sums
    }

    fn widen(&mut self, (low, high): (u16, u16)) {
        let (min, max) = self.depth_range.unwrap_or((low, high));
        self.depth_range = Some((min.min(low), max.max(high)));
    }

    fn add(&mut self, other: &Self) {
        self.pixels += other.pixels;
        for channel in 0..3 {
            self.rgb[channel] += other.rgb[channel];
            self.rgb_squares[channel] += other.rgb_squares[channel];
        }
        self.depths += other.depths;
        self.depth += other.depth;
        self.depth_squares += other.depth_squares;
        if let Some(range) = other.depth_range {
            self.widen(range);
        }
        self.labels.resize(self.labels.len().max(other.labels.len()), 0);
        self.labels.iter_mut().zip(&other.labels).for_each(|(sum, &more)| *sum += more);
    }
}

impl Statistics {
    /// Over frames with `labels` labels, void included, and `depth_per_metre` units of stored depth
    /// per metre.
    pub(crate) fn over<'a>(
        frames: impl Iterator<Item = &'a FrameStatistics>,
        labels: usize,
        depth_per_metre: f32,
    ) -> Self {
        let (mut sums, mut count) = (FrameStatistics::default(), 0);
        sums.labels.resize(labels, 0);
        for frame in frames {
            sums.add(frame);
            count += 1;
        }
        let rgb = [0, 1, 2].map(|c| moments(sums.rgb[c], sums.rgb_squares[c], sums.pixels, 255.0));
        let unit = f64::from(depth_per_metre);
        let depth = moments(sums.depth, sums.depth_squares, sums.depths, unit);
        let share = |part: u64| part as f64 / sums.pixels.max(1) as f64;
        let metres = |depth: u16| f64::from(depth) / unit;
        let (min, max) = sums.depth_range.unwrap_or_default();
        Self {
            frames: count,
            rgb_mean: rgb.map(|(mean, _)| mean),
            rgb_std: rgb.map(|(_, std)| std),
            depth_mean: depth.0,
            depth_std: depth.1,
            depth_min: metres(min),
            depth_max: metres(max),
            depth_valid: share(sums.depths),
            label_share: sums.labels.iter().map(|&count| share(count)).collect(),
        }
    }
}

/// Mean and standard deviation in units of `unit`.
fn moments(sum: u64, squares: u64, count: u64, unit: f64) -> (f64, f64) {
    let count = count.max(1) as f64;
    let mean = sum as f64 / count;
    let variance = (squares as f64 / count - mean * mean).max(0.0);
    (mean / unit, variance.sqrt() / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(depth: [u16; 4]) -> Frame {
        Frame {
            height: 2,
            width: 2,
            rgb: vec![0, 51, 255, 0, 51, 255, 0, 51, 0, 0, 51, 0],
            depth: Some(depth.to_vec()),
            labels: Some(vec![0, 1, 1, 2]),
            valid: Some(depth.map(|depth| if depth == 0 { 0 } else { 255 }).to_vec()),
            ..Frame::default()
        }
    }

    #[test]
    fn moments_exclude_invalid_depth() {
        let frames = [frame([1000, 3000, 0, 0]), frame([1000, 3000, 3000, 1000])];
        let sums = frames.each_ref().map(FrameStatistics::of);
        let all = Statistics::over(sums.iter(), 4, 1000.0);
        assert_eq!((all.frames, all.depth_mean, all.depth_std), (2, 2.0, 1.0));
        assert_eq!((all.depth_min, all.depth_max, all.depth_valid), (1.0, 3.0, 0.75));
        assert_eq!((all.rgb_mean, all.rgb_std), ([0.0, 0.2, 0.5], [0.0, 0.0, 0.5]));
        assert_eq!(all.label_share, [0.25, 0.5, 0.25, 0.0]);
        assert_eq!(Statistics::over([].iter(), 1, 1000.0).depth_mean, 0.0);
    }

    #[test]
    fn maps_may_be_absent() {
        let plain = Frame { valid: None, labels: None, ..frame([1000, 3000, 0, 0]) };
        let all = Statistics::over([FrameStatistics::of(&plain)].iter(), 0, 1000.0);
        assert_eq!((all.depth_mean, all.depth_valid), (2.0, 0.5));
        assert_eq!(all.label_share, [0.0; 0]);
        let color = Frame { depth: None, ..plain };
        let all = Statistics::over([FrameStatistics::of(&color)].iter(), 0, 1000.0);
        assert_eq!((all.rgb_mean[1], all.depth_max, all.depth_valid), (0.2, 0.0, 0.0));
    }
}
