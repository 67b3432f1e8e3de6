//! Facts about one file.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::Kind;
use crate::decode::{ExifOrientation, FileFormat, Stored};

/// A file of a sample.
pub(super) struct File {
    pub(super) id: String,
    pub(super) path: PathBuf,
    /// The facts, or the reason why the file cannot be read.
    pub(super) facts: Result<FileFacts, String>,
}

/// Facts about a file.
pub(super) struct FileFacts {
    /// (height, width).
    pub(super) size: (usize, usize),
    pub(super) channels: usize,
    pub(super) bits: usize,
    pub(super) palette: bool,
    pub(super) format: FileFormat,
    /// The EXIF orientation, applied or not.
    pub(super) exif: ExifOrientation,
    pub(super) described: String,
    /// The extension says something else.
    pub(super) misnamed: bool,
    /// Of the size and all values.
    pub(super) digest: u64,
    pub(super) values: ValueFacts,
}

/// Figures of all values.
pub(super) struct ValueFacts {
    pub(super) min: f32,
    pub(super) max: f32,
    /// NaN and infinite values.
    pub(super) not_finite: usize,
    /// Values that are 0.
    pub(super) zeros: usize,
    pub(super) count: usize,
    /// Of depth, unless nothing is known.
    pub(super) depth: Option<DepthFacts>,
    /// Pixels of every value; of labels and masks.
    pub(super) histogram: BTreeMap<i64, u64>,
    /// Sums and sums of squares per channel, in `0..=1`; of pictures.
    pub(super) sums: [(f64, f64); 3],
    /// All channels are equal; of pictures.
    pub(super) grey: bool,
}

/// Figures of the known values of a map of depth: above 0, and less than the greatest value of the
/// format, which stands for unknown depth or for all that is too far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DepthFacts {
    pub(super) min: f32,
    pub(super) median: f32,
    pub(super) max: f32,
    /// All are whole numbers.
    pub(super) whole: bool,
    /// All are multiples of 8.
    pub(super) multiples_of_8: bool,
    /// Pixels with the greatest value of the format.
    pub(super) saturated: usize,
    /// That value, 0 if no pixel has it.
    pub(super) end: f32,
}

impl FileFacts {
    pub(super) fn of(path: &Path, stored: &Stored, kind: Kind) -> Self {
        let mut hasher = DefaultHasher::new();
        (stored.height, stored.width).hash(&mut hasher);
        stored.values.iter().for_each(|value| hasher.write_u32(value.to_bits()));
        Self {
            size: (stored.height, stored.width),
            channels: stored.channels,
            bits: stored.bits,
            palette: stored.palette,
            format: stored.format,
            exif: stored.exif,
            described: stored.describe(),
            misnamed: !extension_fits(path, stored.format),
            digest: hasher.finish(),
            values: ValueFacts::of(stored, kind),
        }
    }

    pub(super) fn is_constant(&self) -> bool {
        self.values.min == self.values.max
    }
}

impl ValueFacts {
    fn of(stored: &Stored, kind: Kind) -> Self {
        let mut facts = Self {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            not_finite: 0,
            zeros: 0,
            count: stored.values.len(),
            depth: None,
            histogram: BTreeMap::new(),
            sums: [(0.0, 0.0); 3],
            grey: false,
        };
        for &value in &stored.values {
            if !value.is_finite() {
                facts.not_finite += 1;
                continue;
            }
            facts.zeros += usize::from(value == 0.0);
            facts.min = facts.min.min(value);
            facts.max = facts.max.max(value);
        }
        match kind {
            Kind::Depth => facts.depth = DepthFacts::of(stored),
            Kind::Labels | Kind::Mask => {
                for &value in &stored.values {
                    *facts.histogram.entry(value as i64).or_default() += 1;
                }
            }
            Kind::Color => facts.color(stored),
            Kind::Other => {}
        }
        facts
    }

    fn color(&mut self, stored: &Stored) {
        let channel = |index: usize| if stored.channels < 3 { 0 } else { index };
        self.grey = true;
        for pixel in stored.values.chunks_exact(stored.channels) {
            let rgb = [0, 1, 2].map(|index| pixel[channel(index)]);
            self.grey &= rgb[0] == rgb[1] && rgb[1] == rgb[2];
            for (sums, value) in self.sums.iter_mut().zip(rgb) {
                let value = f64::from(value) / 255.0;
                sums.0 += value;
                sums.1 += value * value;
            }
        }
    }
}

impl DepthFacts {
    /// `None` if nothing is known.
    fn of(stored: &Stored) -> Option<Self> {
        let end = if stored.bits == 8 { 255.0 } else { 65535.0 };
        let is_known = |value: f32| value > 0.0 && value.is_finite();
        let saturated = stored.values.iter().filter(|&&value| value == end).count();
        let whole = stored.values.iter().all(|&value| !is_known(value) || value.fract() == 0.0);
        let mut known: Vec<f32> = stored.values.iter().copied().filter(|&v| is_known(v)).collect();
        if whole && saturated < known.len() {
            known.retain(|&value| value != end);
        }
        let middle = known.len() / 2;
        if known.is_empty() {
            return None;
        }
        let (below, &mut median, above) = known.select_nth_unstable_by(middle, f32::total_cmp);
        let min = below.iter().copied().fold(median, f32::min);
        let max = above.iter().copied().fold(median, f32::max);
        let multiples_of_8 = whole && known.iter().all(|value| value % 8.0 == 0.0);
        let saturated = if whole { saturated } else { 0 };
        let end = if saturated > 0 { end } else { 0.0 };
        Some(Self { min, median, max, whole, multiples_of_8, saturated, end })
    }
}

fn extension_fits(path: &Path, format: FileFormat) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    format.has_extension(&extension)
}
