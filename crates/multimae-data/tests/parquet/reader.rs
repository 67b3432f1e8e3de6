//! The reader of tables.

use std::path::Path;

use multimae_data::parquet::{Array, ColumnKind, Numbers, Table, Value, is_parquet, splits};
use serde_json::Value as Json;

use super::{expected, fixture};

/// An array's numbers with their shape, as JSON has nested lists.
fn nested(array: &Array) -> Json {
    fn lists(shape: &[usize], numbers: &[Json]) -> Json {
        match shape {
            [] => numbers[0].clone(),
            [len, rest @ ..] => {
                let size = numbers.len() / len;
                numbers.chunks(size).map(|part| lists(rest, part)).collect()
            }
        }
    }
    let numbers: Vec<Json> = match &array.numbers {
        Numbers::U8(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::U16(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::U32(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::I8(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::I16(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::I32(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::I64(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::F32(values) => values.iter().map(|&v| f64::from(v).into()).collect(),
        Numbers::F64(values) => values.iter().map(|&v| v.into()).collect(),
    };
    assert_eq!(numbers.len(), array.shape.iter().product::<usize>());
    lists(&array.shape, &numbers)
}

/// The pixels of an image by another reader.
fn pixels(bytes: &[u8]) -> Json {
    let image = image::load_from_memory(bytes).unwrap();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (shape, numbers) = match image {
        image::DynamicImage::ImageRgb8(image) => {
            (vec![height, width, 3], Numbers::U8(image.into_raw()))
        }
        image::DynamicImage::ImageLuma16(image) => {
            (vec![height, width], Numbers::U16(image.into_raw()))
        }
        other => panic!("{:?}", other.color()),
    };
    nested(&Array { shape, numbers })
}

/// A number as JSON has it, whole or not.
fn same(found: &Json, expected: &Json) -> bool {
    match (found, expected) {
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Number(a), Json::Bool(b)) => a.as_i64() == Some(i64::from(*b)),
        (a, b) => a == b,
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bytes { bytes, .. } => pixels(bytes),
        Value::Array(array) => nested(array),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
    }
}

/// Compares all columns but those of `except`, the rows in an order that goes back and forth.
fn assert_rows(table: &Table, rows: &[Json], except: &[&str]) {
    assert_eq!(table.rows(), rows.len());
    let order = (0..rows.len()).rev().chain(0..rows.len());
    for row in order {
        for (at, column) in table.columns().iter().enumerate() {
            if except.contains(&column.name.as_str()) {
                continue;
            }
            let found = json(&table.value(row, at).unwrap());
            let expected = &rows[row][&column.name];
            assert!(same(&found, expected), "row {row}, {}: {found} {expected}", column.name);
        }
    }
}

fn kind<'a>(table: &'a Table, name: &str) -> &'a ColumnKind {
    &table.columns()[table.column(name).unwrap()].kind
}

#[test]
fn values_of_datasets_are_those_that_were_written() {
    let root = fixture("hub");
    assert!(is_parquet(&root));
    let expected = expected();
    let splits = splits(&root).unwrap();
    let names: Vec<&str> = splits.iter().map(|split| split.name.as_str()).collect();
    assert_eq!(names, ["train", "val"]);
    for split in &splits {
        let table = Table::open(&split.paths).unwrap();
        let rows = expected["hub"]["splits"][&split.name].as_array().unwrap();
        // Tests of the data set decode TIFF files of floats.
        assert_rows(&table, rows, &["float_image"]);
        let Value::Bytes { bytes, path } = table.value(1, table.column("image").unwrap()).unwrap()
        else {
            panic!()
        };
        assert!(bytes.starts_with(b"\x89PNG"));
        assert_eq!(path, Some(format!("{}_1.png", split.name)));
    }
    let table = Table::open(&splits[0].paths).unwrap();
    let ColumnKind::Array { axes, shape, .. } = kind(&table, "rgb") else { panic!() };
    assert_eq!((*axes, &shape[..]), (3, &[Some(3), Some(4), Some(6)][..]));
    let classes = ["bath", "kitchen", "office"].map(str::to_owned).to_vec();
    assert_eq!(kind(&table, "scene"), &ColumnKind::Int { classes });
    assert_eq!(kind(&table, "title"), &ColumnKind::Text);
    let files: Vec<_> = table.files().map(|(_, rows)| rows).collect();
    assert_eq!(files, [0..3, 3..5]);
    assert_eq!(table.file(4).unwrap(), splits[0].paths[1]);
}

#[test]
fn values_of_pyarrow_are_those_that_were_written() {
    let expected = expected();
    let rows = expected["pyarrow"].as_array().unwrap();
    for codec in ["snappy", "zstd", "gzip", "lz4", "none"] {
        let table = Table::open(&[fixture(&format!("{codec}.parquet"))]).unwrap();
        assert_rows(&table, rows, &["jpeg"]);
    }
    let table = Table::open(&[fixture("snappy.parquet")]).unwrap();
    let Value::Bytes { bytes, path } = table.value(4, table.column("jpeg").unwrap()).unwrap()
    else {
        panic!()
    };
    assert!(bytes.starts_with(b"\xff\xd8\xff") && path.is_none());
    let numbers = |name| {
        let Value::Array(array) = table.value(2, table.column(name).unwrap()).unwrap() else {
            panic!()
        };
        array.numbers
    };
    assert!(matches!(numbers("u8"), Numbers::U8(_)));
    assert!(matches!(numbers("u32"), Numbers::U32(_)));
    assert!(matches!(numbers("i16"), Numbers::I16(_)));
    assert!(matches!(numbers("f16"), Numbers::F32(_)));
    assert!(matches!(numbers("f64"), Numbers::F64(_)));
    let row = table.row(3).unwrap();
    assert_eq!(row[table.column("maybe").unwrap()], Value::Null);
    assert_eq!(row[table.column("count").unwrap()], Value::Int(30));
}

#[test]
fn threads_read_the_same_values() {
    let expected = expected();
    let rows = expected["pyarrow"].as_array().unwrap();
    let table = Table::open(&[fixture("snappy.parquet")]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_rows(&table, rows, &["jpeg"]));
        }
    });
}

#[test]
fn what_is_no_array_is_an_error_that_names_the_place() {
    let path = fixture("odd.parquet");
    let table = Table::open(&[&path]).unwrap();
    let value = |row, name| table.value(row, table.column(name).unwrap());
    let error = |row, name| value(row, name).unwrap_err().to_string();
    assert!(matches!(value(0, "ragged"), Ok(Value::Array(Array { shape, .. })) if shape == [2, 2]));
    let text = error(1, "ragged");
    assert!(text.contains("odd.parquet: row group 0, row 1 of it"), "{text}");
    assert!(text.contains("column `ragged`: its 3 numbers are in lists of different"), "{text}");
    assert!(error(0, "holes").contains("number 1 is missing"));
    assert!(matches!(value(1, "holes"), Ok(Value::Array(_))));
    assert!(error(0, "empty").contains("its list is empty"));
    assert!(error(0, "day").contains("Date, which is not read"));
    assert!(error(0, "many").contains("not read"));
    assert!(error(0, "linked").contains("`a.png`"));
    assert!(matches!(value(1, "linked"), Ok(Value::Null)));
    assert!(matches!(table.value(2, 0), Err(multimae_data::Error::Index { index: 2, len: 2 })));
    assert!(table.column("depth").unwrap_err().to_string().contains("ragged, holes"));
}

#[test]
fn files_that_are_no_tables_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: &Path| Table::open(&[path]).unwrap_err().to_string();
    let brotli = error(&fixture("brotli.parquet"));
    assert!(brotli.contains("`file_name` is compressed by BROTLI") && brotli.contains("zstd"));
    let path = dir.path().join("a.parquet");
    fs_err::write(&path, b"<!DOCTYPE html>").unwrap();
    assert!(error(&path).contains("no parquet file"));
    let whole = fs_err::read(fixture("snappy.parquet")).unwrap();
    fs_err::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(error(&path).contains("not whole"));
    // A byte within a page: its checksum, or the decoder, tells.
    let mut damaged = fs_err::read(fixture("none.parquet")).unwrap();
    let at = damaged.windows(4).position(|bytes| bytes == b"IDAT").unwrap();
    damaged[at] = b'X';
    fs_err::write(&path, &damaged).unwrap();
    let table = Table::open(&[&path]).unwrap();
    let text = table.value(0, table.column("image").unwrap()).unwrap_err().to_string();
    assert!(text.contains("column `image`") && text.contains("CRC"), "{text}");
    let other = [fixture("snappy.parquet"), fixture("odd.parquet")];
    let text = Table::open(&other).unwrap_err().to_string();
    assert!(text.contains("odd.parquet: its columns are ragged"), "{text}");
    assert!(Table::open::<&Path>(&[]).is_err());
}

#[test]
fn damage_anywhere_is_an_error_or_other_values_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let whole = fs_err::read(fixture("gzip.parquet")).unwrap();
    for place in (4..whole.len()).step_by(37) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        fs_err::write(&path, &bytes).unwrap();
        let Ok(table) = Table::open(&[&path]) else { continue };
        for row in 0..table.rows().min(8) {
            let _ = table.row(row);
        }
    }
}
