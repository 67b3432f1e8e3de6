//! Reading the values of one stored column of a row group.

use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::file::reader::RowGroupReader;
use ::parquet::schema::types::ColumnDescriptor;
use bytes::Bytes;

use super::columns::number_type;
use super::convert;
use super::numbers::{Array, NumberType, Numbers};
use super::shape::shape;
use crate::decode::Problem;

/// A stored column, and the meaning of its levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) index: usize,
    /// The definition level of a value that is there.
    present: i16,
    /// The number of lists around a value.
    lists: i16,
    /// Whether a row may have no value at all; its definition level is then 0.
    optional: bool,
    /// The type of its numbers, if it holds numbers.
    numbers: Option<NumberType>,
}

/// The levels of one row. They are absent where every value is there, or no list is around it.
#[derive(Debug, Default)]
struct Levels {
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl Leaf {
    pub(super) fn of(index: usize, column: &ColumnDescriptor, optional: bool) -> Self {
        let (present, lists) = (column.max_def_level(), column.max_rep_level());
        Self { index, present, lists, optional, numbers: number_type(column).ok() }
    }

    /// The bytes of one row of a plain column; `None` where there are none.
    pub(super) fn bytes(
        group: &dyn RowGroupReader,
        leaf: usize,
        row: usize,
    ) -> Result<Option<Bytes>, Problem> {
        let ColumnReader::ByteArrayColumnReader(mut reader) = reader(group, leaf)? else {
            return Err("it holds no bytes".to_owned());
        };
        skip(&mut reader, row)?;
        let (_, mut values) = next(&mut reader)?;
        Ok(values.pop().map(|value| Bytes::copy_from_slice(value.data())))
    }

    /// The bytes of all rows of a plain column.
    pub(super) fn all_bytes(
        &self,
        group: &dyn RowGroupReader,
        rows: usize,
    ) -> Result<Vec<Option<Bytes>>, Problem> {
        let ColumnReader::ByteArrayColumnReader(mut reader) = reader(group, self.index)? else {
            return Err("it holds no bytes".to_owned());
        };
        let bytes = |value: ByteArray| Bytes::copy_from_slice(value.data());
        (0..rows).map(|_| Ok(next(&mut reader)?.1.pop().map(bytes))).collect()
    }

    /// The integers of all rows of a plain column.
    pub(super) fn ints(
        &self,
        group: &dyn RowGroupReader,
        rows: usize,
    ) -> Result<Vec<Option<i64>>, Problem> {
        let mut ints = Vec::new();
        self.each(group, (0, rows), &mut |_, numbers| {
            ints.push(int(&numbers));
            Ok(())
        })?;
        Ok(ints)
    }

    /// Whether each row has a value.
    pub(super) fn present(
        &self,
        group: &dyn RowGroupReader,
        rows: usize,
    ) -> Result<Vec<bool>, Problem> {
        if self.numbers.is_none() {
            return Ok(self.all_bytes(group, rows)?.iter().map(Option::is_some).collect());
        }
        let mut present = Vec::new();
        self.each(group, (0, rows), &mut |levels, _| {
            // An empty list is there, and an error where it is read.
            present.push(levels.definitions[..] != [0] || !self.optional);
            Ok(())
        })?;
        Ok(present)
    }

    /// The integer of one row of a plain column; `None` where there is none.
    pub(super) fn int(
        &self,
        group: &dyn RowGroupReader,
        row: usize,
    ) -> Result<Option<i64>, Problem> {
        Ok(self.number(group, row)?.as_ref().and_then(int))
    }

    /// The float of one row of a plain column; `None` where there is none.
    pub(super) fn float(
        &self,
        group: &dyn RowGroupReader,
        row: usize,
    ) -> Result<Option<f64>, Problem> {
        let first = self.number(group, row)?.and_then(|numbers| match numbers {
            Numbers::F32(values) => values.first().map(|&value| value.into()),
            Numbers::F64(values) => values.first().copied(),
            _ => None,
        });
        Ok(first)
    }

    fn number(&self, group: &dyn RowGroupReader, row: usize) -> Result<Option<Numbers>, Problem> {
        let mut found = None;
        self.each(group, (row, 1), &mut |levels, numbers| {
            let there = levels.definitions.first().is_none_or(|&level| level == self.present);
            found = there.then_some(numbers);
            Ok(())
        })?;
        Ok(found)
    }

    /// The arrays of `count` rows from `first`; `None` where there are none. `noted`: the length of
    /// each axis, where it is known.
    pub(super) fn arrays(
        &self,
        group: &dyn RowGroupReader,
        noted: &[Option<usize>],
        (first, count): (usize, usize),
    ) -> Result<Vec<Result<Option<Array>, Problem>>, Problem> {
        let mut arrays = Vec::new();
        self.each(group, (first, count), &mut |levels, numbers| {
            arrays.push(self.array(&levels, numbers, noted));
            Ok(())
        })?;
        Ok(arrays)
    }

    fn array(
        &self,
        levels: &Levels,
        numbers: Numbers,
        noted: &[Option<usize>],
    ) -> Result<Option<Array>, Problem> {
        match levels.definitions[..] {
            [0] if self.optional => return Ok(None),
            [level] if level < self.present => {
                return Err("its list is empty".to_owned());
            }
            _ => {}
        }
        let missing = levels.definitions.iter().position(|&level| level < self.present);
        if let Some(place) = missing {
            return Err(format!("its number {place} is missing (null) within the array"));
        }
        let shape = shape(&levels.repetitions, self.lists)?;
        let fits = |(found, noted): (&usize, &Option<usize>)| noted.is_none_or(|n| n == *found);
        if !shape.iter().zip(noted).all(fits) {
            let noted: Vec<String> =
                noted.iter().map(|n| n.map_or("any".to_owned(), |n| n.to_string())).collect();
            return Err(format!(
                "its shape is {shape:?}, and the file notes [{}]",
                noted.join(", ")
            ));
        }
        Ok(Some(Array { shape, numbers }))
    }

    /// Reads `count` rows from `first` one after the other.
    fn each(
        &self,
        group: &dyn RowGroupReader,
        rows: (usize, usize),
        take: &mut dyn FnMut(Levels, Numbers) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        match reader(group, self.index)? {
            ColumnReader::Int32ColumnReader(reader) => {
                walk(reader, rows, |values| convert::of_i32(values, self.numbers), take)
            }
            ColumnReader::Int64ColumnReader(reader) => {
                walk(reader, rows, |values| convert::of_i64(values, self.numbers), take)
            }
            ColumnReader::BoolColumnReader(reader) => {
                walk(reader, rows, |values| Ok(convert::of_bools(&values)), take)
            }
            ColumnReader::FloatColumnReader(reader) => {
                walk(reader, rows, |values| Ok(Numbers::F32(values)), take)
            }
            ColumnReader::DoubleColumnReader(reader) => {
                walk(reader, rows, |values| Ok(Numbers::F64(values)), take)
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                walk(reader, rows, |values| convert::of_halves(&values), take)
            }
            _ => Err("it holds no numbers".to_owned()),
        }
    }
}

/// The first number, if it is an integer.
fn int(numbers: &Numbers) -> Option<i64> {
    match numbers {
        Numbers::U8(values) => values.first().map(|&value| value.into()),
        Numbers::U16(values) => values.first().map(|&value| value.into()),
        Numbers::U32(values) => values.first().map(|&value| value.into()),
        Numbers::I8(values) => values.first().map(|&value| value.into()),
        Numbers::I16(values) => values.first().map(|&value| value.into()),
        Numbers::I32(values) => values.first().map(|&value| value.into()),
        Numbers::I64(values) => values.first().copied(),
        Numbers::F32(_) | Numbers::F64(_) => None,
    }
}

/// The error of the library, as it says it.
pub(super) fn words(error: ::parquet::errors::ParquetError) -> Problem {
    error.to_string()
}

fn reader(group: &dyn RowGroupReader, leaf: usize) -> Result<ColumnReader, Problem> {
    group.get_column_reader(leaf).map_err(words)
}

fn skip<T: DataType>(reader: &mut ColumnReaderImpl<T>, rows: usize) -> Result<(), Problem> {
    match reader.skip_records(rows).map_err(words)? {
        skipped if skipped == rows => Ok(()),
        skipped => Err(format!("its column ends after {skipped} rows of the row group")),
    }
}

/// The levels and the values of the next row.
fn next<T: DataType>(reader: &mut ColumnReaderImpl<T>) -> Result<(Levels, Vec<T::T>), Problem> {
    let (mut levels, mut values) = (Levels::default(), Vec::new());
    let (definitions, repetitions) = (&mut levels.definitions, &mut levels.repetitions);
    let read = reader.read_records(1, Some(definitions), Some(repetitions), &mut values);
    match read.map_err(words)?.0 {
        1 => Ok((levels, values)),
        _ => Err("its column ends before this row".to_owned()),
    }
}

fn walk<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    (first, count): (usize, usize),
    convert: impl Fn(Vec<T::T>) -> Result<Numbers, Problem>,
    take: &mut dyn FnMut(Levels, Numbers) -> Result<(), Problem>,
) -> Result<(), Problem> {
    skip(&mut reader, first)?;
    for _ in 0..count {
        let (levels, values) = next(&mut reader)?;
        take(levels, convert(values)?)?;
    }
    Ok(())
}
