//! Arrays in an HDF5 file that holds one frame.

use std::path::{Path, PathBuf};

use hdf5_pure::{DType, Dataset, File};

use super::Problem;
use crate::hdf5::{DAMAGED, check_chunks, is_half, of_halves, problem_or};

/// An opened file.
pub(super) struct FrameFile {
    path: PathBuf,
    file: File,
}

impl FrameFile {
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let fail = |error: &hdf5_pure::Error| problem_or(error, "it is not a whole HDF5 file");
        // For an error of the system.
        fs_err::metadata(path).map_err(|error| Problem::of(path)(error.to_string()))?;
        let file = File::open_streaming(path).map_err(|error| Problem::of(path)(fail(&error)))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// The bytes of an array of this shape.
    pub(super) fn bytes(&self, name: &str, shape: &[usize]) -> Result<Vec<u8>, Problem> {
        let array = self.array(name, shape)?;
        match self.read(name, array.dtype())? {
            DType::U8 => self.read(name, array.read_u8()),
            other => Err(self.kind(name, &other, "bytes")),
        }
    }

    /// The floats of an array of this shape, of 16, 32 or 64 bits.
    pub(super) fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Problem> {
        let array = self.array(name, shape)?;
        match self.read(name, array.dtype())? {
            DType::F32 => self.read(name, array.read_f32()),
            DType::F64 => self
                .read(name, array.read_f64())
                .map(|values| values.into_iter().map(|value| value as f32).collect()),
            DType::Other(other) if is_half(&other) => {
                self.read(name, array.read_raw()).map(|bytes| of_halves(&bytes))
            }
            other => Err(self.kind(name, &other, "floats")),
        }
    }

    fn array(&self, name: &str, shape: &[usize]) -> Result<Dataset, Problem> {
        let array = self.read(name, self.file.dataset(name))?;
        let found = self.read(name, array.shape())?;
        if !found.iter().copied().eq(shape.iter().map(|&side| side as u64)) {
            let problem = format!("`{name}` has the shape {found:?}, expected {shape:?}");
            return Err(Problem::of(&self.path)(problem));
        }
        check_chunks(&array, self.file.file_size())
            .map_err(|problem| Problem::of(&self.path)(format!("`{name}`: {problem}")))?;
        Ok(array)
    }

    /// Adds the array and the file to an error of the library.
    fn read<T>(&self, name: &str, result: Result<T, hdf5_pure::Error>) -> Result<T, Problem> {
        result.map_err(|error| {
            Problem::of(&self.path)(format!(
                "`{name}` cannot be read: {}",
                problem_or(&error, DAMAGED)
            ))
        })
    }

    fn kind(&self, name: &str, found: &DType, expected: &str) -> Problem {
        Problem::of(&self.path)(format!("`{name}` holds {found}, expected {expected}"))
    }
}
