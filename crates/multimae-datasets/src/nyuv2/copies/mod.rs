//! The copies of NYUv2 that people have besides the official `.mat` file: a file per copy.
//!
//! A copy is recognised by its layout, never by its values. A further copy is a file here with an
//! implementation of [`NyuCopy`], and its entry in [`COPIES`].

mod bts_official;
mod bts_sync;
mod densedepth;
mod eigen_test;
mod fastdepth;
mod files;
mod find;
mod hdf5;
mod ids;
mod mtan;
mod normals;
mod npy;
mod pairs;
mod parquet_arrays;
mod parquet_pictures;
mod prepare;
mod tables;
mod values;

use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Classes, Error, Result};

pub(super) use find::{Found, find, recognise};
pub(super) use prepare::prepare_open;
pub use prepare::{CopyOptions, prepare_copy};

/// All copies, in the order of messages.
const COPIES: [&dyn NyuCopy; 8] = [
    &fastdepth::FastDepth,
    &mtan::Mtan,
    &bts_sync::BtsSync,
    &bts_official::BtsOfficial,
    &densedepth::DenseDepth,
    &eigen_test::EigenTest,
    &parquet_arrays::ParquetArrays,
    &parquet_pictures::ParquetPictures,
];

/// Height and width of the frames of most copies.
const FULL_SIZE: (usize, usize) = (480, 640);

/// A published copy of NYUv2: its layout, and its reader.
pub(super) trait NyuCopy: Debug + Sync {
    /// The name in messages and in the manifest: "NYU Depth V2, ...".
    fn title(&self) -> &'static str;

    /// The files that make up the layout.
    fn layout(&self) -> &'static str;

    /// Whether a path has the layout. Names are looked at, and the header of a table.
    fn recognises(&self, path: &Path) -> bool;

    /// Lists the frames of a recognised path. No picture is decoded.
    ///
    /// # Errors
    /// If files are missing or do not belong together.
    fn open(&self, path: &Path) -> Result<OpenCopy>;
}

/// The frames of a copy, not decoded yet.
#[derive(Debug)]
pub(super) struct OpenCopy {
    frames: Vec<CopyFrame>,
    /// All files that are read, below the path of the copy.
    files: Vec<PathBuf>,
    facts: CopyFacts,
    reader: Box<dyn ReadFrames>,
}

/// A frame of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CopyFrame {
    id: FrameId,
    /// The list that the copy has it on, or the official one.
    list: &'static str,
    /// The scene, if the copy says it; empty otherwise.
    scene: String,
    /// The type of the scene, if the copy says it; empty otherwise.
    scene_type: String,
    /// The file of its colours, below the path of the copy.
    source: String,
}

/// The name of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FrameId {
    /// The official id, from 1.
    Official(u32),
    /// The name in the copy.
    Own(String),
}

impl FrameId {
    fn name(&self) -> String {
        match self {
            Self::Official(id) => super::prepare::name(*id),
            Self::Own(name) => name.clone(),
        }
    }
}

/// The facts about a copy that go to the manifest.
#[derive(Debug)]
struct CopyFacts {
    /// Height and width of every frame.
    size: (usize, usize),
    /// The stored form of depth, and its precision.
    depth: String,
    /// The classes of the labels, if there are labels.
    classes: Option<Classes>,
    /// The stored form of surface normals, if there are any.
    normals: Option<&'static str>,
    /// The part of the frames that the copy declares valid, whatever crop is asked for.
    region: Option<Region>,
    /// Notices, a sentence each.
    notes: Vec<String>,
}

/// A part of all frames.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Region {
    rows: Range<usize>,
    columns: Range<usize>,
    /// Its source.
    reason: &'static str,
}

/// Decodes the frames of a copy, in any order and from several threads.
trait ReadFrames: Debug + Send + Sync {
    /// Decodes the frame of this place among the frames of the copy.
    ///
    /// # Errors
    /// If a file is damaged or has values that the copy does not have.
    fn read(&self, index: usize) -> Result<CopyMaps, Problem>;
}

/// The decoded maps of a frame, row by row.
#[derive(Debug, PartialEq, Eq)]
struct CopyMaps {
    /// `(H, W, 3)`.
    rgb: Vec<u8>,
    /// `(H, W)`, millimetres; 0 where unknown.
    depth: Vec<u16>,
    /// `(H, W)`, class ids; 0 is void.
    labels: Option<Vec<u8>>,
    /// `(H, W, 3)`, surface normals in 8 bits, in the form of [`CopyFacts::normals`].
    normals: Option<Vec<u8>>,
}

/// The problem of a file, and its remedy.
#[derive(Debug)]
struct Problem {
    path: PathBuf,
    text: String,
}

impl Problem {
    /// For `map_err`: adds the file to a problem.
    fn of(path: &Path) -> impl FnOnce(String) -> Self {
        move |text| Self { path: path.to_owned(), text }
    }

    /// The error of a copy that is not opened yet.
    fn input(self) -> Error {
        Error::Input { path: self.path, problem: self.text }
    }
}
