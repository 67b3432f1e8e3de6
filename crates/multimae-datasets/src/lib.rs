//! Published data sets, prepared for training: a module per data set.
//!
//! The published files come in; a folder of frames, lists of splits and a manifest go out, in the
//! layout that `multimae-data` reads.
//!
//! * [`PrepareDataset`] is the interface of a data set: its name, its input files and options, its
//!   output, and [`prepare`](PrepareDataset::prepare).
//! * [`registry`] lists all of them; the command line is generated from it.
//! * One writer serves all data sets: names of files, lists, manifest, checksums, statistics,
//!   threads, resuming. A data set only turns its files into frames.
//! * [`recognise`] says which data set a file or folder holds that is not prepared yet.
//!
//! A further data set is a module with an implementation of [`PrepareDataset`], and its lines here: the
//! module and an entry of [`registry`].
//!
//! ```
//! use multimae_datasets::registry;
//!
//! let nyuv2 = registry().iter().find(|dataset| dataset.name() == "nyuv2").unwrap();
//! let needs: Vec<&str> = nyuv2.needs().iter().map(|option| option.name).collect();
//! assert!(needs.contains(&"mat"));
//! ```

pub mod ade20k;
mod checksum;
mod csv;
mod dataset;
mod decoded;
mod error;
mod folder;
mod frame;
mod hdf5;
pub mod hypersim;
pub mod imagenet;
pub mod nyuv2;
mod options;
mod recognise;
mod run;
mod source_files;
mod statistics;
pub mod sunrgbd;
pub mod taskonomy;

/// The parsers of published files, for the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::nyuv2::{read_mat5, read_mat73};
}

pub use dataset::PrepareDataset;
pub use error::{Error, Result};
pub use options::{Choice, OptionInfo, OptionKind, OptionValues};
pub use recognise::{Recognised, recognise};
pub use run::{Outcome, PrepareRun, Progress, Summary};
pub use statistics::Statistics;

/// All data sets, in the order of the command line.
#[must_use]
pub fn registry() -> &'static [&'static dyn PrepareDataset] {
    &[
        &nyuv2::Nyuv2,
        &ade20k::Ade20k,
        &hypersim::Hypersim,
        &taskonomy::Taskonomy,
        &sunrgbd::SunRgbd,
        &imagenet::ImagenetMultitask,
    ]
}
