//! The index of format 1: packs of decoded frames alone.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::index::{FolderEntry, Form, Index, Oriented, Record, Shape, damaged};
use super::source::SourceFacts;
use super::{Content, Shrink};
use crate::arena::StringArena;
use crate::names::composed;

#[derive(Serialize, Deserialize)]
struct IndexV1 {
    folders: Vec<Folder>,
    shapes: Vec<Shape>,
    samples: Vec<Sample>,
    lists: Vec<(String, String)>,
    source: SourceFacts,
    shrink: Option<Shrink>,
    shrunk: u64,
    left_out: u64,
}

#[derive(Serialize, Deserialize)]
struct Folder {
    name: String,
    content: Content,
    labels: Option<Vec<i64>>,
}

#[derive(Serialize, Deserialize)]
struct Sample {
    id: String,
    frames: Vec<Option<Place>>,
}

#[derive(Serialize, Deserialize)]
struct Place {
    offset: u64,
    shape: u32,
    crc: u32,
}

/// Reads an index of format 1.
///
/// # Errors
/// The problem.
pub(super) fn parse(bytes: &[u8]) -> Result<Index, String> {
    let bad = |error: postcard::Error| damaged(&error.to_string());
    let (index, rest): (IndexV1, _) = postcard::take_from_bytes(bytes).map_err(bad)?;
    // Behind the rest of the index, and only if a file carries an orientation: older packs do
    // without.
    let oriented: Vec<Oriented> = match rest {
        [] => Vec::new(),
        rest => postcard::from_bytes(rest).map_err(bad)?,
    };
    let mut samples = index.samples;
    if !samples.is_sorted_by(|a, b| a.id < b.id) {
        return Err(damaged("its samples are not in order"));
    }
    // Older packs have names as the file system had them.
    samples.iter_mut().for_each(|sample| sample.id = composed(&sample.id));
    samples.sort_by(|a, b| a.id.cmp(&b.id));
    let mut records = Vec::new();
    for sample in &samples {
        if sample.frames.len() != index.folders.len() {
            return Err(damaged(&format!("sample `{}`", sample.id)));
        }
        for place in &sample.frames {
            let record = place.as_ref().map(|place| place.record(&index.shapes));
            let record = record.map(|record| {
                record.ok_or_else(|| damaged(&format!("a frame of sample `{}`", sample.id)))
            });
            records.push(record.transpose()?);
        }
    }
    let folder =
        |Folder { name, content, labels }| FolderEntry { name, content, labels, encoded: false };
    Ok(Index {
        folders: index.folders.into_iter().map(folder).collect(),
        forms: index.shapes.into_iter().map(Form::Values).collect(),
        ids: samples.iter().map(|sample| &sample.id).collect::<StringArena>(),
        records,
        lists: index.lists,
        source: index.source,
        shrink: index.shrink,
        shrunk: index.shrunk,
        left_out: index.left_out,
        oriented,
    })
}

impl Place {
    fn record(&self, shapes: &[Shape]) -> Option<Record> {
        let len = shapes.get(self.shape as usize)?.len()?;
        let offset = NonZeroU64::new(self.offset)?;
        Some(Record { offset, len, form: self.shape, crc: self.crc })
    }
}

/// The bytes of an index of decoded frames.
///
/// # Errors
/// If it cannot be written as bytes.
pub(super) fn to_bytes(index: &Index) -> Result<Vec<u8>, String> {
    let place =
        |record: Record| Place { offset: record.offset.get(), shape: record.form, crc: record.crc };
    let sample = |(at, id): (usize, &str)| {
        let folders = 0..index.folders.len();
        let frames = folders.map(|folder| index.record(at, folder).map(place)).collect();
        Sample { id: id.to_owned(), frames }
    };
    let folder = |folder: &FolderEntry| Folder {
        name: folder.name.clone(),
        content: folder.content,
        labels: folder.labels.clone(),
    };
    let shape = |form: &Form| match form {
        Form::Values(shape) => Ok(*shape),
        Form::File(extension) => Err(format!("its index: format 1 holds no .{extension} files")),
    };
    let first = IndexV1 {
        folders: index.folders.iter().map(folder).collect(),
        shapes: index.forms.iter().map(shape).collect::<Result<_, _>>()?,
        samples: index.ids.iter().enumerate().map(sample).collect(),
        lists: index.lists.clone(),
        source: index.source.clone(),
        shrink: index.shrink,
        shrunk: index.shrunk,
        left_out: index.left_out,
    };
    let write = || {
        let bytes = postcard::to_allocvec(&first)?;
        if index.oriented.iter().all(|oriented| oriented.files == 0) {
            return Ok(bytes);
        }
        postcard::to_extend(&index.oriented, bytes)
    };
    write().map_err(|error: postcard::Error| format!("its index: {error}"))
}
