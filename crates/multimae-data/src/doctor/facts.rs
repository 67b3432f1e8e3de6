//! Facts about one file.

mod depth;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::Kind;
use crate::decode::{ExifOrientation, FileFormat, Pixels, Stored, of_any_type};

pub(super) use depth::DepthFacts;

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
    /// Pixels that training takes for invalid; of depth.
    pub(super) invalid: usize,
    pub(super) count: usize,
    /// Of depth, unless all pixels are invalid.
    pub(super) depth: Option<DepthFacts>,
    /// Pixels of every value; of labels and masks.
    pub(super) histogram: BTreeMap<i64, u64>,
    /// Sums and sums of squares per channel, in `0..=1`; of pictures.
    pub(super) sums: [(f64, f64); 3],
    /// All channels are equal; of pictures.
    pub(super) grey: bool,
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
            invalid: 0,
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
            facts.min = facts.min.min(value);
            facts.max = facts.max.max(value);
        }
        match kind {
            Kind::Depth => (facts.invalid, facts.depth) = depth::facts(stored),
            Kind::Labels | Kind::Mask => facts.histogram = histogram(stored),
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

/// The number of pixels of every value, as training reads labels.
fn histogram(stored: &Stored) -> BTreeMap<i64, u64> {
    let mut histogram = BTreeMap::new();
    of_any_type!(&stored.pixels, values => for run in values.chunk_by(|a, b| a == b) {
        *histogram.entry(run[0] as i64).or_default() += run.len() as u64;
    });
    histogram
}

fn extension_fits(path: &Path, format: FileFormat) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    format.has_extension(&extension)
}
