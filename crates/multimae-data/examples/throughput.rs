//! Samples per second of the loader on a data set in the list layout with rgb, depth in
//! millimetres and 41 labels: `throughput ROOT SPLIT [HEIGHT] [WIDTH] [EPOCHS]`.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use multimae_data::{
    BadSamples, DataModality, Dataset, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD,
    Interpolation, Layout, Loader, LoaderConfig, Pipeline,
};

fn modality(name: &str, folder: &str, encoding: Encoding, stride: usize) -> DataModality {
    DataModality { folder: folder.to_owned(), stride, ..DataModality::new(name, encoding) }
}

fn modalities() -> [DataModality; 3] {
    let rgb = Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD };
    let depth = Encoding::Continuous {
        channels: 1,
        divisor: 1000.0,
        mean: vec![],
        std: vec![],
        interpolation: Interpolation::Bicubic,
        standardize: true,
        quantity: multimae_data::Quantity::Plain,
    };
    let labels = Encoding::labels(41, Some(0), 0);
    [
        modality("rgb", "rgb", rgb, 1),
        modality("depth", "depth", depth, 1),
        modality("semseg", "label40", labels, 4),
    ]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, split, rest @ ..] = &args[..] else { return Err("arguments: ROOT SPLIT".into()) };
    let number = |index: usize, default: usize| {
        rest.get(index).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let (size, epochs) = ((number(0, 96)?, number(1, 128)?), number(2, 3)?);
    let start = Instant::now();
    let dataset = Dataset::open(Path::new(root), &Layout::of(Some(split)), &modalities())?;
    println!("{} samples found in {:?}", dataset.len(), start.elapsed());
    let (scale, ratio) = ((0.2, 1.0), (0.75, 4.0 / 3.0));
    let geometry = Geometry::RandomResizedCrop { scale, ratio, hflip: 0.5, size };
    let pipeline = Arc::new(Pipeline::new(Arc::new(dataset), geometry, 0)?);
    for workers in [0, 1, 2] {
        let config = LoaderConfig {
            batch_size: 32,
            workers,
            prefetch: 32,
            seed: 0,
            shuffle: true,
            reshuffle: true,
            drop_last: false,
            bad_samples: BadSamples::Fail,
        };
        let loader = Loader::new(Arc::clone(&pipeline), config)?;
        let start = Instant::now();
        let mut samples = 0;
        for batch in loader.batches((0, 0), epochs as u64) {
            samples += batch?.samples.len();
        }
        let rate = samples as f64 / start.elapsed().as_secs_f64();
        println!("{workers} workers: {rate:.0} samples per second");
    }
    Ok(())
}
