//! Copies in parquet tables, as the Hugging Face hub has them.

use std::path::{Path, PathBuf};

use multimae_data::parquet::{Array, Column, Numbers, Table, Value, is_parquet, splits};

use super::files::shown;
use super::{CopyFrame, Error, FrameId, Problem, Result};

/// The tables of a copy: one per split.
pub(super) struct Tables {
    root: PathBuf,
    parts: Vec<Part>,
}

struct Part {
    list: &'static str,
    table: Table,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Whether a folder has tables, and the first of them has columns of this kind with these names.
pub(super) fn has_columns(root: &Path, names: &[&str], fits: impl Fn(&Column) -> bool) -> bool {
    let first = || splits(root).ok()?.into_iter().next()?.paths.into_iter().next();
    let table = || Table::open(&[first()?]).ok();
    let has = |table: &Table, name: &&str| {
        table.columns().iter().any(|column| column.name == *name && fits(column))
    };
    root.is_dir()
        && is_parquet(root)
        && table().is_some_and(|table| names.iter().all(|name| has(&table, name)))
}

impl Tables {
    /// Opens the tables of all splits: `train`, `val` or `validation`, and `test`.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let splits = splits(root).map_err(|error| of_data(root, error))?;
        let part = |split: multimae_data::parquet::Split| {
            let list = match split.name.as_str() {
                "train" => "train",
                "val" | "validation" => "val",
                "test" => "test",
                name => {
                    let problem = format!("its split `{name}` is none of train, val and test");
                    return Err(Error::Input { path: root.to_owned(), problem });
                }
            };
            let table = Table::open(&split.paths).map_err(|error| of_data(root, error))?;
            Ok(Part { list, table })
        };
        let parts = splits.into_iter().map(part).collect::<Result<_>>()?;
        Ok(Self { root: root.to_owned(), parts })
    }

    /// The frames of all tables, in their order. `name` gives the name of a frame by its list, its row
    /// and the text in a column, where one is asked for.
    pub(super) fn frames(
        &self,
        column: Option<&str>,
        name: impl Fn(&'static str, usize, Option<&str>) -> String,
    ) -> Result<Vec<CopyFrame>> {
        let mut frames = Vec::new();
        for Part { list, table } in &self.parts {
            let fail = |error| of_data(&self.root, error);
            let texts = match column {
                Some(column) => {
                    table.column(column).and_then(|at| table.values(at)).map_err(fail)?
                }
                None => Vec::new(),
            };
            for row in 0..table.rows() {
                let text = match texts.get(row) {
                    Some(Value::Text(text)) => Some(text.as_str()),
                    _ => None,
                };
                let file = table.file(row).map_err(fail)?;
                frames.push(CopyFrame {
                    id: FrameId::Own(name(list, row, text)),
                    list,
                    scene: String::new(),
                    scene_type: String::new(),
                    source: format!("{} row {row} of {list}", shown(self.below(file))),
                });
            }
        }
        Ok(frames)
    }

    /// The files, below the folder of the copy.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let files = self.parts.iter().flat_map(|part| part.table.files());
        files.map(|(file, _)| self.below(file).to_owned()).collect()
    }

    fn below<'a>(&self, file: &'a Path) -> &'a Path {
        file.strip_prefix(&self.root).unwrap_or(file)
    }

    /// The value of a column for the frame of this place among all, and the file that holds it.
    fn value(&self, index: usize, column: &str) -> Result<(Value, PathBuf), Problem> {
        let mut row = index;
        for Part { table, .. } in &self.parts {
            if row < table.rows() {
                let fail = |error: multimae_data::Error| problem_of(&self.root, error);
                let at = table.column(column).map_err(fail)?;
                let file = table.file(row).map_err(fail)?.to_owned();
                return Ok((table.value(row, at).map_err(fail)?, file));
            }
            row -= table.rows();
        }
        Err(Problem::of(&self.root)(format!("there is no frame {index}")))
    }

    /// The bytes of a picture, and the file that holds it.
    pub(super) fn bytes(&self, index: usize, column: &str) -> Result<(Vec<u8>, PathBuf), Problem> {
        match self.value(index, column)? {
            (Value::Bytes { bytes, .. }, file) => Ok((bytes.to_vec(), file)),
            (_, file) => {
                Err(Problem::of(&file)(format!("`{column}` of frame {index} is no picture")))
            }
        }
    }

    /// The numbers of an array of this shape, and the file that holds it.
    pub(super) fn numbers(
        &self,
        index: usize,
        column: &str,
        shape: &[usize],
    ) -> Result<(Vec<f32>, PathBuf), Problem> {
        let (value, file) = self.value(index, column)?;
        let problem = match value {
            Value::Array(array) if array.shape == shape => return Ok((floats(array), file)),
            Value::Array(array) => format!("the shape {:?}, expected {shape:?}", array.shape),
            _ => "no array".to_owned(),
        };
        Err(Problem::of(&file)(format!("`{column}` of frame {index} has {problem}")))
    }
}

/// Numbers as floats. Integers above 2^24 are rounded.
fn floats(array: Array) -> Vec<f32> {
    match array.numbers {
        Numbers::U8(values) => values.into_iter().map(f32::from).collect(),
        Numbers::U16(values) => values.into_iter().map(f32::from).collect(),
        Numbers::U32(values) => values.into_iter().map(|value| value as f32).collect(),
        Numbers::I8(values) => values.into_iter().map(f32::from).collect(),
        Numbers::I16(values) => values.into_iter().map(f32::from).collect(),
        Numbers::I32(values) => values.into_iter().map(|value| value as f32).collect(),
        Numbers::I64(values) => values.into_iter().map(|value| value as f32).collect(),
        Numbers::F32(values) => values,
        Numbers::F64(values) => values.into_iter().map(|value| value as f32).collect(),
    }
}

/// The problem in an error of the reader, with its file.
fn problem_of(root: &Path, error: multimae_data::Error) -> Problem {
    match error {
        multimae_data::Error::Table { path, problem }
        | multimae_data::Error::File { path, problem } => Problem { path, text: problem },
        other => Problem::of(root)(other.to_string()),
    }
}

fn of_data(root: &Path, error: multimae_data::Error) -> Error {
    match error {
        multimae_data::Error::Io(error) => Error::Io(error),
        other => problem_of(root, other).input(),
    }
}
