//! The errors of the data crate.

use std::path::PathBuf;

use crate::capped::Capped;
use crate::pairing_problems::PairingProblems;
use crate::rejected::Rejected;

/// An error between the files of a data set and a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration describes nothing that can be loaded.
    #[error("data configuration: {0}")]
    Config(String),

    /// The folder of a modality is not there.
    #[error(
        "modality `{modality}`: there is no folder {}; check the root of the data set and the \
         folder of this modality",
        path.display()
    )]
    MissingFolder {
        /// The modality.
        modality: String,
        /// The expected place of its folder.
        path: PathBuf,
    },

    /// The files of the modalities do not pair up into samples.
    #[error("data set {}: {problems}", root.display())]
    Pairing {
        /// The root of the data set.
        root: PathBuf,
        /// All of what is wrong.
        problems: Box<PairingProblems>,
    },

    /// A list of sample names is not usable.
    #[error("sample list {}: {problem}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// A data set holds a file or folder that cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// A packed data set cannot be used.
    #[error("pack {}: {problem}", path.display())]
    Pack {
        /// The file.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// A parquet table cannot be used.
    #[error("table {}: {problem}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// The shards of a data set cannot be found or used together.
    #[error("shards {}: {problem}", root.display())]
    Shards {
        /// The place of the data set.
        root: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// One shard cannot be used.
    #[error("shard {}: {problem}", path.display())]
    Shard {
        /// The file.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// One sample is bad. This is the error that [`BadSamples`](crate::BadSamples) is about.
    #[error("sample `{sample}`, modality `{modality}`, {}: {problem}", path.display())]
    Sample {
        /// The id of the sample.
        sample: String,
        /// The modality whose file is bad.
        modality: String,
        /// The file.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// The header of a file claims more pixels than are allowed. Nothing was decoded.
    #[error(
        "sample `{sample}`, modality `{modality}`, {}: it has {height} x {width} pixels (height x \
         width), and at most {limit} pixels are allowed; reduce it or raise the limit",
        path.display()
    )]
    TooLarge {
        /// The id of the sample.
        sample: String,
        /// The modality whose file is too large.
        modality: String,
        /// The file.
        path: PathBuf,
        /// Rows, by the header.
        height: u64,
        /// Columns, by the header.
        width: u64,
        /// The largest number of pixels that is allowed.
        limit: u64,
    },

    /// Bad samples were to be skipped, but a batch has no good one.
    #[error("epoch {epoch}, batch {batch}: every sample is bad:{}", Capped(rejected, "\n  "))]
    EmptyBatch {
        /// The epoch.
        epoch: u64,
        /// The index of the batch in the epoch.
        batch: u64,
        /// The samples and what is wrong with them.
        rejected: Vec<Rejected>,
    },

    /// There is no sample with this index.
    #[error("there is no sample {index}: the data set has {len}")]
    Index {
        /// The index asked for.
        index: usize,
        /// The number of samples.
        len: usize,
    },

    /// The program failed while it made a sample. This is a bug here, not bad data.
    #[error("the loader failed at sample `{sample}` of epoch {epoch}: {problem}")]
    Worker {
        /// The id of the sample.
        sample: String,
        /// The epoch.
        epoch: u64,
        /// The message of the failing thread.
        problem: String,
    },

    /// A file or folder could not be read; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Is this about the data of one sample, so that the sample can be left out?
    #[must_use]
    pub fn is_bad_sample(&self) -> bool {
        matches!(self, Self::Sample { .. })
    }
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
