//! Parquet tables.

use std::collections::BTreeMap;
use std::path::Path;

use super::Source;
use crate::dataset::Tables;
use crate::decode::{ExifOrientation, Frame, Problem, Stored};
use crate::doctor::part::Unread;
use crate::doctor::report::{Finding, Severity};
use crate::files::Files;
use crate::parquet::{Column, ColumnKind, Value, is_parquet};
use crate::{Error, Orientation, Result};

impl Source for Tables {
    fn read(&self, folder: &str, id: &str, _: &Path, rule: Orientation) -> Result<Stored, Problem> {
        let row = self.row(id).ok_or("the table has no such row")?;
        let value = self.table().column(folder).and_then(|at| self.table().value(row, at));
        match value {
            Ok(Value::Bytes { bytes, .. }) => Stored::decode(&bytes, rule),
            Ok(Value::Array(array)) => {
                let frame = Frame::of_array(&array.shape, array.numbers)?;
                Ok(Stored::of_frame(frame, ExifOrientation::UPRIGHT))
            }
            Ok(_) => Err("it is neither an image nor an array".to_owned()),
            Err(Error::Table { problem, .. }) => Err(problem),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Splits are in the names of the tables.
    fn has_lists(&self) -> bool {
        false
    }

    /// A value has no file of its own.
    fn has_extensions(&self) -> bool {
        false
    }
}

/// The data set in tables at a place; none if it is no place of tables.
///
/// # Errors
/// If shards of a split are missing, or a file is no table.
pub(in crate::doctor) fn find(root: &Path) -> Result<Vec<Unread>> {
    if !is_parquet(root) {
        return Ok(Vec::new());
    }
    let tables = Tables::open(root)?;
    let mut findings = Vec::new();
    let mut folders = BTreeMap::new();
    let (mut others, table) = (Vec::new(), tables.table());
    for (at, column) in table.columns().iter().enumerate() {
        if !is_modality(column) {
            others.push(format!("{} ({})", column.name, described(&column.kind)));
            continue;
        }
        match table.present(at) {
            Ok(present) => drop(folders.insert(column.name.clone(), files(&tables, &present))),
            Err(Error::Table { path, problem }) => {
                let place = path.file_name().unwrap_or_default().to_string_lossy();
                findings.push(Finding::whole(Severity::Error, "unreadable_table", &place, problem));
            }
            Err(error) => return Err(error),
        }
    }
    findings.extend(Finding::about(
        Severity::Note,
        "other_columns",
        "",
        &others,
        "columns are neither images nor arrays and are not read",
    ));
    let (files, groups) = (table.files().count(), table.row_groups());
    let splits = tables.splits().map(|(name, ids)| (name.to_owned(), ids)).collect();
    Ok(vec![Unread {
        name: String::new(),
        path: root.to_owned(),
        layout: format!(
            "parquet tables: {files} files, {groups} row groups, {} rows",
            table.rows()
        ),
        folders,
        splits,
        findings,
        source: Box::new(tables),
    }])
}

fn is_modality(column: &Column) -> bool {
    match &column.kind {
        ColumnKind::Bytes => true,
        ColumnKind::Array { axes, .. } => matches!(axes, 2 | 3),
        _ => false,
    }
}

fn described(kind: &ColumnKind) -> String {
    match kind {
        ColumnKind::Bytes => "bytes".to_owned(),
        ColumnKind::Array { axes, .. } => format!("arrays with {axes} axes"),
        ColumnKind::Int { classes } if classes.is_empty() => "integers".to_owned(),
        ColumnKind::Int { classes } => format!("{} classes", classes.len()),
        ColumnKind::Float => "floats".to_owned(),
        ColumnKind::Text => "texts".to_owned(),
        ColumnKind::Other(words) => words.clone(),
    }
}

/// The values of a column by the ids of their rows.
fn files(tables: &Tables, present: &[bool]) -> Files {
    let mut files = Files::default();
    for (row, (id, _)) in tables.ids().zip(present).enumerate().filter(|(_, (_, there))| **there) {
        let file = tables.table().file(row).unwrap_or(Path::new(""));
        files.usable.insert(id.to_owned(), vec![file.join(id)]);
    }
    files
}
