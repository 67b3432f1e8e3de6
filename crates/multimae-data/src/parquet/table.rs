//! Rows of tables.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ::parquet::file::reader::{FileReader, RowGroupReader};
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::file::statistics::Statistics;
use bytes::Bytes;

use super::chunks::Chunks;
use super::columns::{Column, ColumnKind};
use super::file::{checksum, open, rows_of, same_columns};
use super::leaf::{Leaf, words};
use super::numbers::Array;
use crate::decode::{Problem, guarded};
use crate::{Error, Result};

/// A table in one or several parquet files, open for reading by any number of threads.
pub struct Table {
    files: Vec<TableFile>,
    columns: Vec<Column>,
    rows: usize,
    chunks: Chunks,
    /// By file, row group and column.
    checksums: Mutex<HashMap<(usize, usize, usize), u32>>,
}

struct TableFile {
    path: PathBuf,
    reader: SerializedFileReader<Bytes>,
    /// Its rows in the table.
    rows: Range<usize>,
    /// The first row of each row group in the file.
    groups: Vec<usize>,
}

/// The value of a column in a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// There is none.
    Null,
    /// Bytes, and the name of the file that they come from, if the column notes it.
    Bytes {
        /// The bytes of the file.
        bytes: Bytes,
        /// Its name.
        path: Option<String>,
    },
    /// Numbers in nested lists.
    Array(Array),
    /// An integer, a boolean as 0 or 1, or a class.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Text(String),
}

/// The place of a row in the files.
#[derive(Debug, Clone, Copy)]
struct Place {
    file: usize,
    group: usize,
    /// The row within the group.
    row: usize,
}

impl Table {
    /// Opens files with the same columns; rows are counted through them in this order. The footers
    /// are read, no value is.
    ///
    /// # Errors
    /// [`Error::Table`] if a file is no parquet file, is damaged, or has other columns than the
    /// first one, or if there is no file; [`Error::Io`].
    ///
    /// ```no_run
    /// use std::path::Path;
    /// use multimae_data::parquet::{Table, Value};
    ///
    /// # fn main() -> multimae_data::Result<()> {
    /// let table = Table::open(&["nyuv2/data/val-00000-of-00006.parquet"])?;
    /// let depth = table.column("depth")?;
    /// if let Value::Array(array) = table.value(0, depth)? {
    ///     assert_eq!(array.shape, [1, 288, 384]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self> {
        let mut files = Vec::new();
        let mut columns: Option<Vec<Column>> = None;
        let mut rows = 0;
        for path in paths {
            let path = path.as_ref().to_owned();
            let error = |problem| Error::Table { path: path.clone(), problem };
            let contents = multimae_io::mapping::contents(&path)?;
            let (reader, own) = guarded(|| open(contents)).map_err(error)?;
            match &columns {
                Some(first) => same_columns(first, &own).map_err(error)?,
                None => columns = Some(own),
            }
            let mut count = 0;
            let groups = reader.metadata().row_groups().iter().map(|group| {
                let first = count;
                count += rows_of(group);
                first
            });
            let groups = groups.collect();
            files.push(TableFile { path, reader, rows: rows..rows + count, groups });
            rows += count;
        }
        let columns = columns.ok_or_else(|| Error::Table {
            path: PathBuf::new(),
            problem: "a table needs at least one file".to_owned(),
        })?;
        Ok(Self { files, columns, rows, chunks: Chunks::default(), checksums: Mutex::default() })
    }

    /// The number of rows in all files.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, in the order of the files.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The place of a column by its name.
    ///
    /// # Errors
    /// [`Error::Table`] if there is none; the message names those that are there.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
            let problem = format!("it has no column `{name}`, but {}", names.join(", "));
            Error::Table { path: self.first_path().to_owned(), problem }
        })
    }

    /// The files, and the rows that are in each.
    pub fn files(&self) -> impl Iterator<Item = (&Path, Range<usize>)> {
        self.files.iter().map(|file| (file.path.as_path(), file.rows.clone()))
    }

    /// The number of row groups in all files.
    pub(crate) fn row_groups(&self) -> usize {
        self.files.iter().map(|file| file.groups.len()).sum()
    }

    /// The file of a row.
    ///
    /// # Errors
    /// [`Error::Index`] if there is no such row.
    pub fn file(&self, row: usize) -> Result<&Path> {
        Ok(&self.files[self.place(row)?.file].path)
    }

    /// All values of a row, in the order of the columns; [`Value::Null`] for columns that are not
    /// read ([`ColumnKind::Other`]).
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn row(&self, row: usize) -> Result<Vec<Value>> {
        let value = |(at, column): (usize, &Column)| match column.kind {
            ColumnKind::Other(_) => Ok(Value::Null),
            _ => self.value(row, at),
        };
        self.columns.iter().enumerate().map(value).collect()
    }

    /// One value. See the [module](super) for its cost.
    ///
    /// # Errors
    /// [`Error::Index`] if there is no such row or column; [`Error::Table`] if the column is of a kind
    /// that is not read, or the value is damaged: the message names the row group, the row and the
    /// column.
    pub fn value(&self, row: usize, column: usize) -> Result<Value> {
        let len = self.columns.len();
        let found = self.columns.get(column).ok_or(Error::Index { index: column, len })?;
        let place = self.place(row)?;
        let value = guarded(|| self.read(place, column, found));
        value.map_err(|problem| Error::Table {
            path: self.files[place.file].path.clone(),
            problem: format!(
                "row group {}, row {} of it (row {row} of the table), column `{}`: {problem}",
                place.group, place.row, found.name
            ),
        })
    }

    /// All values of a plain column in the order of the rows: of numbers or text.
    ///
    /// # Errors
    /// As [`Self::value`]; [`Error::Table`] if the column holds bytes or arrays.
    pub fn values(&self, column: usize) -> Result<Vec<Value>> {
        let len = self.columns.len();
        let found = self.columns.get(column).ok_or(Error::Index { index: column, len })?;
        self.each_group(found, |group, rows| match &found.kind {
            ColumnKind::Text => {
                let read = |bytes: Option<Bytes>| match bytes {
                    Some(bytes) => text(&bytes).map(Value::Text),
                    None => Ok(Value::Null),
                };
                found.leaf.all_bytes(group, rows)?.into_iter().map(read).collect()
            }
            ColumnKind::Int { .. } => {
                let ints = found.leaf.ints(group, rows)?.into_iter();
                Ok(ints.map(|int| int.map_or(Value::Null, Value::Int)).collect())
            }
            _ => Err("it is no column of numbers or text".to_owned()),
        })
    }

    /// Whether each row has a value in a column. Values are read only where the file does not note
    /// that all are there.
    pub(crate) fn present(&self, column: usize) -> Result<Vec<bool>> {
        let len = self.columns.len();
        let found = self.columns.get(column).ok_or(Error::Index { index: column, len })?;
        self.each_group(found, |group, rows| {
            let chunk = group.metadata().column(found.leaf.index);
            match chunk.statistics().and_then(Statistics::null_count_opt) {
                Some(0) => Ok(vec![true; rows]),
                _ => found.leaf.present(group, rows),
            }
        })
    }

    /// The share of a row in the stored bytes of its row group's column, and a checksum of what the
    /// file notes about these: their place, sizes, least and greatest value. The bytes themselves are
    /// not read.
    pub(crate) fn size(&self, row: usize, column: usize) -> Option<(u64, u32)> {
        let place = self.place(row).ok()?;
        let group = self.files[place.file].reader.metadata().row_group(place.group);
        let chunk = group.column(self.columns.get(column)?.leaf.index);
        let bytes = u64::try_from(chunk.compressed_size()).ok()?;
        let rows = u64::try_from(group.num_rows()).ok()?.max(1);
        let rest = if place.row == 0 { bytes % rows } else { 0 };
        let mut checksums = self.checksums.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = checksums.entry((place.file, place.group, column));
        Some((bytes / rows + rest, *entry.or_insert_with(|| checksum(chunk))))
    }

    /// The results of all row groups, one after the other.
    fn each_group<T>(
        &self,
        column: &Column,
        read: impl Fn(&dyn RowGroupReader, usize) -> Result<Vec<T>, Problem>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::with_capacity(self.rows);
        for file in &self.files {
            for number in 0..file.reader.metadata().num_row_groups() {
                let part = guarded(|| {
                    let group = file.reader.get_row_group(number).map_err(words)?;
                    read(group.as_ref(), rows_of(group.metadata()))
                });
                all.extend(part.map_err(|problem| Error::Table {
                    path: file.path.clone(),
                    problem: format!("row group {number}, column `{}`: {problem}", column.name),
                })?);
            }
        }
        Ok(all)
    }

    fn first_path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), |file| &file.path)
    }

    fn place(&self, row: usize) -> Result<Place> {
        let outside = Error::Index { index: row, len: self.rows };
        let file = self.files.partition_point(|file| file.rows.end <= row);
        let Some(entry) = self.files.get(file) else { return Err(outside) };
        let row = row - entry.rows.start;
        // Of empty row groups, the last one that begins here holds the row.
        let group = entry.groups.partition_point(|&first| first <= row).checked_sub(1);
        let group = group.ok_or(outside)?;
        Ok(Place { file, group, row: row - entry.groups[group] })
    }

    fn read(&self, place: Place, at: usize, column: &Column) -> Result<Value, Problem> {
        let Place { file, group: number, row } = place;
        let reader = &self.files[file].reader;
        let group = reader.get_row_group(number).map_err(words)?;
        let group = group.as_ref();
        let value = match &column.kind {
            ColumnKind::Bytes => return image(group, column, row),
            ColumnKind::Text => {
                let bytes = Leaf::bytes(group, column.leaf.index, row)?;
                bytes.map(|bytes| text(&bytes)).transpose()?.map(Value::Text)
            }
            ColumnKind::Int { .. } => column.leaf.int(group, row)?.map(Value::Int),
            ColumnKind::Float => column.leaf.float(group, row)?.map(Value::Float),
            ColumnKind::Array { shape, .. } => {
                let array = match group.metadata().column(column.leaf.index).offset_index_offset() {
                    Some(_) => one(column.leaf.arrays(group, shape, (row, 1))?)?,
                    None => self.chunks.array((file, number, at), row, || {
                        column.leaf.arrays(group, shape, (0, rows_of(group.metadata())))
                    })?,
                };
                array.map(Value::Array)
            }
            ColumnKind::Other(words) => {
                return Err(format!("it holds {words}, which is not read"));
            }
        };
        Ok(value.unwrap_or(Value::Null))
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("path", &self.first_path())
            .field("files", &self.files.len())
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// The bytes of a file, with its name.
fn image(group: &dyn RowGroupReader, column: &Column, row: usize) -> Result<Value, Problem> {
    let bytes = Leaf::bytes(group, column.leaf.index, row)?;
    let path = match column.path {
        Some(leaf) => Leaf::bytes(group, leaf, row)?.map(|bytes| text(&bytes)).transpose()?,
        None => None,
    };
    match (bytes, path) {
        (Some(bytes), path) => Ok(Value::Bytes { bytes, path }),
        (None, None) => Ok(Value::Null),
        (None, Some(path)) => Err(format!(
            "the table has the name of a file alone, `{path}`, not its bytes; write the table again \
             with `embed_external_files=True`, or use the files"
        )),
    }
}

fn text(bytes: &Bytes) -> Result<String, Problem> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "its text is not UTF-8".to_owned())
}

/// The only array.
fn one(mut arrays: Vec<Result<Option<Array>, Problem>>) -> Result<Option<Array>, Problem> {
    arrays.pop().unwrap_or_else(|| Err("its row group is shorter".to_owned()))
}
