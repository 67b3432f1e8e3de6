//! The arrays of MTAN in parquet tables: `tanganke/nyuv2` on Hugging Face.

use std::path::Path;

use multimae_data::parquet::{Column, ColumnKind};

use super::mtan::{SIZE, facts};
use super::tables::{Tables, has_columns};
use super::{CopyMaps, NyuCopy, OpenCopy, Problem, ReadFrames, Result, normals, values};

/// The columns that every copy has. `noise`, which is made up, is not read.
const COLUMNS: [&str; 3] = ["image", "segmentation", "depth"];
/// The column of surface normals, which may be left out.
const NORMALS: &str = "normal";

/// The arrays of MTAN in parquet tables.
#[derive(Debug)]
pub(super) struct ParquetArrays;

impl NyuCopy for ParquetArrays {
    fn title(&self) -> &'static str {
        "NYU Depth V2, the copy of MTAN in parquet (tanganke/nyuv2)"
    }

    fn layout(&self) -> &'static str {
        "a folder with data/{train,val}-*.parquet, tables of the arrays `image`, `segmentation`, \
         `depth` and perhaps `normal`"
    }

    fn recognises(&self, path: &Path) -> bool {
        has_columns(path, &COLUMNS, is_array)
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let tables = Tables::open(path)?;
        let frames = tables.frames(None, |list, row, _| format!("{list}_{row:04}"))?;
        let normals = has_columns(path, &[NORMALS], is_array);
        Ok(OpenCopy {
            frames,
            files: tables.files(),
            facts: facts(normals),
            reader: Box::new(Reader { tables, normals }),
        })
    }
}

fn is_array(column: &Column) -> bool {
    matches!(column.kind, ColumnKind::Array { .. })
}

#[derive(Debug)]
struct Reader {
    tables: Tables,
    /// Whether there are surface normals.
    normals: bool,
}

impl ReadFrames for Reader {
    fn read(&self, index: usize) -> Result<CopyMaps, Problem> {
        let (height, width) = SIZE;
        let [image, segmentation, depth] = COLUMNS;
        let (rgb, file) = self.tables.numbers(index, image, &[3, height, width])?;
        let rgb = values::unit_colors(&values::interleaved(&rgb), width);
        let rgb = rgb.map_err(Problem::of(&file))?;
        let (labels, file) = self.tables.numbers(index, segmentation, &[height, width])?;
        let labels = values::thirteen_from_zero(&labels, width).map_err(Problem::of(&file))?;
        let (depth, file) = self.tables.numbers(index, depth, &[1, height, width])?;
        let depth = values::metres(&depth, width).map_err(Problem::of(&file))?;
        let normals = match self.normals {
            false => None,
            true => {
                let (planes, file) = self.tables.numbers(index, NORMALS, &[3, height, width])?;
                let normals = normals::in_8_bits(&values::interleaved(&planes), width);
                Some(normals.map_err(Problem::of(&file))?)
            }
        };
        Ok(CopyMaps { rgb, depth, labels: Some(labels), normals })
    }
}
