//! Samples, data sets, joint augmentation and the loader of `multimae`.
//!
//! Four nouns matter:
//!
//! * a [`Dataset`] knows the files: it pairs the files of all [modalities](DataModality) into
//!   samples by their names, and refuses to guess when they do not pair up;
//! * a [`RawSample`] is one decoded sample, from a data set, from [bytes](RawSample::from_bytes)
//!   or from [arrays](RawSample::from_arrays);
//! * a [`Pipeline`] turns the files of one sample into what the model sees: decode, one crop and
//!   flip for all modalities, resize, normalise;
//! * a [`Loader`] puts samples into batches, in an order that depends on the seed and the epoch
//!   alone, with any number of threads.
//!
//! Every random choice comes from a [named stream](stream), so an interrupted run resumes with the
//! same samples, crops and flips.
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use multimae_data::{
//!     BadSamples, DataModality, Dataset, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD, Layout,
//!     Loader, LoaderConfig, Pipeline,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let root = tempfile::tempdir()?;
//! # fs_err::create_dir(root.path().join("rgb"))?;
//! # for id in 0..3 {
//! #     image::RgbImage::new(40, 30).save(root.path().join(format!("rgb/{id}.png")))?;
//! # }
//! # let root: &Path = root.path();
//! let rgb = DataModality::new("rgb", Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD });
//! let dataset = Arc::new(Dataset::open(root, &Layout::Folders, &[rgb])?);
//! let geometry = Geometry::RandomResizedCrop {
//!     scale: (0.2, 1.0),
//!     ratio: (0.75, 4.0 / 3.0),
//!     hflip: 0.5,
//!     size: (16, 16),
//! };
//! let pipeline = Pipeline::new(dataset, geometry, 0)?;
//! let config = LoaderConfig {
//!     batch_size: 2,
//!     workers: 1,
//!     prefetch: 2,
//!     seed: 0,
//!     shuffle: true,
//!     reshuffle: true,
//!     drop_last: false,
//!     bad_samples: BadSamples::Fail,
//! };
//! let loader = Loader::new(pipeline, config)?;
//! // Two epochs of two batches, the second one of each with the one sample that is left.
//! for batch in loader.batches((0, 0), 2) {
//!     let batch = batch?;
//!     assert_eq!(batch.samples.len(), if batch.batch == 0 { 2 } else { 1 });
//!     assert_eq!(batch.samples[0].maps["rgb"].width, 16);
//! }
//! # Ok(())
//! # }
//! ```

// Values of every type are cast by one expression, in `of_any_type!`.
#![allow(clippy::unnecessary_cast)]

mod arena;
mod arrays;
mod assemble;
mod augment;
mod capped;
mod color;
pub mod convert;
mod dataset;
mod decode;
pub mod doctor;
pub mod encode;
mod error;
mod extensions;
mod file_source;
mod files;
mod folder_kind;
mod frame_file;
pub mod labels;
mod limits;
mod list_columns;
mod lists;
mod loader;
mod map;
mod mask;
mod memory;
mod modality;
mod names;
pub mod packed;
mod pairing_problems;
pub mod parquet;
mod pipeline;
mod raw;
mod rejected;
pub mod resize;
mod sample_files;
mod severity;
pub mod shards;
mod standardize;
mod stream;

pub use arrays::{ArrayValues, ModalityArray};
pub use augment::{Base, Geometry, Placement};
pub use color::ColorAugmentation;
pub use dataset::{
    DataDifference, DataFacts, Dataset, FileSizes, Layout, SampleEntry, Samples, SamplesIter,
    has_folder, is_stored,
};
pub use decode::FileFormat;
pub use error::{Error, Result};
pub use extensions::EXTENSIONS;
pub use limits::MAX_PIXELS;
pub use lists::list_lines;
pub use loader::{
    BadSamples, Batch, Batches, Deal, Loader, LoaderConfig, MixedSet, MixedSource, Order,
    SampleSource, StagedSource,
};
pub use map::{Map, Values};
pub use mask::valid_label;
pub use memory::{DecodeLimits, ModalityFile};
pub use modality::{
    DataModality, Encoding, Excepted, Flip, FlipRule, IMAGENET_MEAN, IMAGENET_STD, Interpolation,
    Naming, Orientation, Quantity, Saturated, Stored, Valid, ValidRule, ValueRules,
};
pub use names::{is_stray, stray_notice};
pub use pairing_problems::PairingProblems;
pub use pipeline::{Pipeline, Sample, view};
pub use raw::{RawMap, RawSample};
pub use rejected::Rejected;
pub use severity::Severity;
pub use standardize::{robust_standardize, robust_statistics};
pub use stream::stream;
