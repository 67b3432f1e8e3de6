//! Parquet tables as the store of a data set: a row is a sample, and a column the folder of a
//! modality.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Store, too_many};
use crate::arena::StringArena;
use crate::assemble::Opened;
use crate::decode::{self, ExifOrientation, Form, Frame, FrameInfo, Order, Pixels, Problem};
use crate::extensions::stem_of;
use crate::files::Files;
use crate::names::composed;
use crate::parquet::{Array, Column, ColumnKind, Numbers, Table, Value, splits};
use crate::{DataModality, Encoding, Error, Result};

/// The columns that may hold the names of samples, in the order in which they are tried.
const NAMES: [&str; 6] = ["id", "image_id", "file_name", "filename", "name", "key"];
/// The least digits of a row's number in a name.
const DIGITS: usize = 5;

/// The tables of a data set, open for reading.
#[derive(Debug)]
pub(crate) struct Tables {
    root: PathBuf,
    pub(super) table: Table,
    /// The name of each split, and its rows.
    pub(super) splits: Vec<(String, Range<usize>)>,
    /// By row.
    ids: StringArena,
    /// The rows in the order of their ids.
    pub(super) by_id: Vec<u32>,
}

impl Tables {
    /// # Errors
    /// [`Error::File`], [`Error::Table`], [`Error::Io`].
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let found = splits(root)?;
        let paths: Vec<&PathBuf> = found.iter().flat_map(|split| &split.paths).collect();
        let table = Table::open(&paths)?;
        let mut ends = table.files().map(|(_, rows)| rows.end);
        let (mut splits, mut first) = (Vec::new(), 0);
        for split in found {
            let last = ends.by_ref().take(split.paths.len()).last().unwrap_or(first);
            splits.push((split.name, first..last));
            first = last;
        }
        drop(ends);
        let ids = match named(&table)? {
            Some(ids) => ids,
            None => numbered(&splits),
        };
        let last = u32::try_from(ids.len()).map_err(|_| too_many(root))?;
        let mut by_id: Vec<u32> = (0..last).collect();
        by_id.sort_unstable_by(|&a, &b| ids[a as usize].cmp(&ids[b as usize]));
        let ids = ids.iter().collect();
        Ok(Self { root: root.to_owned(), table, splits, ids, by_id })
    }

    /// The rows of all splits.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// The ids of the samples, by row.
    pub(crate) fn ids(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.ids.iter()
    }

    /// The row of a sample.
    pub(crate) fn row(&self, id: &str) -> Option<usize> {
        let of = |row: &u32| self.ids.get(*row as usize);
        let place = self.by_id.binary_search_by(|row| of(row).cmp(id)).ok()?;
        Some(self.by_id[place] as usize)
    }

    /// The splits and the ids of their samples.
    pub(crate) fn splits(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        let ids = |rows: &Range<usize>| rows.clone().map(|row| self.ids.get(row).to_owned());
        self.splits.iter().map(move |(name, rows)| (name.as_str(), ids(rows).collect()))
    }

    /// Whether it has a column for a modality.
    pub(super) fn has_folder(&self, folder: &str) -> bool {
        self.table.columns().iter().any(|column| column.name == folder)
    }

    pub(super) fn error(&self, problem: String) -> Error {
        Error::Table { path: self.root.clone(), problem }
    }

    /// The place of a modality's column.
    fn column(&self, modality: &DataModality) -> Result<usize> {
        let columns = self.table.columns();
        let fits =
            |column: &&Column| matches!(column.kind, ColumnKind::Bytes | ColumnKind::Array { .. });
        if let Some(at) = columns.iter().position(|column| column.name == modality.folder) {
            if fits(&&columns[at]) {
                return Ok(at);
            }
            return Err(self.error(format!(
                "modality `{}` reads column `{}`, which holds neither images nor arrays but {:?}",
                modality.name, modality.folder, columns[at].kind
            )));
        }
        let holds: Vec<&str> = columns.iter().filter(fits).map(|c| c.name.as_str()).collect();
        Err(self.error(format!(
            "modality `{}` needs column `{}`, and images and arrays are in {}; set `folder` of the \
             modality to one of them",
            modality.name,
            modality.folder,
            holds.join(", ")
        )))
    }

    /// The place of a modality's column.
    fn place(&self, modality: &DataModality) -> Option<usize> {
        self.table.columns().iter().position(|column| column.name == modality.folder)
    }
}

impl Store for Tables {
    fn path(&self) -> &Path {
        &self.root
    }

    fn files(&self, modality: &DataModality) -> Result<Files> {
        if !modality.naming.is_default() {
            return Err(self.error(format!(
                "`strip_prefix`, `strip_suffix` and `column` of modality `{}` are about names of \
                 files, and a row of a table needs none; leave them out",
                modality.name
            )));
        }
        let present = self.table.present(self.column(modality)?)?;
        let mut files = Files::default();
        for (id, _) in self.ids.iter().zip(present).filter(|(_, present)| *present) {
            files.usable.insert(id.to_owned(), vec![PathBuf::new()]);
        }
        Ok(files)
    }

    fn list(&self, split: &str) -> Result<String> {
        let found = self.splits.iter().find(|(name, _)| name == split);
        let (_, rows) = found.ok_or_else(|| {
            let names: Vec<&str> = self.splits.iter().map(|(name, _)| name.as_str()).collect();
            self.error(format!("it has no split `{split}`, but {}", names.join(", ")))
        })?;
        Ok(rows.clone().map(|row| format!("{}\n", self.ids.get(row))).collect())
    }

    fn id(&self, row: usize) -> Cow<'_, str> {
        Cow::Borrowed(self.ids.get(row))
    }

    fn row(&self, id: &str) -> Option<usize> {
        let place = self.by_id.binary_search_by(|&row| self.ids.get(row as usize).cmp(id));
        self.by_id.get(place.ok()?).map(|&row| row as usize)
    }

    fn file(&self, row: usize, _modality: &DataModality) -> &Path {
        self.table.file(row).unwrap_or(&self.root)
    }

    fn open(&self, row: usize, modality: &DataModality) -> Result<Opened<'_>, Problem> {
        let column = self.place(modality).ok_or("the table has no such column")?;
        match self.table.value(row, column) {
            Ok(Value::Bytes { bytes, .. }) => Opened::decode(&bytes, modality),
            Ok(Value::Array(array)) => {
                let frame = frame(array, &modality.encoding)?;
                decode::check(&frame, ExifOrientation::UPRIGHT, modality)?;
                Ok(Opened::Decoded(frame, ExifOrientation::UPRIGHT))
            }
            Ok(_) => Err(format!("row {row} of column `{}` has no value", modality.folder)),
            // The file is named beside the problem anyway.
            Err(Error::Table { problem, .. }) => Err(problem),
            Err(error) => Err(error.to_string()),
        }
    }

    fn size(&self, row: usize, modality: &DataModality) -> (u64, u32) {
        let column = self.place(modality);
        column.and_then(|column| self.table.size(row, column)).unwrap_or_default()
    }

    fn keeps_files(&self) -> bool {
        false
    }
}

/// The names of samples in a column, if each is there once.
fn named(table: &Table) -> Result<Option<Vec<String>>> {
    for name in NAMES {
        let Some(at) = table.columns().iter().position(|column| column.name == name) else {
            continue;
        };
        if !matches!(table.columns()[at].kind, ColumnKind::Text | ColumnKind::Int { .. }) {
            continue;
        }
        let ids: Option<Vec<String>> = table.values(at)?.iter().map(id_of).collect();
        let Some(ids) = ids else { continue };
        let unique = ids.iter().collect::<std::collections::HashSet<_>>().len() == ids.len();
        if unique {
            return Ok(Some(ids));
        }
    }
    Ok(None)
}

/// The name of a sample by a value, as lists can have it.
fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        Value::Text(text) => {
            let id = composed(stem_of(text).unwrap_or(text));
            let plain = id.trim() == id && !id.starts_with('#') && !id.contains(['\n', '\r']);
            (plain && !id.is_empty()).then_some(id)
        }
        _ => None,
    }
}

/// Names by split and row.
fn numbered(splits: &[(String, Range<usize>)]) -> Vec<String> {
    let of_split = |(name, rows): &(String, Range<usize>)| {
        let digits = rows.len().to_string().len().max(DIGITS);
        let name = name.clone();
        (0..rows.len()).map(move |row| format!("{name}-{row:0digits$}"))
    };
    splits.iter().flat_map(of_split).collect()
}

/// An array as a modality reads it.
fn frame(array: Array, encoding: &Encoding) -> Result<Frame, Problem> {
    let colors = matches!(encoding, Encoding::Color { .. }) || encoding.is_of_color_labels();
    match (encoding, &array.shape[..]) {
        _ if colors => color_frame(array),
        // Channels may come last.
        (Encoding::Continuous { channels, .. }, &[height, width, last])
            if last == *channels && height != *channels =>
        {
            let (form, order) = (Form::Npy { axes: 3 }, Order::Interleaved);
            let info = FrameInfo { height, width, channels: last, form, order };
            Frame::new(info, array.numbers)
        }
        _ => Frame::of_array(&array.shape, array.numbers),
    }
}

/// Colours of 8 bits, `(3, H, W)` or `(H, W, 3)`.
pub(super) fn color_frame(array: Array) -> Result<Frame, Problem> {
    let (form, order) = (Form::Color, Order::Interleaved);
    let info = |height, width| FrameInfo { height, width, channels: 3, form, order };
    match (&array.shape[..], array.numbers) {
        (&[3, height, width], Numbers::U8(planes)) => {
            let area = height * width;
            let rgb = (0..area).flat_map(|at| [0, 1, 2].map(|channel| planes[channel * area + at]));
            let rgb = rgb.collect();
            Frame::new(info(height, width), Pixels::U8(rgb))
        }
        (&[height, width, 3], Numbers::U8(rgb)) => Frame::new(info(height, width), Pixels::U8(rgb)),
        (shape, numbers) => Err(format!(
            "it is an array of {} of shape {shape:?}, and colours are images, or arrays of 8 bits \
             (3, height, width) or (height, width, 3); read it with `kind: continuous` and \
             `channels`, or write it as colours",
            numbers.descr()
        )),
    }
}
