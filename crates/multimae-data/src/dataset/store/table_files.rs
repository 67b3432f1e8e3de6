//! The values of tables as files, to be written in another form.

use std::path::{Path, PathBuf};

use super::Store;
use super::table::{Tables, color_frame};
use crate::arena::StringArena;
use crate::decode::Problem;
use crate::folder_kind::Kind;
use crate::parquet::{ColumnKind, Value};
use crate::sample_files::{SampleFile, SampleFileState, SampleFiles};
use crate::{Error, FileFormat, Result, frame_file};

/// The images of some columns as they are, and their arrays as npy files; arrays of colours become
/// images.
pub(crate) struct TableFiles {
    tables: Tables,
    columns: Vec<Column>,
    /// The rows that have a value, in the order of their ids.
    rows: Vec<usize>,
    ids: StringArena,
}

struct Column {
    place: usize,
    holds_colors: bool,
    /// By row.
    present: Vec<bool>,
}

impl TableFiles {
    /// # Errors
    /// Those of opening the tables; [`Error::Table`] if there is no such column, or no value.
    pub(crate) fn open(root: &Path, columns: &[&str]) -> Result<Self> {
        let tables = Tables::open(root)?;
        let columns = columns.iter().map(|name| {
            let place = tables.table.column(name)?;
            let holds_colors = Kind::of_name(name) == Some(Kind::Color);
            Ok(Column { place, holds_colors, present: tables.table.present(place)? })
        });
        let columns = columns.collect::<Result<Vec<Column>>>()?;
        let has = |row: &usize| columns.iter().any(|own| own.present.get(*row) == Some(&true));
        let rows = tables.by_id.iter().map(|&row| row as usize);
        let rows: Vec<usize> = rows.filter(has).collect();
        if rows.is_empty() {
            return Err(tables.error("no row has a value in any of the columns".to_owned()));
        }
        let ids = rows.iter().map(|&row| tables.id(row)).collect();
        Ok(Self { tables, columns, rows, ids })
    }

    fn place(&self, sample: usize, folder: usize) -> Option<(usize, &Column)> {
        let (&row, column) = self.rows.get(sample).zip(self.columns.get(folder))?;
        (column.present.get(row) == Some(&true)).then_some((row, column))
    }

    fn path(&self, row: usize) -> PathBuf {
        self.tables.table.file(row).unwrap_or(self.tables.path()).to_owned()
    }
}

impl SampleFiles for TableFiles {
    fn root(&self) -> &Path {
        self.tables.path()
    }

    fn ids(&self) -> &StringArena {
        &self.ids
    }

    fn file(&self, sample: usize, folder: usize) -> Result<Option<SampleFile>> {
        let Some((row, column)) = self.place(sample, folder) else { return Ok(None) };
        let path = self.path(row);
        let extension = match self.tables.table.value(row, column.place)? {
            Value::Bytes { bytes, .. } => {
                let format = FileFormat::infer(&bytes).ok_or_else(|| Error::Table {
                    path: path.clone(),
                    problem: format!("row {row} holds bytes that are no image or array"),
                })?;
                format.extension()
            }
            _ if column.holds_colors => "png",
            _ => "npy",
        };
        Ok(Some(SampleFile { path, extension: extension.to_owned() }))
    }

    fn state(&self, sample: usize, folder: usize) -> Result<SampleFileState> {
        let row = self.place(sample, folder).map(|(row, _)| row).unwrap_or_default();
        let modified = fs_err::metadata(self.path(row))?.modified()?;
        Ok(SampleFileState { len: None, modified })
    }

    fn read(&self, sample: usize, folder: usize) -> Result<Vec<u8>, Problem> {
        let (row, column) = self.place(sample, folder).ok_or("the table has no such value")?;
        match self.tables.table.value(row, column.place).map_err(|error| error.to_string())? {
            Value::Bytes { bytes, .. } => Ok(bytes.to_vec()),
            Value::Array(array) if column.holds_colors => frame_file::encode(&color_frame(array)?),
            Value::Array(array) => frame_file::array(&array.numbers, &array.shape),
            _ => Err(format!("row {row} has no image or array")),
        }
    }

    fn lists(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let list = |(name, rows): &(String, std::ops::Range<usize>)| {
            let text: String =
                rows.clone().map(|row| format!("{}\n", self.tables.id(row))).collect();
            (name.clone(), text.into_bytes())
        };
        Ok(self.tables.splits.iter().map(list).collect())
    }
}

/// The columns of tables that hold images or arrays, and their kinds as far as their names tell.
///
/// # Errors
/// Those of opening the tables.
pub(crate) fn columns(root: &Path) -> Result<Vec<(String, Option<Kind>)>> {
    let tables = Tables::open(root)?;
    let columns = tables.table.columns().iter();
    let columns =
        columns.filter(|own| matches!(own.kind, ColumnKind::Bytes | ColumnKind::Array { .. }));
    Ok(columns.map(|own| (own.name.clone(), Kind::of_name(&own.name))).collect())
}
