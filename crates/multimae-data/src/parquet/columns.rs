//! The columns of a table, by the schema of its files and the features that `datasets` notes there.

use std::collections::HashMap;

use ::parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use ::parquet::file::metadata::FileMetaData;
use ::parquet::schema::types::{ColumnDescriptor, Type};
use serde::Deserialize;

use super::leaf::Leaf;
use super::numbers::NumberType;

/// The key under which `datasets` notes the features.
const FEATURES: &str = "huggingface";

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values.
    pub kind: ColumnKind,
    /// The column that is read: of images, that of the bytes.
    pub(super) leaf: Leaf,
    /// Of images, that of the paths.
    pub(super) path: Option<usize>,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnKind {
    /// Bytes, usually those of an image file.
    Bytes,
    /// Nested lists of numbers.
    Array {
        /// The type of the numbers.
        numbers: NumberType,
        /// The number of axes.
        axes: usize,
        /// The length of each axis, as far as the file notes it.
        shape: Vec<Option<usize>>,
    },
    /// An integer or a boolean.
    Int {
        /// The names of the classes from 0, if it is a label.
        classes: Vec<String>,
    },
    /// A float.
    Float,
    /// A string.
    Text,
    /// Something else, in words. Such a column is not read.
    Other(String),
}

/// The features that `datasets` notes.
#[derive(Debug, Default, Deserialize)]
struct Noted {
    #[serde(default)]
    info: Info,
}

#[derive(Debug, Default, Deserialize)]
struct Info {
    #[serde(default)]
    features: HashMap<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Feature {
    #[serde(default)]
    shape: Vec<Option<usize>>,
    #[serde(default)]
    names: Option<Vec<String>>,
}

/// The columns of a file.
pub(super) fn of_file(metadata: &FileMetaData) -> Vec<Column> {
    let schema = metadata.schema_descr();
    let mut features = noted(metadata);
    let mut columns = Vec::new();
    for (place, root) in schema.root_schema().get_fields().iter().enumerate() {
        let leaves =
            (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == place);
        let leaves: Vec<usize> = leaves.collect();
        let feature = features.remove(root.name()).unwrap_or_default();
        let leaf = |index: usize| Leaf::of(index, &schema.column(index), root.is_optional());
        let Some(&first) = leaves.first() else { continue };
        let path_of = |name: &str| {
            leaves.iter().copied().find(|&leaf| {
                schema.column(leaf).path().parts()[1..] == *name.split('.').collect::<Vec<_>>()
            })
        };
        let column = |kind, leaf, path| Column { name: root.name().to_owned(), kind, leaf, path };
        columns.push(match (path_of("bytes"), path_of("path"), leaves.len()) {
            (Some(bytes), Some(path), 2) if schema.column(bytes).max_rep_level() == 0 => {
                column(ColumnKind::Bytes, leaf(bytes), Some(path))
            }
            (_, _, 1) => column(kind(&schema.column(first), root, feature), leaf(first), None),
            _ => column(ColumnKind::Other("a group of columns".to_owned()), leaf(first), None),
        });
    }
    columns
}

fn noted(metadata: &FileMetaData) -> HashMap<String, Feature> {
    let entries = metadata.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    let text = entries.iter().find(|entry| entry.key == FEATURES);
    let text = text.and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    let noted: Noted = serde_json::from_str(text).unwrap_or_default();
    let feature = |(name, value)| Some((name, serde_json::from_value(value).ok()?));
    noted.info.features.into_iter().filter_map(feature).collect()
}

fn kind(column: &ColumnDescriptor, root: &Type, feature: Feature) -> ColumnKind {
    let axes = usize::try_from(column.max_rep_level()).unwrap_or_default();
    // A struct with a single field is none of ours.
    let nested = column.path().parts().len() > 1;
    match number_type(column) {
        Ok(numbers) if axes > 0 && is_lists(root) => {
            let shape = if feature.shape.len() == axes { feature.shape } else { vec![None; axes] };
            ColumnKind::Array { numbers, axes, shape }
        }
        Ok(NumberType::F16) => ColumnKind::Other("a float of 16 bits outside an array".to_owned()),
        Ok(NumberType::F32 | NumberType::F64) if !nested => ColumnKind::Float,
        Ok(_) if !nested => ColumnKind::Int { classes: feature.names.unwrap_or_default() },
        Err(_) if !nested && column.physical_type() == Physical::BYTE_ARRAY => match text(column) {
            true => ColumnKind::Text,
            false => ColumnKind::Bytes,
        },
        Ok(_) => ColumnKind::Other("a group of columns".to_owned()),
        Err(words) => ColumnKind::Other(words),
    }
}

/// Whether a type is lists in lists down to a number, without structs between.
fn is_lists(root: &Type) -> bool {
    let mut current = root;
    while current.is_group() {
        let info = current.get_basic_info();
        let listed = info.converted_type() == ConvertedType::LIST
            || matches!(info.logical_type_ref(), Some(LogicalType::List));
        if !listed && info.repetition() != Repetition::REPEATED {
            return false;
        }
        match current.get_fields() {
            [only] => current = only,
            _ => return false,
        }
    }
    true
}

fn text(column: &ColumnDescriptor) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::String))
        || column.converted_type() == ConvertedType::UTF8
}

/// The type of a column's numbers, or what it holds instead.
pub(super) fn number_type(column: &ColumnDescriptor) -> Result<NumberType, String> {
    let integer = |bits: i8, signed: bool| match (bits, signed) {
        (8, true) => Ok(NumberType::I8),
        (16, true) => Ok(NumberType::I16),
        (32, true) => Ok(NumberType::I32),
        (64, true) => Ok(NumberType::I64),
        (8, false) => Ok(NumberType::U8),
        (16, false) => Ok(NumberType::U16),
        (32, false) => Ok(NumberType::U32),
        (64, false) => Ok(NumberType::U64),
        (bits, _) => Err(format!("integers of {bits} bits")),
    };
    match (column.physical_type(), column.logical_type_ref()) {
        (Physical::BOOLEAN, _) => Ok(NumberType::Bool),
        (Physical::INT32 | Physical::INT64, Some(LogicalType::Integer(kind))) => {
            integer(kind.bit_width, kind.is_signed)
        }
        (Physical::INT32 | Physical::INT64, Some(other)) => Err(format!("{other:?}")),
        (Physical::INT32, None) => of_converted(column.converted_type(), NumberType::I32),
        (Physical::INT64, None) => of_converted(column.converted_type(), NumberType::I64),
        (Physical::FLOAT, None) => Ok(NumberType::F32),
        (Physical::DOUBLE, None) => Ok(NumberType::F64),
        (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Float16)) => Ok(NumberType::F16),
        (Physical::BYTE_ARRAY, _) if text(column) => Err("strings".to_owned()),
        (Physical::BYTE_ARRAY, _) => Err("bytes".to_owned()),
        (physical, logical) => Err(format!("{physical} {logical:?}")),
    }
}

/// The type of integers that older writers note in another way.
fn of_converted(kind: ConvertedType, plain: NumberType) -> Result<NumberType, String> {
    match kind {
        ConvertedType::NONE => Ok(plain),
        ConvertedType::UINT_8 => Ok(NumberType::U8),
        ConvertedType::UINT_16 => Ok(NumberType::U16),
        ConvertedType::UINT_32 => Ok(NumberType::U32),
        ConvertedType::UINT_64 => Ok(NumberType::U64),
        ConvertedType::INT_8 => Ok(NumberType::I8),
        ConvertedType::INT_16 => Ok(NumberType::I16),
        ConvertedType::INT_32 => Ok(NumberType::I32),
        ConvertedType::INT_64 => Ok(NumberType::I64),
        other => Err(format!("{other}")),
    }
}
