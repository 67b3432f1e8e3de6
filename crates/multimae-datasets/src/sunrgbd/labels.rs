//! The labels of all frames in `SUNRGBD2Dseg.mat`: MATLAB v7.3, which is HDF5.

use std::path::{Path, PathBuf};

use hdf5_pure::{DType, Dataset, File, Object};

use crate::hdf5::{DAMAGED, check_chunks, problem_or};
use crate::{Error, Result};

/// The cells with the class of every pixel, in the order of `SUNRGBDMeta.mat`.
const CELLS: &str = "SUNRGBD2Dseg/seglabel";
/// The classes; 0 is void.
pub(super) const CLASSES: u16 = 37;

/// The opened file.
pub(super) struct Labels {
    path: PathBuf,
    file: File,
    cells: Vec<Object>,
}

impl Labels {
    /// Opens the file. No label is read yet: all together take more than 60 GB.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // For an error with the path.
        drop(fs_err::File::open(path)?);
        let input = |problem| Error::Input { path: path.to_owned(), problem };
        let file = File::open_streaming(path).map_err(|error| {
            input(problem_or(&error, "it is not a whole MATLAB v7.3 (HDF5) file"))
        })?;
        let cells = file.dataset(CELLS).and_then(|cells| cells.dereference());
        let cells = cells.map_err(|error| {
            input(problem_or(
                &error,
                "it has no SUNRGBD2Dseg.seglabel; it is damaged or another file",
            ))
        })?;
        Ok(Self { path: path.to_owned(), file, cells })
    }

    /// The number of frames that have labels.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The labels of the frame at a place, `(H, W)` of this size.
    ///
    /// # Errors
    /// [`Error::Frame`] if they are damaged, have another size or ids that are no class.
    pub(super) fn read(&self, place: usize, frame: &str, size: (usize, usize)) -> Result<Vec<u8>> {
        self.upright(place, size).map_err(|problem| Error::Frame {
            path: self.path.clone(),
            frame: frame.to_owned(),
            problem,
        })
    }

    fn upright(
        &self,
        place: usize,
        (height, width): (usize, usize),
    ) -> std::result::Result<Vec<u8>, String> {
        let Some(Object::Dataset(stored)) = self.cells.get(place) else {
            return Err(format!("its cell {} of seglabel holds no array", place + 1));
        };
        check_chunks(stored, self.file.file_size())?;
        let damaged = |error: hdf5_pure::Error| problem_or(&error, DAMAGED);
        let shape = stored.shape().map_err(damaged)?;
        // The axes of MATLAB are stored in the opposite order.
        if shape != [width as u64, height as u64] {
            return Err(format!(
                "its labels have the shape {shape:?} (columns, rows), and its depth has {width} x {height} pixels"
            ));
        }
        let values = values(stored).map_err(damaged)?.ok_or("its labels are no integers")?;
        let mut labels = Vec::with_capacity(values.len());
        for row in 0..height {
            for column in 0..width {
                let value = values.get(column * height + row).copied().unwrap_or(u16::MAX);
                if value > CLASSES {
                    return Err(format!(
                        "row {row}, column {column}: label {value}; labels end at {CLASSES}"
                    ));
                }
                labels.push(value as u8);
            }
        }
        Ok(labels)
    }
}

/// The values of an array of whole numbers in any type; `None` of others.
fn values(array: &Dataset) -> std::result::Result<Option<Vec<u16>>, hdf5_pure::Error> {
    let whole = |value: &f64| if value.fract() == 0.0 { *value as u16 } else { u16::MAX };
    Ok(match array.dtype()? {
        DType::U8 => Some(array.read_u8()?.into_iter().map(u16::from).collect()),
        DType::U16 => Some(array.read_u16()?),
        DType::F64 => Some(array.read_f64()?.iter().map(whole).collect()),
        _ => None,
    })
}
