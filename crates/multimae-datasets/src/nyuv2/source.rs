//! The labelled frames in `nyu_depth_v2_labeled.mat`: MATLAB v7.3, which is HDF5.
//!
//! HDF5 has the axes in the opposite order of MATLAB's: a picture is stored as `(3, W, H)`, a map
//! as `(W, H)`, frame by frame. Only the frames that are asked for are read.

use std::path::{Path, PathBuf};

use hdf5_pure::{DType, Dataset, File, Object};

use super::{Error, Result};
use crate::hdf5::{DAMAGED, MOST_BYTES, check_chunks, problem_or};

/// The opened file.
pub(super) struct Source {
    path: PathBuf,
    file: File,
    images: Dataset,
    depths: Dataset,
    labels: Dataset,
    raw_depths: Option<Dataset>,
    pub(super) shape: Shape,
}

/// The sizes of the arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) frames: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Shape {
    /// Bytes of a frame in memory: RGB, depth, labels and perhaps the depth with holes.
    fn frame_bytes(self, raw: bool) -> usize {
        self.height * self.width * (3 + 2 + 4 + if raw { 4 } else { 0 })
    }
}

/// Some frames that follow each other in the file, as stored.
pub(super) struct Block {
    shape: Shape,
    images: Vec<u8>,
    depths: Vec<f32>,
    labels: Vec<u16>,
    raw_depths: Option<Vec<f32>>,
}

/// One frame as stored: `(3, W, H)` and `(W, H)`.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) image: &'a [u8],
    /// Metres, in-painted.
    pub(super) depth: &'a [f32],
    pub(super) label: &'a [u16],
    /// Metres, 0 where the sensor saw nothing; only if it was asked for.
    pub(super) raw_depth: Option<&'a [f32]>,
}

impl Source {
    /// Opens the file and checks its arrays. `raw` asks for the depth with holes, too.
    pub(super) fn open(path: &Path, raw: bool) -> Result<Self> {
        // For an error with the path.
        drop(fs_err::File::open(path)?);
        let open = |problem| Error::Input { path: path.to_owned(), problem };
        let file = File::open_streaming(path).map_err(|error| {
            let otherwise = "it is not a whole MATLAB v7.3 (HDF5) file";
            open(problem_or(&error, otherwise))
        })?;
        let (found, expected) = (file.file_size(), file.superblock().eof_address);
        if found < expected {
            return Err(open(format!(
                "it has {found} bytes and should have {expected}: it is truncated; copy or \
                 download it again"
            )));
        }
        let unread = |name: &str, error: &hdf5_pure::Error| {
            open(format!("`{name}`: {}", problem_or(error, "it cannot be read")))
        };
        let array = |name: &str, dtype: &DType| -> Result<Dataset> {
            let array = file.dataset(name).map_err(|error| unread(name, &error))?;
            let found = array.dtype().map_err(|error| unread(name, &error))?;
            if found != *dtype {
                return Err(open(format!("`{name}` holds {found:?}, expected {dtype:?}")));
            }
            check_chunks(&array, file.file_size())
                .map_err(|problem| open(format!("`{name}`: {problem}")))?;
            Ok(array)
        };
        let images = array("images", &DType::U8)?;
        let depths = array("depths", &DType::F32)?;
        let labels = array("labels", &DType::U16)?;
        let raw_depths = if raw { Some(array("rawDepths", &DType::F32)?) } else { None };
        let shape_of = |array: &Dataset, name: &str| -> Result<Vec<u64>> {
            array.shape().map_err(|error| unread(name, &error))
        };
        let shape = picture_shape(&shape_of(&images, "images")?).map_err(open)?;
        if shape.frame_bytes(raw) > MOST_BYTES {
            return Err(open(format!(
                "a frame of {} x {} pixels (rows x columns) takes more than {} MiB",
                shape.height,
                shape.width,
                MOST_BYTES >> 20
            )));
        }
        let others = [
            ("depths", Some(&depths)),
            ("labels", Some(&labels)),
            ("rawDepths", raw_depths.as_ref()),
        ];
        for (name, array) in others {
            let Some(array) = array else { continue };
            check_map_shape(name, &shape_of(array, name)?, shape).map_err(open)?;
        }
        Ok(Self { path: path.to_owned(), file, images, depths, labels, raw_depths, shape })
    }

    /// Returns the number of frames to read at a time with this number of threads: as many as share
    /// a chunk of the file, since a chunk can only be unpacked as a whole; fewer if they do not fit
    /// into memory.
    pub(super) fn frames_at_a_time(&self, threads: usize) -> Result<usize> {
        let arrays =
            [Some(&self.images), Some(&self.depths), Some(&self.labels), self.raw_depths.as_ref()];
        let mut chunk = 1;
        for array in arrays.into_iter().flatten() {
            let shape = array.chunk_shape().map_err(|error| self.problem("its chunks", &error))?;
            chunk = chunk.max(shape.and_then(|shape| shape.first().copied()).unwrap_or(1));
        }
        let frame = self.shape.frame_bytes(self.raw_depths.is_some());
        let fit = (MOST_BYTES / threads.max(1) / frame.max(1)).max(1);
        Ok(usize::try_from(chunk).unwrap_or(usize::MAX).min(fit))
    }

    /// Reads `count` frames from the frame `first` on.
    pub(super) fn read(&self, first: usize, count: usize) -> Result<Block> {
        let (from, rows) = (first as u64, count as u64);
        let fail = |name: &'static str| move |error| self.problem(name, &error);
        let raw_depths = match &self.raw_depths {
            Some(array) => Some(array.read_f32_rows(from, rows).map_err(fail("rawDepths"))?),
            None => None,
        };
        let block = Block {
            shape: Shape { frames: count, ..self.shape },
            images: self.images.read_u8_rows(from, rows).map_err(fail("images"))?,
            depths: self.depths.read_f32_rows(from, rows).map_err(fail("depths"))?,
            labels: self.labels.read_u16_rows(from, rows).map_err(fail("labels"))?,
            raw_depths,
        };
        if block.is_whole() {
            Ok(block)
        } else {
            Err(self.input(format!("frames {first} to {} are not whole", first + count)))
        }
    }

    /// The strings in a cell array, `None` if the file has no array of this name.
    pub(super) fn strings(&self, name: &str) -> Result<Option<Vec<String>>> {
        let fail = |error| self.problem(name, &error);
        let known = self.file.root().datasets().map_err(fail)?;
        if !known.iter().any(|known| known == name) {
            return Ok(None);
        }
        let cells = self.file.dataset(name).and_then(|cells| cells.dereference()).map_err(fail)?;
        cells.iter().map(|cell| self.string(name, cell)).collect::<Result<_>>().map(Some)
    }

    /// A string: UTF-16 units, one per element.
    fn string(&self, name: &str, cell: &Object) -> Result<String> {
        let Object::Dataset(units) = cell else {
            return Err(self.input(format!("`{name}` refers to something that is no text")));
        };
        let units = units.read_u16().map_err(|error| self.problem(name, &error))?;
        String::from_utf16(&units)
            .map_err(|_| self.input(format!("`{name}` refers to text that is not UTF-16")))
    }

    /// An error of this file.
    pub(super) fn input(&self, problem: String) -> Error {
        Error::Input { path: self.path.clone(), problem }
    }

    fn problem(&self, name: &str, error: &hdf5_pure::Error) -> Error {
        self.input(format!("`{name}` cannot be read: {}", problem_or(error, DAMAGED)))
    }
}

/// Whether a file is HDF5 and has the arrays of NYUv2, whatever their shapes.
pub(super) fn is_mat(path: &Path) -> bool {
    let has = |file: File| -> std::result::Result<bool, hdf5_pure::Error> {
        let known = file.root().datasets()?;
        let has = |name: &str| known.iter().any(|known| known == name);
        Ok(["images", "depths", "labels"].into_iter().all(has))
    };
    matches!(hdf5_pure::is_hdf5(path), Ok(true))
        && File::open_streaming(path).and_then(has).unwrap_or(false)
}

/// Reads everything that a file may hold, and drops it.
#[cfg(fuzzing)]
pub fn read_all(path: &Path) {
    for raw in [false, true] {
        let Ok(source) = Source::open(path, raw) else { continue };
        let Ok(count) = source.frames_at_a_time(1) else { continue };
        if let Ok(block) = source.read(0, count.min(source.shape.frames)) {
            let _ = block.frames().count();
        }
        for name in ["names", "scenes"] {
            let _ = source.strings(name);
        }
    }
}

fn picture_shape(shape: &[u64]) -> std::result::Result<Shape, String> {
    let side = |side: u64| usize::try_from(side).ok().filter(|side| (1..=1 << 14).contains(side));
    match *shape {
        [frames, 3, width, height] => side(width)
            .zip(side(height))
            .zip(usize::try_from(frames).ok())
            .map(|((width, height), frames)| Shape { frames, height, width }),
        _ => None,
    }
    .ok_or_else(|| format!("`images` has the shape {shape:?}, expected (frames, 3, width, height)"))
}

fn check_map_shape(name: &str, found: &[u64], shape: Shape) -> std::result::Result<(), String> {
    let expected = [shape.frames, shape.width, shape.height].map(|side| side as u64);
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "`{name}` has the shape {found:?}, and by that of `images` it should be {expected:?}"
    ))
}

impl Block {
    fn is_whole(&self) -> bool {
        let pixels = self.shape.frames * self.shape.height * self.shape.width;
        let raw = self.raw_depths.as_ref().map_or(pixels, Vec::len);
        (self.images.len(), self.depths.len(), self.labels.len(), raw)
            == (3 * pixels, pixels, pixels, pixels)
    }

    /// The frames of the block, in order.
    pub(super) fn frames(&self) -> impl Iterator<Item = Stored<'_>> {
        let pixels = self.shape.height * self.shape.width;
        (0..self.shape.frames).map(move |index| {
            let map = index * pixels..(index + 1) * pixels;
            Stored {
                image: &self.images[3 * map.start..3 * map.end],
                depth: &self.depths[map.clone()],
                label: &self.labels[map.clone()],
                raw_depth: self.raw_depths.as_ref().map(|raw| &raw[map.clone()]),
            }
        })
    }
}
