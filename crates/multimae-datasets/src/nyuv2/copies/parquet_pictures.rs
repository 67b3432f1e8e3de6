//! Pictures in parquet tables with a random split: `jagennath-hari/nyuv2` on Hugging Face.

use std::path::Path;

use multimae_data::parquet::ColumnKind;

use super::files::{colors_of, numbers_of};
use super::tables::{Tables, has_columns};
use super::{
    CopyFacts, CopyMaps, FULL_SIZE, NyuCopy, OpenCopy, Problem, ReadFrames, Result, values,
};

/// The columns by which it is recognised; the first two are read.
const COLUMNS: [&str; 3] = ["rgb", "depth", "semantic"];
/// The column of the names.
const ID: &str = "id";

/// Pictures in parquet tables.
#[derive(Debug)]
pub(super) struct ParquetPictures;

impl NyuCopy for ParquetPictures {
    fn title(&self) -> &'static str {
        "NYU Depth V2, pictures in parquet with a random split (jagennath-hari/nyuv2)"
    }

    fn layout(&self) -> &'static str {
        "a folder with data/{train,val,test}-*.parquet, tables of `id` and the pictures `rgb`, \
         `depth`, `semantic`"
    }

    fn recognises(&self, path: &Path) -> bool {
        has_columns(path, &COLUMNS, |column| column.kind == ColumnKind::Bytes)
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let tables = Tables::open(path)?;
        let frames = tables.frames(Some(ID), name)?;
        let facts = CopyFacts {
            size: FULL_SIZE,
            depth: "16-bit TIFF or PNG, whole millimetres: within 1 mm".to_owned(),
            classes: None,
            normals: None,
            region: None,
            notes: vec![
                "its split is random: views of one room are on several lists, and official test \
                 frames among those of training, so scores on it say little of new rooms"
                    .to_owned(),
                "the classes of its column `semantic` are not documented".to_owned(),
            ],
        };
        Ok(OpenCopy { frames, files: tables.files(), facts, reader: Box::new(Reader(tables)) })
    }
}

/// The list and the id, or the row where the id is no word that names a file.
fn name(list: &'static str, row: usize, id: Option<&str>) -> String {
    let is_word = |id: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !id.is_empty() && id.len() <= 64 && id.bytes().all(plain)
    };
    match id.filter(is_word) {
        Some(id) => format!("{list}_{id}"),
        None => format!("{list}_row_{row:04}"),
    }
}

#[derive(Debug)]
struct Reader(Tables);

impl ReadFrames for Reader {
    fn read(&self, index: usize) -> Result<CopyMaps, Problem> {
        let [rgb, depth, _] = COLUMNS;
        let (bytes, file) = self.0.bytes(index, rgb)?;
        let rgb = colors_of(&bytes, &file)?;
        values::check_full_size(rgb.size).map_err(Problem::of(&file))?;
        let (bytes, file) = self.0.bytes(index, depth)?;
        let depth = numbers_of(&bytes, &file)?;
        values::check_full_size(depth.size).map_err(Problem::of(&file))?;
        if depth.values.iter().all(|&value| value <= 255.0) {
            let problem = "no depth is above 255 mm: it is in 8 bits, not in millimetres";
            return Err(Problem::of(&file)(problem.to_owned()));
        }
        let depth = values::whole_millimetres(&depth.values, depth.size.1);
        let depth = depth.map_err(Problem::of(&file))?;
        Ok(CopyMaps { rgb: rgb.values, depth, labels: None, normals: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_if_they_can_name_a_file() {
        assert_eq!(name("val", 7, Some("kitchen_0001-12")), "val_kitchen_0001-12");
        for id in [None, Some(""), Some("../a"), Some("a b")] {
            assert_eq!(name("val", 7, id), "val_row_0007");
        }
    }
}
