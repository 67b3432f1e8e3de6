//! Samples from files.

use std::path::Path;
use std::sync::Arc;

use multimae_data::{
    BadSamples, Batches, DataModality, Dataset, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD,
    Interpolation, Layout, Loader, LoaderConfig, Pipeline,
};

use super::Workload;
use crate::Result;
use crate::folder::CaseFolder;

/// As the published pre-training crops.
const SCALE: (f64, f64) = (0.2, 1.0);
const RATIO: (f64, f64) = (0.75, 4.0 / 3.0);
/// Classes of the 40 labels of NYUv2 and void.
const CLASSES: usize = 41;
/// Batches of a step: many more than the loader prefetches between steps.
const BATCHES: usize = 16;
/// More epochs than any measurement takes.
const EPOCHS: u64 = 1 << 40;

pub(super) struct Loading {
    batches: Batches,
}

impl Loading {
    pub(super) fn new(folder: &CaseFolder, threads: usize) -> Result<Self> {
        let case = &folder.case;
        let files = case.files.as_ref().ok_or_else(|| folder.error("no files are named"))?;
        let depth = Encoding::Continuous {
            channels: 1,
            divisor: 1000.0,
            mean: vec![],
            std: vec![],
            interpolation: Interpolation::Nearest,
            standardize: true,
            quantity: multimae_data::Quantity::Plain,
        };
        let modality = |name: &str, folder: &str, encoding, stride| DataModality {
            folder: folder.to_owned(),
            stride,
            ..DataModality::new(name, encoding)
        };
        let modalities = [
            modality("rgb", "rgb", Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD }, 1),
            modality("depth", "depth", depth, 1),
            modality("semseg", &files.labels, Encoding::labels(CLASSES, Some(0), 0), 4),
        ];
        let layout = Layout::of(Some(&files.list));
        let dataset = Dataset::open(Path::new(&files.data), &layout, &modalities)?;
        let size = (case.image[0], case.image[1]);
        let geometry = Geometry::RandomResizedCrop { scale: SCALE, ratio: RATIO, hflip: 0.5, size };
        let pipeline = Pipeline::new(Arc::new(dataset), geometry, 0)?;
        let config = LoaderConfig {
            batch_size: case.batch,
            workers: threads,
            prefetch: 2 * case.batch,
            seed: 0,
            shuffle: true,
            reshuffle: true,
            drop_last: true,
            bad_samples: BadSamples::Fail,
        };
        Ok(Self { batches: Loader::new(pipeline, config)?.batches((0, 0), EPOCHS) })
    }
}

impl Workload for Loading {
    fn step(&mut self) -> Result<f64> {
        for _ in 0..BATCHES {
            match self.batches.next() {
                Some(batch) => drop(batch?),
                None => unreachable_epoch()?,
            }
        }
        Ok(0.0)
    }
}

/// Epochs do not end within a measurement.
fn unreachable_epoch() -> Result<()> {
    Err(multimae_data::Error::Config("the data have come to an end".to_owned()).into())
}
